"""Origin: where a study was written down, and the command that runs it from there."""

from __future__ import annotations

import ast
import inspect
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from surgery.study.configs import plain


@dataclass(frozen=True)
class Origin:
    """The line that made a study.

    Attributes:
        file: The file that it is in.
        module: The module's name.
        function: The function that it is in, or `<module>`.
        first: The first line of that.
        line: The line's number.
    """

    file: str
    module: str
    function: str
    first: int
    line: int

    def spec(self, study: object) -> str | None:
        """`FILE.py` or `FILE.py:NAME`, as `surgery study` takes it.

        `None` where it finds no study there: in what was typed in, in a function that
        takes arguments, under `if __name__ == "__main__":`.
        """
        file = Path(self.file)
        if file.suffix != ".py" or not file.is_file():
            return None
        near = os.path.relpath(file)
        path = near if not near.startswith("..") else str(file)
        known: Mapping[str, Any] = vars(sys.modules.get(self.module, object))
        studies = {n: v for n, v in known.items() if isinstance(v, type(study))}
        if self.function == "<module>":
            name = next((n for n, v in studies.items() if v is study), None)
            if name is None or _only_as_script(file, self.line):
                return None
            several = len({id(value) for value in studies.values()}) > 1
            return f"{path}:{name}" if several else path
        if not self._is_made_by(known.get(self.function)):
            return None
        found = self.function == "make_study" and not studies
        return path if found else f"{path}:{self.function}"

    def _is_made_by(self, maker: Any) -> bool:
        """Whether that is the function that the line is in, and needs no arguments."""
        code = getattr(maker, "__code__", None)
        return (
            isinstance(code, CodeType)
            and code.co_firstlineno == self.first
            and all(
                parameter.default is not parameter.empty
                or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                for parameter in inspect.signature(maker).parameters.values()
            )
        )


def origin_of(frame: FrameType | None) -> Origin | None:
    """The line that a frame is at."""
    if frame is None:
        return None
    code = frame.f_code
    return Origin(
        code.co_filename,
        str(frame.f_globals.get("__name__")),
        code.co_name,
        code.co_firstlineno,
        frame.f_lineno,
    )


def command_for(
    arm: str,
    spec: str | None,
    settings: Mapping[str, object],
    seeds: Sequence[int] | None,
    again: bool,
) -> str:
    """What runs one arm: in a shell if `surgery study` finds the study, else in Python.

    Args:
        arm: Its name.
        spec: Where `surgery study` finds the study.
        settings: What was set otherwise in the config.
        seeds: The seeds, if they are others than the study's.
        again: Whether it is done, and would have to be forgotten first.
    """
    if spec is None:
        more = "" if seeds is None else f", seeds={list(seeds)}"
        return f"study.run(arms=[{arm!r}]{more}{', again=True' if again else ''})"
    words = ["surgery", "study", "run", spec]
    for path, value in settings.items():
        words += ["--set", f"{path}={json.dumps(plain(value))}"]
    if seeds is not None:
        listed = ",".join(map(str, seeds))
        # One number alone would say how many.
        words += ["--seeds", listed if len(seeds) > 1 else f"{listed}-{listed}"]
    words += ["--arms", arm, *(["--again"] if again else [])]
    return shlex.join(words)


def _only_as_script(file: Path, line: int) -> bool:
    """Whether a line runs only when its file does: under a test of `__name__`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.If)
        and "__name__" in ast.unparse(node.test)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
        for node in tree.body
    )
