"""Summing up: from what a recorded forward showed to facts about every module."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from surgery.anatomy._component import Component, Facts, Place
from surgery.anatomy._parts import parts_of
from surgery.anatomy._record import InputField, Record
from surgery.anatomy._structure import tensors
from surgery.anatomy._watch import Seen, Watch
from surgery.anatomy._wrappers import is_scripted, unwrap


def summary(
    model: nn.Module, watch: Watch, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Record:
    names = {module: name for name, module in model.named_modules()}
    aliases: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        aliases.setdefault(module, []).append(name)
    bypassed = {
        module
        for module in names
        if module not in watch.seen
        and any(id(p) in watch.used for p in module.parameters(recurse=False))
    }
    facts = {
        name: _facts(module, watch, aliases[module], module in bypassed)
        for module, name in names.items()
    }
    fields = input_fields(model, args, kwargs)
    inputs = tuple(
        InputField(
            name,
            () if found[0].is_nested else tuple(found[0].shape),
            str(found[0].dtype).removeprefix("torch."),
            nested=not isinstance(x, Tensor),
        )
        for name, x in fields.items()
        if (found := tensors(x))
    )
    first = next(iter(tensors(fields)), None)
    parameters = {id(p): name for name, p in model.named_parameters()}
    return Record(
        facts=facts,
        order=tuple(names[module] for module in watch.order),
        bypassed=frozenset(names[module] for module in bypassed),
        inputs=inputs,
        batch_size=0 if first is None or first.ndim == 0 else first.size(0),
        parts=tuple(
            _with_code(part, model)
            for part in parts_of(watch.ledger, facts, parameters)
        ),
    )


def _with_code(part: Component, model: nn.Module) -> Component:
    place = part.place or Place(())
    code = tuple(type(model.get_submodule(site.path)) for site in place.sites)
    return replace(part, place=replace(place, code=code))


def _facts(
    module: nn.Module, watch: Watch, aliases: list[str], bypassed: bool
) -> Facts:
    seen = watch.seen.get(module, Seen())
    called_inside = seen.calls == 0 and any(m in watch.seen for m in module.modules())
    notes: list[str] = []
    if is_scripted(module):
        notes.append("scripted: hooks cannot reach it")
    elif bypassed:
        notes.append("bypassed: its parent uses its parameters without calling it")
    elif called_inside:
        notes.append("container: never called, stands for its children")
    elif seen.calls == 0:
        notes.append("never called")
    if len(aliases) > 1:
        notes.append("shared: also " + ", ".join(aliases[1:]))
    if seen.structured and seen.output_shape is not None:
        count = f" ({seen.tensors_out} tensors)" if seen.tensors_out > 1 else ""
        notes.append(f"structured output{count}")
    if seen.calls and seen.output_shape is None:
        notes.append("no tensor comes out")
    if seen.in_place:
        notes.append("in place")
    if seen.passes_through:
        notes.append("passes its input through")
    return Facts(
        type=type(module).__name__,
        calls=seen.calls,
        input_shape=seen.input_shape,
        output_shape=seen.output_shape,
        parameters=sum(p.numel() for p in module.parameters()),
        macs=seen.macs,
        identity=seen.identity,
        note="; ".join(notes),
        stands_for=tuple(_running_inside(module, watch)) if called_inside else (),
    )


def _running_inside(module: nn.Module, watch: Watch) -> Iterator[str]:
    """The nearest modules inside one that ran, as paths from it."""
    for name, child in module.named_children():
        if child in watch.seen:
            yield name
        else:
            yield from (f"{name}.{inside}" for inside in _running_inside(child, watch))


def input_fields(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The model's inputs by the names of its forward's parameters.

    Values of `*args` are named `name0`, `name1`, ...; a forward without a readable
    signature gets `input0`, `input1`, ... and its keywords.
    """
    try:
        signature = inspect.signature(unwrap(model).forward)
        bound = signature.bind_partial(*args, **kwargs)
    except (TypeError, ValueError):
        return {**{f"input{i}": x for i, x in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}{i}": x for i, x in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named
