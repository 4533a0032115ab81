"""The hash of code: changed by what the code does, by nothing else."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from surgery.study.arms import code_hash

USER = """
from math import sqrt
SCALE = {scale}

class Base:
    def size(self):
        return {size}

class Net(Base):
    pass

def helper(x):
    return x * SCALE{comment}

def make(config):
    return helper(sqrt(config)) + Net().size()
"""


def hashed(folder: Path, **values: object) -> str:
    """The hash of `make` in a fresh process."""
    given = {"scale": 2, "size": 3, "comment": ""} | values
    (folder / "users_code.py").write_text(USER.format(**given))
    code = (
        "import users_code; from surgery.study.arms import code_hash; "
        "print(code_hash(users_code.make))"
    )
    command = [sys.executable, "-B", "-c", code]
    path = [str(folder), *sys.path]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path)},
    )
    return run.stdout.strip()


def test_it_follows_what_is_named_and_no_comments(tmp_path: Path) -> None:
    plain = hashed(tmp_path)
    assert hashed(tmp_path, comment="  # a word") == plain
    assert hashed(tmp_path, scale=4) != plain
    assert hashed(tmp_path, size=4) != plain  # in the base of a class that is named


@pytest.mark.parametrize("value", [1, "a", (1, 2), None])
def test_arguments_that_are_bound_count(value: object) -> None:
    def function(x: object) -> object:
        return x

    bound = functools.partial(function, value)
    assert code_hash(bound) != code_hash(functools.partial(function, "other"))
    assert code_hash(bound) == code_hash(functools.partial(function, value))
