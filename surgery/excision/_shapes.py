"""The shape of a module's output as a rule of its input's, found by probing.

A module that is gone cannot tell how large its output would be. Before it goes, a copy
of it without values (on torch's meta device) is run on inputs of other sizes, one axis
at a time, to see which axes of the output follow which of the input's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import main_tensor, mapped
from surgery.errors import ShapeMismatchError

Shape = tuple[int, ...]

_STEPS = range(1, 9)
_TIMES = (2, 3)


@dataclass(frozen=True)
class Follow:
    """The size of one axis: (source axis' size * times + add) // over."""

    source: int
    times: int = 1
    add: int = 0
    over: int = 1


@dataclass(frozen=True)
class ShapeRule:
    """Shape and type of an output, given the input's.

    Attributes:
        given: Shape of the input when it was recorded.
        axes: For each axis of the output, its size or what it follows.
        free: Axes of the input that may have any size.
        dtype: The output's type where it is not the input's.
        autocast: Whether autocast chose the output's type.
    """

    given: Shape
    axes: tuple[int | Follow, ...]
    free: frozenset[int]
    dtype: torch.dtype | None = None
    autocast: bool = False

    def shape(self, x: Tensor, name: str) -> list[int]:
        """The output's shape for the input `x` of what was at `name`."""
        for axis, size in enumerate(self.given):
            if axis not in self.free and (axis >= x.ndim or x.shape[axis] != size):
                raise ShapeMismatchError(
                    f"{name} was excised where its input had shape {self.given}, and "
                    f"how its output depends on axis {axis} is not known, but it is "
                    f"now given {tuple(x.shape)}; excise with inputs= of that size"
                )
        return [
            axis
            if isinstance(axis, int)
            else (x.shape[axis.source] * axis.times + axis.add) // axis.over
            for axis in self.axes
        ]

    def gives(self, into: Shape, out: Shape) -> bool:
        """Whether an input of shape `into` gives one of shape `out` by this rule."""
        try:
            x = torch.empty(into, device="meta")
            return self.shape(x, "") == list(out)
        except ShapeMismatchError:
            return False


def find_rule(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> ShapeRule:
    """How the shape of `module`'s output follows that of its main input.

    Args:
        module: Stays as it is.
        args: What it was given; values do not matter.
        kwargs: Likewise.
        out: What came out.
    """
    main = main_tensor((args, kwargs))
    if main is None:
        raise ShapeMismatchError("no tensor went in")
    given, wanted = tuple(main.shape), tuple(out.shape)
    probe = _Probe(module, args, kwargs, main)
    if probe.run(0, given[0] if given else 0) != wanted:
        # It does not run without values: only the batch is sure enough to follow.
        axes: list[int | Follow] = list(wanted)
        batch = bool(given and wanted and given[0] == wanted[0])
        if batch:
            axes[0] = Follow(0)
        only = frozenset({0} if batch else ())
        return ShapeRule(given, tuple(axes), only, *_dtype(module, main, out))
    found: dict[int, Follow] = {}
    free: set[int] = set()
    for axis in range(len(given)):
        follows = _follows(probe.run, axis, given[axis], wanted)
        if follows is not None and not set(follows) & set(found):
            found |= follows
            free.add(axis)
    axes = [found.get(axis, size) for axis, size in enumerate(wanted)]
    return ShapeRule(given, tuple(axes), frozenset(free), *_dtype(module, main, out))


class _Probe:
    """A module without values, to be run on inputs of any size."""

    def __init__(
        self,
        module: nn.Module,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        main: Tensor,
    ) -> None:
        self._module: nn.Module | None = None
        self._call = (tuple(args), dict(kwargs))
        self._main = main
        try:
            self._module = copy.deepcopy(module).to("meta")
        except Exception:  # whatever a module's own code raises
            self._module = None

    @torch.no_grad()
    def run(self, axis: int, size: int) -> Shape | None:
        """The shape that comes out if the inputs' axis has this size."""
        if self._module is None:
            return None
        main = self._main

        def resized(x: Tensor) -> Tensor:
            shape = list(x.shape)
            # What has the main input's batch, or its positions, goes with it.
            same_batch = axis == 0 and x.shape[:1] == main.shape[:1]
            same_positions = axis > 1 and x.shape[2:] == main.shape[2:]
            alike = same_batch or same_positions or x.shape == main.shape
            if alike and axis < x.ndim:
                shape[axis] = size
            return torch.empty(shape, dtype=x.dtype, device="meta")

        args, kwargs = mapped(self._call, resized)
        try:
            out = main_tensor(self._module(*args, **kwargs))
        except Exception:  # likewise: a size that does not fit
            return None
        return None if out is None else tuple(out.shape)


def _follows(
    run: Callable[[int, int], Shape | None], axis: int, size: int, wanted: Shape
) -> dict[int, Follow] | None:
    """What of the output follows this axis of the input; `None`: not known."""
    seen = {size + step: run(axis, size + step) for step in _STEPS}
    points = {at: shape for at, shape in seen.items() if shape is not None}
    if len(points) < len(_STEPS):
        return _in_proportion(run, axis, size, wanted)
    points[size] = wanted
    found: dict[int, Follow] = {}
    for place in range(len(wanted)):
        if any(len(shape) != len(wanted) for shape in points.values()):
            return None
        sizes = {at: shape[place] for at, shape in points.items()}
        if len(set(sizes.values())) == 1:
            continue
        follow = _floor(axis, sizes)
        if follow is None:
            return None
        found[place] = follow
    return found


def _floor(axis: int, sizes: Mapping[int, int]) -> Follow | None:
    """out = in * times + add, or (in + add) // over, if one such rule explains all."""
    (at, out), (following, next_out), *_ = sorted(sizes.items())
    times = (next_out - out) // (following - at)
    add = out - at * times
    if times and all(out == at * times + add for at, out in sizes.items()):
        return Follow(axis, times, add)
    for over in range(2, len(sizes) + 1):
        low = max(out * over - at for at, out in sizes.items())
        high = min((out + 1) * over - 1 - at for at, out in sizes.items())
        if low <= high:
            return Follow(axis, 1, low, over) if low == high else None
    return None


def _in_proportion(
    run: Callable[[int, int], Shape | None], axis: int, size: int, wanted: Shape
) -> dict[int, Follow] | None:
    """For what takes only multiples of its size (windows): out in proportion to in."""
    points = {size * times: run(axis, size * times) for times in _TIMES}
    found: dict[int, Follow] = {}
    for place, out in enumerate(wanted):
        got = {at: s[place] for at, s in points.items() if s and len(s) == len(wanted)}
        if len(got) < len(_TIMES):
            return None
        if set(got.values()) == {out}:
            continue
        if any(value * size != out * at for at, value in got.items()):
            return None
        found[place] = Follow(axis, out, 0, size)
    return found


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in on this device, if it is on."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


def _dtype(
    module: nn.Module, x: Tensor, out: Tensor
) -> tuple[torch.dtype | None, bool]:
    """The output's type where it is not the input's, and whether autocast chose it."""
    own = next((p for p in module.parameters() if p.is_floating_point()), None)
    chosen = autocast_type(torch.device("cpu") if own is None else own.device)
    if chosen is None or out.dtype != chosen:
        return (None if x.dtype == out.dtype else out.dtype), False
    # Without autocast it would be another: the input's, or that of its weights.
    weights = torch.get_default_dtype() if own is None else own.dtype
    return (None if x.is_floating_point() else weights), True
