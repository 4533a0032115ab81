"""One attempt at an excised copy: for each component the first means that serves."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import Component, Record
from surgery.errors import BackendError
from surgery.excision import _rewrite as rewrite
from surgery.excision._cut import build_in_cuts
from surgery.excision._example import Example
from surgery.excision._modules import Passed
from surgery.excision._result import Excised, How
from surgery.excision._slices import shrink_or_zero
from surgery.excision._swap import Unfit, described, replace_module, stand_in
from surgery.excision._watch import Watched, watch, writes_after
from surgery.excision._weights import weighted
from surgery.ops import Clock, Edit, Freeze

PARTS = ("skip", "branch", "add", "gate", "mul", "cat", "stack", "function")
ANY, NO_SHRINKING, ONLY_CUTS = range(3)
"""How many of the means may still be used for a component."""


@dataclass(frozen=True)
class Order:
    """What is to be built in.

    Attributes:
        model: The model as it is; every attempt begins with a copy of it.
        variant: Its components under the operation, with all that was gathered.
        record: What one forward of the model showed.
        example: The call that attempts are checked on.
        dial: How far the operation goes.
        seed: Of what it draws.
    """

    model: nn.Module
    variant: Variant
    record: Record
    example: Example
    dial: float
    seed: int


@dataclass
class _Attempt:
    order: Order
    model: nn.Module
    edits: dict[str, Edit]
    level: Mapping[str, int]
    seen: dict[str, Watched] = field(default_factory=dict[str, Watched])
    rows: dict[str, Excised] = field(default_factory=dict[str, Excised])
    cuts: dict[str, str] = field(default_factory=dict[str, str])

    def done(
        self, component: Component, how: How, removed: int = 0, note: str = ""
    ) -> None:
        mode = self.order.variant.mode
        self.rows[component.name] = Excised(component.name, mode, how, removed, note)

    def allowed(self, component: Component, level: int = NO_SHRINKING) -> bool:
        return self.level.get(component.name, ANY) <= level


def build(order: Order, model: nn.Module, level: Mapping[str, int]) -> list[Excised]:
    """Build the operation into a copy of the model, and tell how.

    Args:
        order: What is to be built in.
        model: The copy, which is changed.
        level: For some components, how many of the means may still be used.
    """
    # Together, since they share a clock.
    edits = copy.deepcopy({edit.component.name: edit for edit in order.variant.edits})
    work = _Attempt(order, model, edits, level)
    components = [c for c in order.variant.components if c.name in edits]
    _on_parameters(work)
    work.seen = watch(work.model, _to_watch(components, work.model), order.example)
    _swap_modules(work, components)
    components = _without_what_went(work, components)
    for path, group in _by_path(components, PARTS).items():
        _rewrite_block(work, path, group)
    for path, group in _by_path(components, ("head", "channel")).items():
        _reduce(work, path, group)
    for component in components:
        if component.name not in work.rows:
            work.cuts.setdefault(component.name, "")
    build_in_cuts(work.model, [edits[name] for name in work.cuts])
    # It keeps low-precision copies of weights, which may have changed in place.
    torch.clear_autocast_cache()
    for name, reason in work.cuts.items():
        work.done(edits[name].component, "cut built in", 0, reason)
    return [work.rows[c.name] for c in order.variant.components]


def copied(model: nn.Module) -> nn.Module:
    """A copy of the model, for an attempt.

    Raises:
        BackendError: Its own code does not let it be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a module's own code raises
        raise BackendError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: "
            f"{error}), and excise changes only a copy; use surgery.ablate, or make "
            "the model's attributes such that copy.deepcopy(model) works"
        ) from error


def _on_parameters(work: _Attempt) -> None:
    """What acts on parameters changes the copy's: their values, or what is learned."""
    order = work.order
    owners = [c for c in order.variant.components if c.name not in work.edits]
    if not owners:
        return
    operation = order.variant.operation
    variant = Variant(
        work.model, owners, operation, Clock(), dial=order.dial, seed=order.seed
    )
    undo = variant.apply()
    if not isinstance(operation, Freeze):
        # What can be undone keeps what was there before; here it is for good.
        held = [*work.model.parameters(), *work.model.buffers()]
        values = [x.detach().clone() for x in held]
        undo()
        with torch.no_grad():
            for x, value in zip(held, values, strict=True):
                if not torch.equal(x, value):
                    x.copy_(value)
    how: How = "frozen" if isinstance(operation, Freeze) else "values set"
    for component in owners:
        work.done(component, how, 0, variant.note(component))


def _to_watch(components: Sequence[Component], model: nn.Module) -> dict[str, bool]:
    """Modules to watch, and whether what they are given is needed with its values."""
    paths: dict[str, bool] = {}
    for component in components:
        if component.kind == "module":
            paths.setdefault(component.path, False)
        elif component.kind in ("channel", "head"):
            above = component.path.rpartition(".")[0]
            paths[above if component.kind == "channel" else component.path] = True
            paths = dict.fromkeys(weighted([component]), False) | paths
        elif component.kind in PARTS and component.path:
            paths[component.path] = True
    return paths


