"""One driver per study: a lock that the system lifts when its process ends."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from surgery.errors import StudyError
from surgery.study.storage._schema import told


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the study in this folder; no other process, nor this one, can meanwhile.

    The lock is one of SQLite's, which works alike on all systems and is gone with its
    process, however that ends.

    Raises:
        StudyError: Somebody else holds it.
    """
    path, holder = folder / "driver.lock", folder / "driver.txt"
    with told(path):
        folder.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                with told(path):
                    raise
            raise StudyError(
                f"{folder} is being run by another driver ({_read(holder)}); wait for "
                "it or end it: one study has one driver at a time. To look at it "
                "meanwhile, use study.results()"
            ) from None
        with told(holder):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        lock.close()


def _read(holder: Path) -> str:
    try:
        return holder.read_text()
    except OSError:
        return "unknown"
