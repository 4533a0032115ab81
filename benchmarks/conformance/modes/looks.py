"""Looking at a model under an operation: one mode on one module, while in effect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

import surgery
from benchmarks.conformance.modes.freezing import (
    faults_of_freezing,
    frozen_names,
    shared_names,
    train_step,
)
from benchmarks.conformance.modes.outcome import Finding
from benchmarks.conformance.modes.subject import Subject, same_outputs
from benchmarks.conformance.modes.values import (
    OUTPUT_MODES,
    PARAMETER_MODES,
    Seen,
    fault_of,
    reason_unchanged,
    same_values,
)
from benchmarks.conformance.modes.watch import Watch, keeping
from surgery import Component

Ablate = Callable[..., AbstractContextManager[surgery.Ablation]]


def look_at_output(
    subject: Subject,
    component: Component,
    mode: str,
    ablate: Ablate,
    seen: list[Seen],
    found: Finding,
) -> None:
    """Run under an output mode; compare every call with what the mode says."""
    model, wanted = subject.model, OUTPUT_MODES[mode]
    data = list(subject.probe.data) if mode == "mean" else None
    watch = Watch(model.get_submodule(component.path), seen)
    with watch.outside():
        with ablate(model, str(component), wanted.operation, data=data) as ablation:
            watch.start()
            _look_at_model(subject, found)
            found.faults += subject.snapshot.differences_of_keys(model)
        (row,) = ablation.effect()
    for call, mean in zip(seen, subject.means.get(component.path, []), strict=False):
        call.mean = mean
    found.faults += [fault for call in seen if (fault := fault_of(mode, call))]
    if not seen or row.fired != len(seen):
        found.faults.append(f"fired {row.fired} times in {len(seen)} calls")
    found.changed = not all(_unchanged(call) for call in seen)
    if found.finite and found.changed != row.changed:
        found.faults.append(f"effect() says changed={row.changed}, it is not so")
    reasons = [reason_unchanged(mode, call) for call in seen]
    found.unchanged = reasons[0] if all(reasons) else ""
    found.note = row.note


def look_at_parameters(
    subject: Subject, component: Component, mode: str, ablate: Ablate, found: Finding
) -> None:
    """Run under a parameter mode; compare tensors, and its own output, with before."""
    model, path = subject.model, component.path
    owned = frozen_names(model, path)
    operation = PARAMETER_MODES[mode](subject)
    with ablate(model, str(component), operation) as ablation:
        (row,) = ablation.effect()
        found.faults += subject.snapshot.differences_of_keys(model)
        changed = subject.snapshot.changed_tensors(model)
        if changed - owned:
            found.faults.append(f"changed {sorted(changed - owned)[:3]} outside of it")
        if mode == "freeze":
            _look_at_training(subject, owned, found)
        else:
            if not changed:
                found.faults.append("no parameter changed")
            _look_at_own_output(subject, component, found)
    if not row.fired or not row.changed:
        found.faults.append(f"effect() says fired={row.fired}, changed={row.changed}")
    if mode == "rewind":
        _compare_with_start(subject, changed, owned, found)
    found.note = row.note


def _look_at_model(subject: Subject, found: Finding) -> None:
    found.ran = True
    with torch.no_grad():
        output = subject.run()
    found.reached = not same_outputs(output, subject.output)
    found.finite = all(bool(x.isfinite().all()) for x in output)


def _look_at_training(subject: Subject, owned: set[str], found: Finding) -> None:
    found.ran = True
    step = train_step(subject.model, subject.run, subject.snapshot)
    found.faults += faults_of_freezing(subject.step, step, owned)
    found.changed = bool((subject.step.trained | subject.step.moved) & owned)
    found.unchanged = "a training step does not move it anyway"


def _look_at_own_output(subject: Subject, component: Component, found: Finding) -> None:
    own: list[Tensor] = []
    with keeping(subject.model.get_submodule(component.path), own, torch.clone):
        _look_at_model(subject, found)
    found.changed = not same_outputs(own, subject.own[component.path])
    if not found.changed and _has_no_gradient(subject, component):
        found.unchanged = "its parameters have no part in its output"


def _compare_with_start(
    subject: Subject, changed: set[str], owned: set[str], found: Finding
) -> None:
    """Shaking moved every parameter, so that rewinding must move every one back."""
    parameters = {name for name, _ in shared_names(subject.model)}
    if still := (owned & parameters) - changed:
        found.faults.append(f"{sorted(still)[:3]} did not go back")


def _has_no_gradient(subject: Subject, component: Component) -> bool:
    """Whether the module's output has no gradient in any of its parameters."""
    module = subject.model.get_submodule(component.path)
    own: list[Tensor] = []
    with keeping(module, own, lambda x: x.square().sum()):
        subject.run()
    values = [x for x in own if x.requires_grad]
    if not values:
        return True
    parameters = [p for p in module.parameters() if p.requires_grad]
    grads = torch.autograd.grad(
        torch.stack(values).sum(), parameters, allow_unused=True
    )
    return not any(g is not None and bool(g.any()) for g in grads)


def _unchanged(call: Seen) -> bool:
    raw, new = call.raw, call.new
    return raw is not None and new is not None and same_values(raw, new)
