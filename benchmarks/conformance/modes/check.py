"""One check: a mode on a module put in effect, run, restored; and no silent no-op."""

from __future__ import annotations

import torch

import surgery
from benchmarks.conformance.modes.looks import (
    Ablate,
    look_at_output,
    look_at_parameters,
)
from benchmarks.conformance.modes.outcome import Finding, Outcome
from benchmarks.conformance.modes.refusals import cause_of
from benchmarks.conformance.modes.subject import Subject, same_outputs
from benchmarks.conformance.modes.values import OUTPUT_MODES, Seen
from benchmarks.conformance.state import generators
from surgery import Component
from surgery.errors import NoEffectError, SurgeryError, TargetError


def check(
    subject: Subject, component: Component, mode: str, ablate: Ablate = surgery.ablate
) -> Outcome:
    """Check one mode on one module that the model's forward calls.

    After a failure the subject may not be as it was: build it anew.

    Args:
        subject: The model under check.
        component: A module of it.
        mode: One of `modes.MODES`.
        ablate: What is under test.
    """
    seen: list[Seen] = []
    found = Finding()
    refusal: SurgeryError | None = None
    random = generators()
    try:
        if mode in OUTPUT_MODES:
            look_at_output(subject, component, mode, ablate, seen, found)
        else:
            look_at_parameters(subject, component, mode, ablate, found)
    except NoEffectError as error:
        found.faults.append(f"NoEffectError: {error}")
    except SurgeryError as error:
        refusal = error
    except Exception as error:  # whatever it is, it is told as a failure
        found.faults.append(f"{type(error).__name__}: {error}")
    found.faults += _left_behind(subject, random, found.ran)
    if refusal is not None:
        module = subject.model.get_submodule(component.path)
        found.unchanged = cause_of(refusal, module, seen)
        if not found.unchanged:
            found.faults.append(f"refused for no reason that holds: {refusal}")
    elif not found.changed and not found.unchanged and not found.faults:
        found.faults.append("silent no-op: nothing changed, and nothing says why")
    return _judged(component, mode, found, refused=refusal is not None)


def check_uncalled(
    subject: Subject, component: Component, ablate: Ablate = surgery.ablate
) -> Outcome:
    """Check `zero` on a module that the model's forward never calls.

    It must be refused, or stand for the children that are called (a container).
    """
    found, refused = Finding(), False
    called_inside = any(p.startswith(f"{component.path}.") for p in subject.own)
    random = generators()
    try:
        with ablate(subject.model, str(component), "zero") as ablation:
            with torch.no_grad():
                found.reached = not same_outputs(subject.run(), subject.output)
        rows = list(ablation.effect())
        found.changed = any(row.changed for row in rows)
        found.unchanged = "the outputs of its children are all zero"
        found.note = f"stands for {len(rows)} modules"
        if not called_inside:
            found.faults.append("no error, although nothing in it is ever called")
        if not all(row.fired for row in rows) or not rows:
            found.faults.append("no error, although it never fired")
    except (NoEffectError, TargetError) as error:
        refused, found.unchanged = True, "never called"
        if called_inside:
            found.faults.append(f"refused, although modules in it run: {error}")
    except Exception as error:  # whatever it is, it is told as a failure
        found.faults.append(f"{type(error).__name__}: {error}")
    found.faults += _left_behind(subject, random, ran=True)
    return _judged(component, "zero", found, refused=refused)


def _judged(
    component: Component, mode: str, found: Finding, *, refused: bool
) -> Outcome:
    told = found.reached, found.finite, found.note
    if found.faults:
        faults = "; ".join(found.faults[:4])
        return Outcome(str(component), mode, "failure", faults, *told)
    if refused:
        return Outcome(str(component), mode, "refused", found.unchanged, *told)
    if not found.changed:
        return Outcome(str(component), mode, "no change", found.unchanged, *told)
    return Outcome(str(component), mode, "effect", "", *told)


def _left_behind(subject: Subject, random: dict[str, object], ran: bool) -> list[str]:
    """What is not as it was before the check, in words.

    Outputs are compared where the model `ran`: half of the modes on modules without
    parameters are refused before that, and a model is then only looked at.
    """
    now = generators()
    faults = [
        f"the global generator of {k} moved" for k in random if random[k] != now[k]
    ]
    with torch.no_grad():
        if ran and not same_outputs(subject.run(), subject.output):
            faults.append("the restored model's outputs differ")
    left = subject.snapshot.differences(subject.model)
    return faults + [f"not restored: {what}" for what in left[:3]]
