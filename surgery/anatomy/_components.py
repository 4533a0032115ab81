"""Components: everything in a model that can be named and operated on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args, overload

from torch import nn

from surgery.anatomy._channels import output_channels
from surgery.anatomy._component import Component, Facts, Kind, Slice
from surgery.anatomy._record import Record
from surgery.anatomy._recorder import record
from surgery.anatomy._spelling import canonical, owner
from surgery.anatomy._wrappers import unwrap
from surgery.errors import TargetError
from surgery.report import Column, Table, render, to_pandas

if TYPE_CHECKING:
    import pandas as pd

KNOWN: tuple[Kind, ...] = get_args(Kind)
"""Kinds that can be listed."""
LISTED = tuple(k for k in KNOWN if k not in ("head", "channel", "parameter"))
"""Kinds that are listed unless others are asked for."""

_COLUMNS = (
    Column("component", help="target that names it"),
    Column("kind"),
    Column("type"),
    Column("calls", "integer", help="how often it ran in one forward"),
    Column("input_shape", "shape", header="input"),
    Column("output_shape", "shape", header="output"),
    Column("parameters", "integer"),
    Column("macs", "integer", help="multiply-adds of one forward, batch included"),
    Column("identity", help="whether an input fits as its output, or what makes it"),
    Column("note"),
)


@dataclass(frozen=True)
class Components(Sequence[Component]):
    """What one recorded forward found in a model, in the model's own order.

    Attributes:
        model: Class name of the model.
        items: The components, each with its facts.
    """

    model: str
    items: tuple[Component, ...]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Component: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Component, ...]: ...
    def __getitem__(self, index: int | slice) -> Component | tuple[Component, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Component]:
        return iter(self.items)

    def __str__(self) -> str:
        return render(self._table())

    def __repr__(self) -> str:
        return str(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row per component, with the columns of the console table."""
        return to_pandas(self._table())

    def _table(self) -> Table:
        rows = tuple(_row(component) for component in self.items)
        return Table(f"{self.model}: {len(rows)} components", _COLUMNS, rows)


def components(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    kinds: Sequence[Kind] | None = None,
) -> Components:
    """List what can be operated on in a model, from one recorded forward.

    The model is left as it was: parameters, buffers, modes, random generators.

    Args:
        model: Any module.
        *inputs: Positional inputs of the model's forward.
        kwargs: Keyword inputs.
        kinds: Which kinds to list, of `module`, `skip`, `branch`, `add`, `gate`, `mul`,
            `cat`, `stack`, `function`, `head`, `channel`, `parameter`, `input`.
            Default: all but heads, channels and parameters.

    Returns:
        A sequence of components that prints as a table and has `to_pandas()`.

    Raises:
        DataError: The model does not run on these inputs.
        TargetError: A kind that does not exist.
    """
    wanted = LISTED if kinds is None else tuple(kinds)
    for kind in wanted:
        if kind not in KNOWN:
            near = difflib.get_close_matches(str(kind), KNOWN, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise TargetError(
                f"kinds={kind!r} is no kind; {hint}Kinds are {', '.join(KNOWN)}"
            )
    inner = unwrap(model)
    seen = record(inner, inputs, kwargs)
    found: list[Component] = []
    if "input" in wanted:
        found += _inputs(seen)
    parts: dict[str, list[Component]] = {}
    for part in seen.parts:
        if part.kind in wanted and _shown(part):
            parts.setdefault(part.path, []).append(part)
    for path, facts in seen.facts.items():
        if path and "module" in wanted:
            found.append(Component(canonical(path), "module", path, facts=facts))
        found += parts.get(path, [])
        if "channel" in wanted:
            found += _channels(path, inner.get_submodule(path), facts)
    if "parameter" in wanted:
        found += _parameters(inner, seen)
    return Components(type(inner).__name__, tuple(found))


def _shown(part: Component) -> bool:
    return part.kind == "head" or part.place is None or part.place.listed


def _channels(path: str, module: nn.Module, facts: Facts) -> list[Component]:
    """Each output channel of a module that runs and whose type says what they are."""
    count, shape = output_channels(module), facts.output_shape
    plain = canonical(path) == path
    if not plain or count is None or shape is None or len(shape) < 2:
        return []
    facts = replace(facts, parameters=0, macs=0, identity="no", note="")
    return [
        Component(
            f"{owner(path, facts.type)}:channel#{number}",
            "channel",
            path,
            slice=Slice("channel", number, number),
            facts=facts,
        )
        for number in range(count)
    ]


def _inputs(seen: Record) -> list[Component]:
    alone = len(seen.inputs) == 1
    return [
        Component(
            name="input" if alone else f"input:{field.name}",
            kind="input",
            path="",
            part=None if alone else field.name,
            facts=Facts(
                type=field.dtype,
                calls=1,
                input_shape=field.shape,
                output_shape=field.shape,
            ),
        )
        for field in seen.inputs
    ]


def _parameters(model: nn.Module, seen: Record) -> list[Component]:
    found: list[Component] = []
    for name, parameter in model.named_parameters():
        path, _, part = name.rpartition(".")
        facts = Facts(
            type=type(parameter).__name__,
            calls=seen.facts[path].calls,
            output_shape=tuple(parameter.shape),
            parameters=parameter.numel(),
        )
        found.append(
            Component(canonical(name), "parameter", path, part=part, facts=facts)
        )
    return found


def _row(component: Component) -> dict[str, object]:
    facts = component.facts or Facts("")
    return {
        "component": component.name,
        "kind": component.kind,
        "type": facts.type,
        "calls": facts.calls,
        "input_shape": facts.input_shape,
        "output_shape": facts.output_shape,
        "parameters": facts.parameters,
        "macs": facts.macs,
        "identity": facts.identity,
        "note": facts.note,
    }
