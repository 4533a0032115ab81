"""Head tags: which attention head each value came from, up to the projection.

Where attention is computed, its output is tagged: an integer tensor of the same shape
holds the number of the head for every value. Each view and rearrangement on the way is
applied to the tag too, so that where the output enters a weight layer the heads'
channels are read off, however the code lays them out. A tag that is not constant
along the channels tells nothing, and none is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from surgery.anatomy._flow import HeadTag
from surgery.anatomy._frame import Frame
from surgery.anatomy._structure import mapped, tensors

_COUNTS: Final = (
    "num_heads num_attention_heads n_head n_heads heads nhead nheads num_head nb_heads "
    "num_query_heads encoder_attention_heads decoder_attention_heads"
).split()
_COPYING: Final[Mapping[str, Callable[..., Any]]] = {
    "view": Tensor.reshape,
    "view_as": Tensor.reshape_as,
}
_NOT_A_HEAD: Final = -1


def head_count(module: nn.Module) -> int | None:
    """How many heads a module, or its own configuration, says it has.

    Not those that called it: what they count may be another thing's heads.
    """
    for holder in (module, getattr(module, "config", None)):
        for name in _COUNTS:
            count = getattr(holder, name, None)
            if type(count) is int and count > 0:
                return count
    return None


def tag_of(output: Tensor, frame: Frame, anywhere: bool) -> HeadTag | None:
    """The tag of an attention's output, if its heads can lie along one of its axes.

    Args:
        output: What the attention gave.
        frame: The call whose own code computed it.
        anywhere: Whether the heads may lie along any axis but the last.
    """
    heads = head_count(frame.module)
    if heads is None or output.ndim < 3 or _valueless(output):
        return None
    shape, numbers = output.shape, torch.arange(heads, dtype=torch.int16)
    numbers = numbers.to(output.device)
    axes = [output.ndim - 3, 1] if output.ndim > 3 else []
    if anywhere:
        axes += range(output.ndim - 1)
    guesses = [
        _along(numbers, axis, output)
        for axis in dict.fromkeys(axes)
        if shape[axis] == heads
    ]
    if shape[0] % heads == 0:  # (batch x heads, tokens, channels)
        batch = shape[0] // heads
        guesses.append(_along(numbers.repeat(batch), 0, output))
        guesses.append(_along(numbers.repeat_interleave(batch), 0, output))
    return HeadTag(frame.path, heads, tuple(guesses)) if guesses else None


def same_heads(first: HeadTag, second: HeadTag) -> bool:
    """Whether two tensors' values came from the same heads of the same attention."""
    if (first.owner, first.heads) != (second.owner, second.heads):
        return False
    pairs = zip(first.guesses, second.guesses, strict=False)
    return len(first.guesses) == len(second.guesses) and all(
        a is b or torch.equal(a, b) for a, b in pairs
    )


def lies_by_head(x: Tensor, tag: HeadTag) -> bool:
    """Whether heads are an axis of their own, in `x` as in what is tagged."""
    shape = tag.guesses[0].shape
    return x.shape == shape and any(
        _is_own_axis(guess, axis, tag.heads)
        for guess in tag.guesses
        for axis in range(len(shape) - 1)
    )


def _is_own_axis(guess: Tensor, axis: int, heads: int) -> bool:
    return guess.shape[axis] == heads and _constant(guess, axis) == [*range(heads)]


def _valueless(x: Tensor) -> bool:
    return x.is_meta or isinstance(x, FakeTensor) or not x.numel()


def _along(numbers: Tensor, axis: int, output: Tensor) -> Tensor:
    shape = [1] * output.ndim
    shape[axis] = -1
    return numbers.view(shape).expand(output.shape)


def moved(
    tagged: Mapping[int, HeadTag],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> list[HeadTag | None]:
    """The tags of what a moving function gives, one for each tensor in its output.

    Args:
        tagged: The tags of its operands, by identity of the operand.
        func: The function; it is called on the tags as it was on the operands.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    # A tag's strides are its own, so that what views a tensor may have to copy a tag.
    func = _COPYING.get(getattr(func, "__name__", ""), func)
    first = next(iter(tagged.values()))
    count = min(len(tag.guesses) for tag in tagged.values())
    if any((t.owner, t.heads) != (first.owner, first.heads) for t in tagged.values()):
        return []
    results: list[list[Tensor]] = []
    for guess in range(count):

        def as_tag(x: Tensor, guess: int = guess) -> Tensor:
            if id(x) in tagged:
                return tagged[id(x)].guesses[guess]
            if x.is_floating_point():
                return torch.full(
                    x.shape, _NOT_A_HEAD, dtype=torch.int16, device=x.device
                )
            return x

        try:
            given = mapped(list(args), as_tag)
            output = func(*given, **mapped(dict(kwargs), as_tag))
        except Exception:  # an odd function: its output simply has no tag
            return []
        results.append(tensors(output))
    return [
        HeadTag(first.owner, first.heads, guesses)
        for guesses in zip(*results, strict=False)
    ]


@dataclass(frozen=True, slots=True)
class Pieces:
    """The ranges of one head on an axis that is counted from the end."""

    head: int
    axis: int
    pieces: tuple[tuple[int, int], ...]


def pieces_of(tag: HeadTag, axes: tuple[int, ...]) -> list[Pieces]:
    """Each head's ranges along the first of `axes` that tells the heads apart."""
    for guess in tag.guesses:
        for axis in axes:
            if -guess.ndim <= axis < 0 and (numbers := _constant(guess, axis)):
                return [
                    Pieces(head, axis, ranges)
                    for head in range(tag.heads)
                    if (ranges := _ranges(numbers, head))
                ]
    return []


def _constant(tag: Tensor, axis: int) -> list[int]:
    """The head at each place along an axis, if it is the same everywhere beside."""
    rows = tag.movedim(axis, -1).reshape(-1, tag.shape[axis])
    if not rows.numel() or not bool((rows == rows[0]).all()):
        return []
    return [int(number) for number in rows[0].tolist()]


def _ranges(numbers: list[int], head: int) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for place, number in enumerate(numbers):
        if number != head:
            continue
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1] = ranges[-1][0], place
        else:
            ranges.append((place, place))
    return tuple(ranges)
