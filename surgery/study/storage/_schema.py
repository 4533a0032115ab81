"""The database of a study: its tables, its version, and how it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from surgery.errors import StudyError

VERSION = 1
APPLICATION = 0x53555247  # "SURG": tells a study's database from any other

SCHEMA = """
CREATE TABLE trials (
    id TEXT PRIMARY KEY,
    arm TEXT NOT NULL,
    context TEXT NOT NULL,
    tier TEXT NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('PENDING', 'RUNNING', 'COMPLETE', 'FAILED', 'PRUNED')),
    attempt INTEGER NOT NULL DEFAULT 0,
    request TEXT NOT NULL,
    outcome TEXT,
    started REAL,
    ended REAL
);
CREATE TABLE curves (
    trial TEXT NOT NULL REFERENCES trials (id),
    metric TEXT NOT NULL,
    step REAL NOT NULL,
    value REAL,
    PRIMARY KEY (trial, metric, step)
) WITHOUT ROWID;
CREATE TABLE hypotheses (
    arm TEXT PRIMARY KEY,
    expected TEXT NOT NULL,
    recorded REAL NOT NULL
);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    started REAL NOT NULL,
    provenance TEXT NOT NULL
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database, made first if there is none, and checks it.

    Raises:
        StudyError: It is damaged, of a newer version, or no study's.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            _prepare(database, path)
        except BaseException:
            database.close()
            raise
        return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not version:
        _create(database)
    elif application != APPLICATION:
        raise StudyError(
            f"{path} is a database, but not a study's; give another storage="
        )
    elif version > VERSION:
        raise StudyError(
            f"{path} has version {version}, this release knows up to {VERSION}: it was "
            "written by a newer one; pip install --upgrade torch-surgery"
        )
    else:
        (word,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if word != "ok":
            raise sqlite3.DatabaseError(word)
    # After a kill nothing is lost that was committed; after a power cut at most the
    # last commits are.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA foreign_keys = ON")


def _create(database: sqlite3.Connection) -> None:
    # Before there is a table: a file with tables always has its version.
    database.execute("PRAGMA journal_mode = WAL")
    script = (
        "BEGIN IMMEDIATE;"
        f"{SCHEMA}"
        f"PRAGMA application_id = {APPLICATION};"
        f"PRAGMA user_version = {VERSION};"
        "COMMIT;"
    )
    try:
        database.executescript(script)
    except sqlite3.OperationalError as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        if "already exists" not in str(error):  # another process was first
            raise


@contextmanager
def told(path: Path) -> Generator[None]:
    """Turns what SQLite raises into errors that say what mends them."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise StudyError(
                f"{path} cannot be written: {text}; free some space and run the study "
                "again, which goes on where it stopped: nothing that was done is lost"
            ) from error
        if "readonly" in text or "unable to open" in text:
            raise StudyError(
                f"{path} cannot be written: {text}; give a storage= that you may write"
            ) from error
        if "locked" in text:
            raise StudyError(
                f"{path} is locked by another process; wait for it, or end it"
            ) from error
        raise StudyError(
            f"{path} is damaged: {text}; move it away, and put back a copy or start "
            "anew (nothing was changed in it)"
        ) from error
    except OSError as error:
        raise StudyError(
            f"{path} cannot be used as storage: {error}; give another storage="
        ) from error
