"""Model inputs: all of them, one by name, or a slice of the first."""

from __future__ import annotations

from surgery.anatomy._component import Axis, Component, Facts, Slice
from surgery.anatomy._record import InputField, Record
from surgery.errors import TargetError
from surgery.targets._nearest import nearest_input
from surgery.targets._target import Index, Input

_AXES: dict[str, tuple[Axis, int]] = {
    "channel": ("channel", 1),
    "feature": ("feature", -1),
    "token": ("token", 1),
}


def inputs(where: Input, record: Record | None) -> tuple[Component, ...]:
    """The components that an input target names; unchecked without a record."""
    if record is not None and not record.inputs:
        raise TargetError(
            f"'{where}': no tensor went into the model in the recorded forward; "
            "pass the tensors themselves as inputs"
        )
    if where.axis is not None and where.index is not None:
        return _slices(where, where.axis, where.index, record)
    return (_whole(where, record),)


def _whole(where: Input, record: Record | None) -> Component:
    field = None
    if record is not None:
        field = record.inputs[0]
        if where.name is not None:
            field = _named(where.name, record)
    return Component(str(where), "input", "", part=where.name, facts=_facts(field))


def _named(name: str, record: Record) -> InputField:
    for field in record.inputs:
        if field.name == name:
            return field
    raise TargetError(nearest_input(name, [field.name for field in record.inputs]))


def _slices(
    where: Input, axis: str, index: Index, record: Record | None
) -> tuple[Component, ...]:
    name, position = _AXES[axis]
    field = None
    if record is not None:
        field = record.inputs[0]
        size = _size(where, field, position)
        if index.last is not None and index.last >= size:
            raise TargetError(
                f"'{where}': the first input, {field.name!r} of shape "
                f"{field.shape}, has {axis}s 0..{size - 1}"
            )
        ranges = (
            [index] if index.last is not None else [Index(i, i) for i in range(size)]
        )
    elif index.last is None:
        raise TargetError(
            f"'{where}': how many {axis}s there are is known only from a forward; "
            "pass `inputs=`"
        )
    else:
        ranges = [index]
    return tuple(
        Component(
            str(Input(axis=axis, index=Index(r.first, r.last))),
            "input",
            "",
            slice=Slice(name, r.first or 0, r.last or 0, field.name if field else None),
            facts=_facts(field),
        )
        for r in ranges
    )


def _size(where: Input, field: InputField, position: int) -> int:
    if field.nested:
        raise TargetError(
            f"'{where}': the first input, {field.name!r}, is no tensor but holds some, "
            f"which have no {where.axis} in common; name it whole: "
            f"'input:{field.name}'"
        )
    if len(field.shape) < 2:
        raise TargetError(
            f"'{where}': the first input, {field.name!r}, has shape {field.shape} "
            "and so no axis but the batch's; name it whole: "
            f"'input:{field.name}'"
        )
    return field.shape[position]


def _facts(field: InputField | None) -> Facts | None:
    if field is None:
        return None
    return Facts(
        type=field.dtype, calls=1, input_shape=field.shape, output_shape=field.shape
    )
