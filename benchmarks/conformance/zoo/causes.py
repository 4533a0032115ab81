"""Causes why `zero` may change nothing or be refused, each checked in the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.zoo.subject import Item, Subject
from surgery.anatomy import mapped
from surgery.errors import BackendError, NoEffectError, TargetError


def of_refusal(subject: Subject, item: Item, error: Exception) -> str:
    """The cause of a refusal if it is known and true of the model, else empty."""
    part = item.part
    if part is None or part.kind != "module":
        return ""
    calls = subject.calls[part.path]
    module = subject.model.get_submodule(part.path)
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript module" if isinstance(error, BackendError) else ""
    if isinstance(error, NoEffectError | TargetError) and not calls.count:
        if subject.inside(part.path):
            return ""
        owned = next(module.parameters(), None) is not None
        bypassed = part.facts is not None and "bypassed" in part.facts.note
        if bypassed and owned:
            return "never called: its parent uses its parameters"
        return f"never called in this mode{', has parameters' if owned else ''}"
    if calls.count and not calls.tensors:
        return "no tensor comes out of it"
    return ""


def of_no_change(subject: Subject, item: Item) -> str:
    """Why its output may have stayed as it is; empty if for no good reason.

    A look of our own: what is there is handed to a function that returns it.
    """
    seen: list[Tensor] = []

    def look(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(output.detach().clone())
        return output

    with surgery.ablate(subject.model, item.target, look):
        subject.run()
    if not seen:
        return ""
    if all(x.numel() == 0 for x in seen):
        return "its output is empty"
    if not any(bool(x.any()) for x in seen):
        return "its output is all zero already"
    return ""


def of_crash(subject: Subject, item: Item, error: Exception) -> str:
    """Whether the model itself fails so where a hook of ours gives zeros."""
    part = item.part
    if part is None or part.kind != "module":
        return ""
    module = subject.model.get_submodule(part.path)
    with_zeros = module.register_forward_hook(_zeros)
    try:
        subject.run()
    except Exception as same:  # whatever it is, it is compared
        if type(same) is type(error) and str(same)[:80] == str(error)[:80]:
            return f"the model does not run on zeros there: {type(same).__name__}"
    finally:
        with_zeros.remove()
    return ""


def _zeros(module: nn.Module, args: Any, output: Any) -> Any:
    return mapped(output, torch.zeros_like)
