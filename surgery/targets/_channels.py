"""Output channels of a module: ranges of them, or each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from surgery.anatomy._channels import channel_axis_of, output_channels
from surgery.anatomy._component import Component, Slice
from surgery.anatomy._record import Record
from surgery.errors import TargetError
from surgery.targets._names import Names
from surgery.targets._target import Index, Target


def channels(
    names: Names, owners: Sequence[str], target: Target, record: Record | None
) -> tuple[Component, ...]:
    """The channels that a target names, in each module that has so many.

    Raises:
        TargetError: No module has them; or how many there are, nobody knows yet.
    """
    assert target.suffix is not None and target.suffix.index is not None
    index = target.suffix.index
    found: list[Component] = []
    refused: list[str] = []
    for path in owners:
        count, why = _count(names, path, record)
        if why:
            refused.append(f"{_who(path)} {why}")
        elif index.last is not None and count is not None and index.last >= count:
            refused.append(f"{_who(path)} has channels 0..{count - 1}")
        elif index.last is None and count is None:
            refused.append(
                f"how many channels come out of {_who(path)} is known only from a "
                "forward; pass `inputs=`"
            )
        else:
            found += _ranges(path, target.call, index, count, record)
    if not found:
        # Who has channels, but not these, comes nearest to what was meant.
        nearest = next((r for r in refused if "has channels" in r), refused[0])
        raise TargetError(f"'{target}': {nearest}")
    return tuple(found)


def _ranges(
    path: str, call: int | None, index: Index, count: int | None, record: Record | None
) -> list[Component]:
    ranges = [index]
    if index.first is None:
        ranges = [Index(number, number) for number in range(count or 0)]
    facts = record.facts.get(path) if record else None
    if facts is not None:  # what the module costs is not what a channel of it does
        facts = replace(facts, parameters=0, macs=0, identity="no", note="")
    owner = path if call is None else f"{path}@{call}"
    return [
        Component(
            f"{owner}:channel#{r}",
            "channel",
            path,
            call=call,
            slice=Slice("channel", r.first or 0, r.last or 0),
            facts=facts,
        )
        for r in ranges
    ]


def _count(names: Names, path: str, record: Record | None) -> tuple[int | None, str]:
    """How many channels come out, if known; or why it has none."""
    module = names.modules[path]
    facts = record.facts.get(path) if record else None
    if facts is None:
        return output_channels(module), ""
    shape = facts.output_shape
    if shape is None:
        return None, f"({facts.type}) returns no tensor, and so no channels"
    if "structured output" in facts.note:
        return None, (
            f"({facts.type}) returns a structure and not one tensor, so that it does "
            f"not say whose channels; target it whole{_within(names, path)}"
        )
    if len(shape) < 2:
        return None, f"({facts.type}) returns shape {shape}, which has no channels"
    return shape[channel_axis_of(module, shape)], ""


def _within(names: Names, path: str) -> str:
    module = names.modules[path]
    for name, inner in module.named_modules():
        if name and output_channels(inner) is not None:
            full = f"{path}.{name}" if path else name
            return f", or channels of a module in it, such as '{full}:channel#0'"
    return ""


def _who(path: str) -> str:
    return repr(path) if path else "the model"
