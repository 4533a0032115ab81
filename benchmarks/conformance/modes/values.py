"""The modes, and by plain arithmetic what each must make of an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.conformance.modes.models import BATCH
from surgery import ops

if TYPE_CHECKING:
    from benchmarks.conformance.modes.subject import Subject

VALUE = 0.5


@dataclass
class Seen:
    """One call of a component under an operation.

    Attributes:
        inputs: Every tensor that went in, as it was before.
        raw: The main output before the operation acted.
        new: The main output after it.
        mean: The mean of this call's output over other data, if it has one.
    """

    inputs: list[Tensor] = field(default_factory=list)
    raw: Tensor | None = None
    new: Tensor | None = None
    mean: Tensor | None = None


def affine(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    """The user's own function of the `callable` mode."""
    return 0.5 * output + 1


def halved(parameter: Tensor, level: float) -> Tensor:
    """The user's own function of a parameter."""
    return parameter * 0.5 + 0.25 * level


@dataclass(frozen=True)
class OutputMode:
    """A mode that acts on outputs.

    Attributes:
        operation: What `surgery.ablate` gets.
        expected: The value the output must have, or `None` where `fault` judges.
        unchanged: Why the output may stay as it is: said when `expected` is what the
            output already was.
    """

    operation: object
    expected: Callable[[Seen], Tensor | None]
    unchanged: str


def _zero(seen: Seen) -> Tensor:
    return torch.zeros_like(_raw(seen))


def _constant(seen: Seen) -> Tensor:
    return torch.full_like(_raw(seen), VALUE)


def _affine(seen: Seen) -> Tensor:
    return affine(_raw(seen), ())


def _mean(seen: Seen) -> Tensor | None:
    raw = _raw(seen)
    return None if seen.mean is None else seen.mean.expand_as(raw)


def _identity(seen: Seen) -> Tensor | None:
    """The input itself where one has the output's shape; adapters are tested apart."""
    return next((x for x in seen.inputs if like(x, _raw(seen))), None)


def _resample(seen: Seen) -> Tensor:
    """With two samples each can only get the other's."""
    raw = _raw(seen)
    rows = raw.reshape(BATCH, -1, *raw.shape[1:])
    return rows.flip(0).reshape(raw.shape)


def _noise(seen: Seen) -> Tensor | None:
    raw = _raw(seen)
    return None if bool(raw.any()) else raw


OUTPUT_MODES: dict[str, OutputMode] = {
    "zero": OutputMode("zero", _zero, "its output is all zero"),
    "identity": OutputMode("identity", _identity, "it passes its input through"),
    "mean": OutputMode("mean", _mean, "its output is its mean for every sample"),
    "resample": OutputMode("resample", _resample, "its output is alike in all samples"),
    "noise": OutputMode("noise", _noise, "its output is all zero"),
    "constant": OutputMode(ops.Constant(VALUE), _constant, "its output is constant"),
    "callable": OutputMode(affine, _affine, "its output is the function's fixed point"),
}

PARAMETER_MODES: dict[str, Callable[[Subject], object]] = {
    "noise on parameters": lambda subject: ops.Noise(on="parameters"),
    "flip": lambda subject: ops.Flip(share=1.0),
    "scale": lambda subject: ops.Scale(),
    "quantize": lambda subject: ops.Quantize(bits=2),
    "prune": lambda subject: ops.Prune(share=1.0),
    "function of parameters": lambda subject: ops.Change(halved),
    "reinit": lambda subject: "reinit",
    "rewind": lambda subject: ops.Rewind(subject.start),
    "freeze": lambda subject: "freeze",
}

MODES: Sequence[str] = (*OUTPUT_MODES, *PARAMETER_MODES)
if set(MODES) != set(ops.KIND_MODES["module"]):
    raise RuntimeError("conformance lacks modes of surgery.ops.KIND_MODES, or has more")


def fault_of(mode: str, seen: Seen) -> str:
    """What is wrong with one call under an output mode, in words; empty if nothing."""
    raw, new = _raw(seen), seen.new
    if new is None or not like(new, raw):
        return f"the output {tuple(raw.shape)} was not replaced by one like it"
    expected = OUTPUT_MODES[mode].expected(seen)
    if expected is not None:
        return "" if same_values(new, expected) else "not the value that the mode says"
    if mode == "noise":
        size = float((new - raw).square().mean().sqrt() / raw.square().mean().sqrt())
        return (
            "" if 0.01 < size < 0.5 else f"noise of relative size {size:.3g}, not 0.1"
        )
    return ""


def reason_unchanged(mode: str, seen: Seen) -> str:
    """Why an output mode may leave this call's output as it is; empty if nothing."""
    raw, expected = _raw(seen), OUTPUT_MODES[mode].expected(seen)
    if expected is not None:
        return OUTPUT_MODES[mode].unchanged if same_values(raw, expected) else ""
    if mode == "identity" and any(_only_reshapes(x, raw) for x in seen.inputs):
        return "it only reshapes or averages, as the adapter does"
    return ""


def _only_reshapes(x: Tensor, raw: Tensor) -> bool:
    """Whether `raw` holds the values of `x`, or their means over tokens or space."""
    if x.numel() == raw.numel():
        return same_values(x.reshape(raw.shape), raw)
    means: list[Tensor] = []
    if x.ndim == 3 and raw.ndim == 2:
        means.append(x.mean(1))
    if x.ndim == 4 and raw.ndim == 2:
        means += [x.mean((2, 3)), x.mean((1, 2))]
    if x.ndim == raw.ndim == 4 and all(
        a % b == 0 for a, b in zip(x.shape[2:], raw.shape[2:], strict=True)
    ):
        (h, w), (channels, height, width) = raw.shape[2:], x.shape[1:]
        cells = x.reshape(-1, channels, h, height // h, w, width // w)
        means.append(cells.mean((3, 5)))
    return any(
        mean.shape == raw.shape and torch.allclose(mean, raw, atol=1e-6)
        for mean in means
    )


def same_values(a: Tensor, b: Tensor) -> bool:
    """Equal, NaN where NaN; −0 is 0."""
    return like(a, b) and bool(((a == b) | (a.isnan() & b.isnan())).all())


def like(a: Tensor, b: Tensor) -> bool:
    """Same shape and type."""
    return a.shape == b.shape and a.dtype == b.dtype


def _raw(seen: Seen) -> Tensor:
    if seen.raw is None:
        raise RuntimeError("the component returned no tensor")
    return seen.raw
