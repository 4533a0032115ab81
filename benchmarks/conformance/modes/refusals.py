"""Refusals: which errors are right answers, each checked against the component."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from benchmarks.conformance.modes.models import BATCH
from benchmarks.conformance.modes.values import Seen, like
from surgery.errors import SurgeryError


@dataclass(frozen=True)
class Refusal:
    """One reason to refuse.

    Attributes:
        cause: The reason, in the tables' words.
        says: Words of the error message by which it is known.
        holds: Whether it is true of this module and what was seen of its calls.
    """

    cause: str
    says: str
    holds: Callable[[nn.Module, list[Seen]], bool]


def _owns_nothing(module: nn.Module, seen: list[Seen]) -> bool:
    return next(module.parameters(), None) is None


def _holds_nothing(module: nn.Module, seen: list[Seen]) -> bool:
    buffers = (name.rpartition(".")[2] for name, _ in module.named_buffers())
    moving = any(name.startswith("running_") for name in buffers)
    return _owns_nothing(module, seen) and not moving


def _has_no_scheme(module: nn.Module, seen: list[Seen]) -> bool:
    return any(
        next(part.parameters(recurse=False), None) is not None
        and not hasattr(part, "reset_parameters")
        for part in module.modules()
    )


def _no_input_fits(module: nn.Module, seen: list[Seen]) -> bool:
    last = seen[-1]
    return last.raw is not None and not any(like(x, last.raw) for x in last.inputs)


def _not_per_sample(module: nn.Module, seen: list[Seen]) -> bool:
    raw = seen[-1].raw
    return raw is not None and (raw.ndim == 0 or raw.shape[0] % BATCH != 0)


def _integer(module: nn.Module, seen: list[Seen]) -> bool:
    raw = seen[-1].raw
    return raw is not None and not raw.is_floating_point()


def _no_tensor(module: nn.Module, seen: list[Seen]) -> bool:
    return not seen or seen[-1].raw is None


REFUSALS = (
    Refusal("no parameters inside", "has no parameters", _owns_nothing),
    Refusal("nothing in it to freeze", "neither parameters nor", _holds_nothing),
    Refusal("no initialisation scheme reaches it", "no way was found", _has_no_scheme),
    Refusal("no input fits its output", "no input can stand in", _no_input_fits),
    Refusal("not one output per sample", "one output per sample", _not_per_sample),
    Refusal("integer output", "needs floating-point", _integer),
    Refusal("no tensor comes out", "no tensor comes out", _no_tensor),
)


def cause_of(error: SurgeryError, module: nn.Module, seen: list[Seen]) -> str:
    """The cause of a refusal if it is known and true of the module, else empty."""
    for refusal in REFUSALS:
        if refusal.says in str(error) and refusal.holds(module, seen):
            return refusal.cause
    return ""