def _swap_modules(work: _Attempt, components: Sequence[Component]) -> None:
    passing: dict[str, nn.Module] = {}
    for component in components:
        if component.kind != "module":
            continue
        if not work.allowed(component):
            work.cuts[component.name] = "no simpler means gave the same outputs"
            continue
        try:
            module = work.model.get_submodule(component.path)
            if not component.path:
                raise Unfit("it is the whole model")
            edit = work.edits[component.name]
            device = next((p.device for p in work.model.parameters()), None)
            new = stand_in(module, work.seen[component.path], edit, device)
        except Unfit as error:
            work.cuts[component.name] = str(error)
            continue
        before = _parameters(work.model)
        replace_module(work.model, module, new)
        if type(new) is nn.Identity:
            passing[component.path] = new
        removed = _lost(before, work.model)
        work.done(component, "swapped", removed, described(new))
    _copy_what_is_written(work, passing)


def _copy_what_is_written(work: _Attempt, passing: dict[str, nn.Module]) -> None:
    """Where later code writes into what nn.Identity hands on, hand on a copy."""
    if not passing:
        return
    try:
        with writes_after(passing) as written:
            work.order.example.run(work.model)
    except Exception:  # found again, with its cause, when the attempt is checked
        return
    for path in written:
        replace_module(work.model, passing[path], Passed(path, (0,)))


def _without_what_went(
    work: _Attempt, components: Sequence[Component]
) -> list[Component]:
    """Components but those inside a module that was swapped."""
    swapped = [c.path for c in components if c.name in work.rows]
    kept: list[Component] = []
    for component in components:
        inside = component.kind != "module" or component.name not in work.rows
        outer = [
            p for p in swapped if f"{component.path}.".startswith(f"{p}.") and inside
        ]
        if outer:
            work.cuts.pop(component.name, None)
            work.done(component, "swapped", 0, f"went with {outer[0]}")
        else:
            kept.append(component)
    return kept


def _rewrite_block(work: _Attempt, path: str, group: Sequence[Component]) -> None:
    # All or none: a cut counts calls of functions, of which new code makes fewer.
    try:
        if not all(map(work.allowed, group)):
            raise Unfit("no simpler means gave the same outputs")
        if not path:
            raise Unfit("it is in the model's own code")
        block = work.model.get_submodule(path)
        projected = frozenset(
            (site.function, site.index or 0)
            for part in work.order.record.parts
            if part.kind == "skip" and part.place is not None and part.place.projected
            for site in part.place.sites
            if site.path == path
        )
        before = _parameters(work.model)
        rewriting = rewrite.begin(block, path, work.seen[path], projected)
        freed = [rewrite.edit(rewriting, c, work.edits[c.name]) for c in group]
        gone = [rewrite.removable(rewriting, names) for names in freed]
    except Unfit as error:
        work.cuts |= {c.name: str(error) for c in group}
        return
    held = {name: _parameters_at(block, name) for names in gone for name in names}
    rewrite.finish(rewriting, [name for names in gone for name in names])
    after = _parameters(work.model)
    for component, names in zip(group, gone, strict=True):
        lost = {
            id(p): p.numel()
            for name in names
            for p in held[name]
            if id(p) in before and id(p) not in after
        }
        note = f"without {', '.join(names)}" if names else ""
        work.done(component, "rewritten", sum(lost.values()), note)


def _reduce(work: _Attempt, path: str, group: Sequence[Component]) -> None:
    """Heads and channels of one module."""
    before = sum(p.numel() for p in work.model.parameters())
    try:
        if not all(map(work.allowed, group)):
            raise Unfit("no simpler means gave the same outputs")
        shrinks = all(work.allowed(c, ANY) for c in group)
        why = "" if shrinks else "with fewer, the outputs were others"
        edits = [work.edits[c.name] for c in group]
        how, note = shrink_or_zero(work.model, path, edits, work.seen, why)
    except Unfit as error:
        work.cuts |= {c.name: str(error) for c in group}
        return
    removed = before - sum(p.numel() for p in work.model.parameters())
    for place, component in enumerate(group):
        # What they lose together is told once.
        shared = f"with {group[0].name}" if place else note
        work.done(component, how, 0 if place else removed, shared)


def _by_path(
    components: Sequence[Component], kinds: Sequence[str]
) -> dict[str, list[Component]]:
    """Components of these kinds by the path of their module, innermost first."""
    found: dict[str, list[Component]] = {}
    for component in components:
        if component.kind in kinds:
            found.setdefault(component.path, []).append(component)
    depth = {path: path.count(".") + bool(path) for path in found}
    return dict(sorted(found.items(), key=lambda item: -depth[item[0]]))


def _parameters(model: nn.Module) -> dict[int, Tensor]:
    return {id(p): p for p in model.parameters()}


def _parameters_at(block: nn.Module, path: str) -> list[Tensor]:
    above, _, name = path.rpartition(".")
    found: object = getattr(block.get_submodule(above), name, None)
    if isinstance(found, nn.Module):
        return list(found.parameters())
    return [found] if isinstance(found, nn.Parameter) else []


def _lost(before: Mapping[int, Tensor], model: nn.Module) -> int:
    after = _parameters(model)
    return sum(p.numel() for i, p in before.items() if i not in after)
