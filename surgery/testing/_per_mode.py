"""What is checked in every mode: values, gradients, half dials, undoing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from surgery.anatomy import tensors
from surgery.testing._by_hand import At, Change
from surgery.testing._snapshot import Snapshot
from surgery.testing._trial import Trial, Wrong, require_close


def value(trial: Trial, dial: float = 1.0) -> None:
    """The outputs are those of the forward edited by hand."""
    with trial.mounted(dial) as mounted, torch.no_grad():
        got = trial.run()
    fired, ran = mounted.edit.fired, trial.visits()
    if fired != ran:
        raise Wrong(
            f"the action was called {fired} times in a forward in which the component "
            f"runs {ran} times"
        )
    with torch.no_grad():
        right = trial.by_hand((trial.target, trial.change(mounted, dial)))
    require_close(got, right, "the output")


def half_dial(trial: Trial) -> None:
    """The same with the dial at a half."""
    value(trial, 0.5)


def gradient(trial: Trial) -> None:
    """Gradients of all parameters and inputs are those of the forward by hand."""
    with trial.mounted() as mounted:
        got = gradients(trial, trial.model, lambda x: trial.model(**x))
    change = trial.change(mounted)
    right = gradients(trial, trial.twin, _by_hand(trial, change))
    for name, mine in got.items():
        require_close([mine], [right[name]], f"the gradient of {name}")


def restored(trial: Trial) -> None:
    """Undone, the model is as before in all that can be seen of it."""
    before = trial.snapshot()
    mounted = trial.mount()
    with torch.no_grad():
        trial.run()
    keys = list(trial.model.state_dict())
    mounted.remove()
    if keys != before.found["keys of state_dict"]:
        raise Wrong("the keys of state_dict change while the operation is in effect")
    require_same(before, trial)


def require_same(before: Snapshot, trial: Trial) -> None:
    """Compare the model of a trial with how it was.

    Raises:
        Wrong: Something is left.
    """
    left = before.differences(trial.snapshot())
    if left:
        raise Wrong(f"after it was undone {'; '.join(left[:3])}")


def gradients(
    trial: Trial, model: nn.Module, forward: Callable[[dict[str, Tensor]], object]
) -> dict[str, Tensor]:
    """Gradients of a scalar of the outputs, zeros where there are none."""
    model.zero_grad()
    batch = {name: x.clone().requires_grad_() for name, x in trial.batch.items()}
    # A copy goes in: a leaf that wants gradients cannot be changed in place.
    outputs = tensors(forward({name: 1 * x for name, x in batch.items()}))
    loss = torch.stack([(x.sin() * (1 + x)).sum() for x in outputs]).sum()
    if loss.requires_grad:
        loss.backward()
    found = {**dict(model.named_parameters()), **batch}
    return {
        name: torch.zeros_like(x) if x.grad is None else x.grad
        for name, x in found.items()
    }


def _by_hand(trial: Trial, change: Change) -> Callable[[dict[str, Tensor]], object]:
    at = At(((trial.target, change),))
    return lambda batch: trial.subject.run_by_hand(trial.twin, at, batch)


PER_MODE: Mapping[str, Callable[[Trial], None]] = {
    "value": value,
    "half dial": half_dial,
    "gradient": gradient,
    "restored": restored,
}
"""Checks by name, tried in every mode."""
