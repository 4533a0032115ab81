"""Where a run of a study comes from: code, changes, versions, command, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from surgery._versions import versions

_LONGEST = 1_000_000  # characters of a diff that are kept


def provenance(configs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What it takes to tell, and to repeat, how a run came about."""
    return {
        "command": " ".join(sys.argv),
        "versions": versions(),
        "config": configs,
        "storage": str(folder),
        "machine": platform.platform(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **_git(),
    }


def _git() -> dict[str, Any]:
    """Commit and uncommitted changes of the folder that the study is run in."""
    commit = _run("rev-parse", "HEAD")
    if not commit:
        return {"commit": None, "diff": None}
    diff = _run("diff", "HEAD") or ""
    cut = f"\n... {len(diff) - _LONGEST} characters more"
    return {
        "commit": commit.strip(),
        "diff": diff if len(diff) <= _LONGEST else diff[:_LONGEST] + cut,
        "untracked": (_run("ls-files", "--others", "--exclude-standard") or "").split(
            "\n"
        )[:-1][:1000],
    }


def _run(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
