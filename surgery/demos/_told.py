"""What demos say around their tables."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path


def heading(text: str) -> str:
    """A paragraph between two tables."""
    return f"\n{textwrap.fill(text, 100)}\n"


def say_where(folder: Path) -> None:
    """Where a study's files are, and how to look at them."""
    tensorboard = beside_python("tensorboard")
    print(
        f"\nTrials, results (JSON) and TensorBoard logs are in {folder}. To look:\n"
        f"  {tensorboard} --logdir {folder / 'summary'}  "
        "# tables, charts, HParams of all trials\n"
        f"  {tensorboard} --logdir {folder / 'tensorboard'}  # their curves"
    )


def beside_python(program: str) -> str:
    """How to call a program that was installed along, venv activated or not."""
    path = Path(sys.executable).parent / program
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return program
