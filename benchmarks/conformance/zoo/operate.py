"""Operating on one component: zero put in effect, its effect proved, and undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from torch import nn

import surgery
from benchmarks.conformance.zoo import causes
from benchmarks.conformance.zoo.guard import same_outputs
from benchmarks.conformance.zoo.outcome import AtOnce, Outcome, Verdict
from benchmarks.conformance.zoo.subject import Item, Subject
from surgery import Component
from surgery.anatomy import main_tensor
from surgery.errors import SurgeryError

Ablate = Callable[..., AbstractContextManager[surgery.Ablation]]


def operate(
    subject: Subject, item: Item, ablate: Ablate = surgery.ablate, *, full: bool
) -> Outcome:
    """Put `zero` in effect at one component, run, undo.

    Args:
        subject: The model under check.
        item: What to operate on.
        ablate: What is under test.
        full: Compare every bit and the outputs afterwards, not only at a glance.
    """
    found = _Finding()
    try:
        _look(subject, item, ablate, found)
    except SurgeryError as error:
        found.refuse(causes.of_refusal(subject, item, error), error)
    except Exception as error:  # whatever it is, it is told
        found.refuse(causes.of_crash(subject, item, error), error)
    if not (found.changed or found.faults or found.cause):
        try:
            found.cause = causes.of_no_change(subject, item)
        except Exception as error:  # whatever it is, it is told
            found.faults.append(f"{type(error).__name__}: {error}")
        if not found.cause:
            found.faults.append("silent no-op: nothing changed, and nothing says why")
    found.faults += subject.guard.full() if full else subject.guard.glance()
    told = found.reached, found.finite
    if found.faults:
        cause = "; ".join(found.faults[:4])
        return Outcome(item.name, item.kind, "failure", cause, *told)
    verdict: Verdict = "refused" if found.refused else "no change"
    if found.changed:
        verdict = "effect"
    return Outcome(item.name, item.kind, verdict, found.cause, *told)


def operate_together(
    subject: Subject, items: Sequence[Item], ablate: Ablate = surgery.ablate
) -> list[Outcome]:
    """As `operate`, several at once, where a forward is expensive.

    Fired and changed are told for each of them. One that does not show an effect so,
    perhaps because what another one zeroed is all that it sees, is tried alone.
    """
    if len(items) == 1:
        return [operate(subject, items[0], ablate, full=False)]
    zeroed: dict[str, list[bool]] = {item.name: [] for item in items}
    shown: dict[str, bool] = {}
    reached, finite = False, True
    try:
        with ExitStack() as stack:
            targets = [item.target for item in items]
            ablation = stack.enter_context(ablate(subject.model, targets))
            for item in items:
                if item.kind == "module" and item.part is not None:
                    stack.callback(_watch(subject, item.part, zeroed[item.name]))
            output = subject.run()
        reached = not same_outputs(output, subject.output)
        finite = all(bool(x.isfinite().all()) for x in output)
        for row in ablation.effect():
            seen = zeroed.get(row.component, [])
            shown[row.component] = bool(row.fired and row.changed) and all(seen)
    except Exception:  # which of them it was shows when each is tried alone
        shown.clear()
    if subject.guard.glance():
        shown.clear()
    return [
        Outcome(
            item.name, item.kind, "effect", "", reached, finite, together=len(items)
        )
        if shown.get(item.name) and (zeroed[item.name] or item.kind != "module")
        else operate(subject, item, ablate, full=False)
        for item in items
    ]


def cut_all(subject: Subject, kind: str, ablate: Ablate = surgery.ablate) -> AtOnce:
    """Cut all components of a kind at once, run, undo."""
    parts = [part for part in subject.parts if part.kind == kind]
    if not parts:
        return AtOnce(kind, 0)
    faults: list[str] = []
    reached, finite = False, True
    try:
        with ablate(subject.model, parts) as ablation:
            output = subject.run()
        rows = list(ablation.effect())
        reached = not same_outputs(output, subject.output)
        finite = all(bool(x.isfinite().all()) for x in output)
        if len(rows) != len(parts):
            faults.append(f"{len(rows)} of {len(parts)} were cut")
        idle = [row.component for row in rows if not row.fired]
        faults += [f"{name} never fired" for name in idle[:3]]
        if not reached:
            faults.append("the model's output did not change")
    except Exception as error:  # whatever it is, it is told
        faults.append(f"{type(error).__name__}: {error}")
    faults += subject.guard.full()
    return AtOnce(kind, len(parts), "; ".join(faults[:4]), reached, finite)


class _Finding:
    """What is found out about one component."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.cause = ""
        self.refused = self.changed = self.reached = False
        self.finite = True

    def refuse(self, cause: str, error: Exception) -> None:
        """It was refused: rightly for a cause that holds, else it is a fault."""
        self.refused, self.cause = True, cause
        if not cause:
            self.faults.append(f"{type(error).__name__}: {error}")


def _look(subject: Subject, item: Item, ablate: Ablate, found: _Finding) -> None:
    zeroed: list[bool] = []
    with ExitStack() as stack:
        ablation = stack.enter_context(ablate(subject.model, item.target))
        if item.kind == "module" and item.part is not None:
            stack.callback(_watch(subject, item.part, zeroed))
        output = subject.run()
    found.reached = not same_outputs(output, subject.output)
    found.finite = all(bool(x.isfinite().all()) for x in output)
    rows = list(ablation.effect())
    if not rows or not all(row.fired for row in rows):
        found.faults.append("no error, although it never fired")
    found.changed = any(row.changed for row in rows)
    found.faults += _contradictions(subject, item, found, zeroed)


def _contradictions(
    subject: Subject, item: Item, found: _Finding, zeroed: Sequence[bool]
) -> list[str]:
    """What the operation says of itself, against what others saw."""
    faults: list[str] = []
    if found.reached and not found.changed:
        faults.append("effect() says nothing changed, but the model's output did")
    if item.kind == "module" and item.part is not None:
        calls = subject.calls[item.part.path]
        if calls.nonzero and not found.changed:
            faults.append("effect() says nothing changed, but its output is not zero")
        if not zeroed or not all(zeroed):
            faults.append(
                f"its output was zero in {sum(zeroed)} of {len(zeroed)} calls"
            )
    if item.kind == "uncalled":
        faults.append("no error, although nothing in it is ever called")
    return faults


def _watch(subject: Subject, part: Component, zeroed: list[bool]) -> Callable[[], None]:
    """See with a hook of our own, after the operation's, what the module gives."""

    def see(module: nn.Module, args: Any, output: object) -> None:
        main = main_tensor(output)
        if main is not None:
            zeroed.append(not bool(main.any()))

    module = subject.model.get_submodule(part.path)
    return module.register_forward_hook(see).remove
