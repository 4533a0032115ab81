"""Config: which cases there are, which run by default, and what they must show."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cases.toml")
PARTS = ("branches", "skips", "leaves", "heads")
_SPELLED = re.compile(
    r"(?P<model>\w+) (?P<parts>\w+) (?P<pixels>\d+) px b(?P<batch>\d+)"
    r"( folder (?P<images>\d+))?"
)


@dataclass(frozen=True)
class Case:
    """Some components of one model, all taken out in turn.

    Attributes:
        model: A name in `models.py`.
        parts: Which components: one of `PARTS`.
        pixels: Side of the images; tokens of a text.
        batch: Samples in a batch.
        images: Files in the folder; 0 for one batch in memory.
    """

    model: str
    parts: str
    pixels: int
    batch: int
    images: int = 0

    @classmethod
    def parse(cls, text: str) -> Case:
        """A case from its name."""
        found = _SPELLED.fullmatch(text)
        if found is None or found["parts"] not in PARTS:
            raise ValueError(
                f"{text!r} is no case; write 'MODEL PARTS PIXELS px bBATCH', parts "
                f"being one of {', '.join(PARTS)}, and 'folder IMAGES' after it for a "
                "ranking over files"
            )
        return cls(
            found["model"],
            found["parts"],
            int(found["pixels"]),
            int(found["batch"]),
            int(found["images"] or 0),
        )

    @property
    def name(self) -> str:
        """As `cases.toml` and `--case` spell it."""
        folder = f" folder {self.images}" if self.images else ""
        return f"{self.model} {self.parts} {self.pixels} px b{self.batch}{folder}"


@dataclass(frozen=True)
class Bound:
    """How many times as fast as another way some cases must be.

    Attributes:
        case: A pattern for names of cases.
        against: The way that is compared with.
        least: What is promised.
        goal: What is hoped for.
    """

    case: str
    against: str
    least: float
    goal: float | None = None

    def covers(self, case: str) -> bool:
        """Whether it is about a case."""
        return fnmatch(case, self.case)


@dataclass(frozen=True)
class Config:
    """What `cases.toml` says.

    Attributes:
        rounds: How often every way of a case runs.
        seconds: No further round begins after so long.
        default: Cases that run when none is named.
        peers: Cases for other libraries.
        memory: Cases whose memory is measured.
        grid: Every case there is.
        bounds: What must be shown.
        most_flops: Most FLOPs, of the least possible, and by which way.
        memory_off: How far bytes may be from what was planned, relatively.
    """

    rounds: int
    seconds: float
    default: Sequence[Case]
    peers: Sequence[Case]
    memory: Sequence[Case]
    grid: Sequence[Case] = field(repr=False)
    bounds: Sequence[Bound]
    most_flops: tuple[str, float]
    memory_off: float


def load_config(file: Path = FILE) -> Config:
    """Read the cases and bounds."""
    told: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    grid = told["grid"]
    kinds = ("models", "parts", "pixels", "batches")
    every = (Case(*point) for point in product(*(grid[kind] for kind in kinds)))
    return Config(
        rounds=told["rounds"],
        seconds=told["seconds"],
        default=[Case.parse(text) for text in told["default"]],
        peers=[Case.parse(text) for text in told["peers"]],
        memory=[Case.parse(text) for text in told["memory"]],
        grid=[case for case in every if _is_sensible(case)],
        bounds=[Bound(**bound) for bound in told["bound"]],
        most_flops=(told["flops"]["way"], told["flops"]["most"]),
        memory_off=told["memory_bound"]["off"],
    )


def _is_sensible(case: Case) -> bool:
    """Convolutional models have no heads, and DenseNet adds nothing up."""
    attends = case.model in ("swin_t", "vit_s", "gpt2")
    if case.parts == "heads":
        return attends
    return not (case.parts == "skips" and case.model == "densenet121")
