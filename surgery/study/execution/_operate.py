"""Taking parts of a model away before it is trained, and proof that they stayed so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surgery.ablation import Ablation, ablate
from surgery.errors import StudyError
from surgery.excision import Excision, excise
from surgery.study.arms import LayerPart
from surgery.targets import resolve_group


@dataclass
class Operated:
    """A model with parts out of action.

    Attributes:
        model: What is trained.
        ablations: The reversible operations in effect on it.
        frozen: Copies of parameters and buffers that must not move.
        notes: What a reader must know.
    """

    model: nn.Module
    ablations: list[Ablation] = field(default_factory=list[Ablation])
    frozen: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    notes: list[str] = field(default_factory=list[str])

    def check(self) -> None:
        """Raise if an operation was not in effect, or if what is frozen moved.

        Raises:
            NoEffectError: The model ran, but an operation never took part.
            StudyError: Frozen parameters or buffers have other values than before.
        """
        moved = [
            name
            for name, tensor in _state(self.model).items()
            if name in self.frozen and not _equal(tensor, self.frozen[name])
        ]
        if moved:
            raise StudyError(
                f"frozen, yet moved while training: {', '.join(moved[:5])}"
                f"{' ...' if len(moved) > 5 else ''}; the train function changes them "
                "other than through an optimizer that heeds gradients: leave out those "
                "whose requires_grad is False"
            )
        for ablation in reversed(self.ablations):
            ablation.restore()

    def close(self) -> None:
        """Undo what is in effect, without questions."""
        for ablation in reversed(self.ablations):
            if ablation.active:
                ablation.__exit__(StudyError, None, None)


def operate(
    model: nn.Module, parts: Sequence[LayerPart], inputs: Any, seed: int
) -> Operated:
    """The model without these parts; a new one where they are excised."""
    operated = Operated(model)
    for part in parts:
        if part.remove == "excise":
            _excised(operated, part, inputs, seed)
    # Held operations afterwards: a model under operation is not excised from.
    for part in parts:
        if part.remove != "excise":
            _held(operated, part, list(part.targets), part.remove, inputs, seed)
    return operated


def _excised(operated: Operated, part: LayerPart, inputs: Any, seed: int) -> None:
    """Modules and functions let their input through; all else is cut."""
    components = resolve_group(operated.model, list(part.targets), called_only=True)
    by_mode: dict[str, list[str]] = {}
    for component in components:
        mode = "identity" if component.kind in ("module", "function") else "zero"
        by_mode.setdefault(mode, []).append(str(component))
    for mode, targets in by_mode.items():
        if inputs is None:
            operated.notes.append(
                f"{part.name}: held as {mode!r} throughout, not excised: the data does "
                "not tell an example input; give Study(inputs=...)"
            )
            _held(operated, part, targets, mode, None, seed)
            continue
        training = operated.model.training
        smaller = excise(operated.model, targets, mode, inputs=inputs, seed=seed)
        report = getattr(smaller, "excision", None)
        rows = report.rows if isinstance(report, Excision) else ()
        undone = [row.component for row in rows if row.how == "zeroed"]
        if undone:
            # Training would bring weights back that were merely set to zero.
            operated.notes.append(
                f"{part.name}: held at zero throughout, not excised: its weights "
                "cannot be made smaller"
            )
            _held(operated, part, targets, mode, inputs, seed)
            continue
        operated.model = smaller.train(training)


def _held(
    operated: Operated,
    part: LayerPart,
    targets: Sequence[str],
    mode: str,
    inputs: Any,
    seed: int,
) -> None:
    model = operated.model
    before = {name for name, p in model.named_parameters() if p.requires_grad}
    made = ablate(model, list(targets), mode, inputs=inputs, seed=seed)
    operated.ablations.append(made)
    if mode != "freeze":
        return
    frozen = {
        n for n, p in model.named_parameters() if n in before and not p.requires_grad
    }
    paths = tuple(f"{c.path}." for c in made.components if c.kind == "module")
    buffers = {n for n, _ in model.named_buffers() if paths and n.startswith(paths)}
    state = _state(model)
    for name in sorted(frozen | buffers):
        operated.frozen[name] = state[name].detach().clone()
    if not frozen and not buffers:
        operated.notes.append(f"{part.name}: nothing in it learns, frozen or not")


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _equal(one: Tensor, other: Tensor) -> bool:
    """Bitwise but for the device; NaN is equal to itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = one.detach().cpu(), other.detach().cpu()
    return bool(torch.equal(one, other)) or _same_bytes(one, other)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    if not one.is_floating_point():
        return False
    return bool(torch.equal(torch.isnan(one), torch.isnan(other))) and bool(
        torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
    )


equal = _equal
state_of = _state
