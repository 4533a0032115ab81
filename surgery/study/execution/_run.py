"""run_trial: one trial from its request to its outcome, whatever happens in it."""

from __future__ import annotations

import functools
import math
import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from surgery._random import derive, preserved_rng, seed_all
from surgery.errors import StudyError, SurgeryError
from surgery.study.execution._cost import macs, parameters
from surgery.study.execution._inject import call_by_name
from surgery.study.execution._messages import Listener
from surgery.study.execution._preparation import Preparation, prepare
from surgery.study.execution._recipe import Recipe
from surgery.study.execution._reporter import Reporter, StopTrial, number
from surgery.study.trials import Facts, Outcome, Request, State
from surgery.study.trials._trial import FailureKind


class _OneStep(BaseException):
    """Ends a train function after its first step."""


def run_trial(
    recipe: Recipe,
    request: Request,
    listener: Listener,
    device: str = "cpu",
    *,
    one_step: bool = False,
) -> Outcome:
    """Prepare, train and check one trial; failures are outcomes too.

    The global generators are afterwards as they were.

    Args:
        recipe: What all trials have in common.
        request: What this one is.
        listener: Is told what it logs, and says whether it is to stop.
        device: Where to train.
        one_step: End after the first step of an optimizer, or the first `log`.
    """
    load_optimizers()
    start = time.perf_counter()
    with preserved_rng():
        outcome = _outcome(recipe, request, listener, device, one_step)
    return replace(outcome, seconds=time.perf_counter() - start)


@functools.cache
def load_optimizers() -> None:
    """Have torch import what it imports with the first optimizer of a process.

    Those are seconds, which the first trial of each worker would seem to take longer.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)


def _outcome(
    recipe: Recipe, request: Request, listener: Listener, device: str, one_step: bool
) -> Outcome:
    try:
        prepared = prepare(recipe, request, device)
    except Exception as error:
        kind: FailureKind = "unfair" if isinstance(error, SurgeryError) else "raised"
        return _failed(kind, error, Facts(device=device))
    facts = _facts(prepared, device)
    try:
        returned = _trained(recipe, request, prepared, listener, one_step)
        _check(prepared)
    except StopTrial as stop:
        return Outcome(State.PRUNED, message=str(stop), facts=facts)
    except _Unfair as error:
        return _failed("unfair", error, facts)
    except (Exception, SystemExit) as error:
        return _failed("raised", error, facts)
    finally:
        prepared.operated.close()
    if one_step:
        return Outcome(State.COMPLETE, facts=facts)
    return _judged(recipe, returned, facts)


class _Unfair(Exception):
    """A promise of fair comparison was broken while training."""


def _check(prepared: Preparation) -> None:
    try:
        prepared.operated.check()
    except SurgeryError as error:
        raise _Unfair(str(error)) from error


def _trained(
    recipe: Recipe,
    request: Request,
    prepared: Preparation,
    listener: Listener,
    one_step: bool,
) -> Any:
    folder = recipe.trial_folder(request.id)
    if one_step:
        listener = _stop_at_log
    reporter = Reporter(request.id, folder, listener, prepared.generators)
    arguments = {
        **prepared.arguments,
        "model": prepared.model,
        "data": prepared.data,
        "reporter": reporter,
    }
    prepared.model.train()
    seed_all(derive(request.seed, "train"))
    train = recipe.tiers[request.tier].train
    with _stopped_after_a_step(one_step):
        return call_by_name(train, arguments)


@contextmanager
def _stopped_after_a_step(wanted: bool) -> Generator[None]:
    """Where wanted, ends the block after the first step of any optimizer."""
    if not wanted:
        yield
        return

    def stop(*arguments: Any) -> None:
        raise _OneStep

    hook = register_optimizer_step_post_hook(stop)
    try:
        yield
    except _OneStep:
        pass
    finally:
        hook.remove()


def _stop_at_log(logged: object) -> str:
    raise _OneStep


def _judged(recipe: Recipe, returned: Any, facts: Facts) -> Outcome:
    """COMPLETE if the train function returned all metrics as finite numbers."""
    try:
        metrics = _metrics(recipe, returned)
    except StudyError as error:
        return Outcome(State.FAILED, failure="metric", message=str(error), facts=facts)
    wrong = [name for name in recipe.metrics if not math.isfinite(metrics[name])]
    if wrong:
        shown = ", ".join(f"{name} is {metrics[name]}" for name in wrong)
        return Outcome(
            State.FAILED,
            metrics,
            failure="diverged",
            message=f"it diverged: {shown}",
            facts=facts,
        )
    return Outcome(State.COMPLETE, metrics, facts=facts)


def _metrics(recipe: Recipe, returned: Any) -> dict[str, float]:
    wanted = list(recipe.metrics)
    if returned is None:
        example = ", ".join(f"{name!r}: ..." for name in wanted)
        raise StudyError(f"train returned nothing; have it return {{{example}}}")
    if not isinstance(returned, Mapping):
        if len(wanted) > 1:
            raise StudyError(
                f"train returned {type(returned).__name__}, but the study has "
                f"{len(wanted)} metrics; return a dict with {', '.join(wanted)}"
            )
        returned = {wanted[0]: returned}
    items = cast("Mapping[Any, Any]", returned).items()
    metrics: dict[str, float] = {}
    for name, value in items:
        try:
            metrics[str(name)] = number(value, str(name))
        except StudyError:
            if name in wanted:
                raise
    missing = [name for name in wanted if name not in metrics]
    if missing:
        raise StudyError(
            f"train returned {', '.join(map(repr, metrics)) or 'no number'}, but not "
            f"{', '.join(map(repr, missing))}, which the study asks for; return it, or "
            "write Study(metric=...) as it is called"
        )
    return metrics


def _facts(prepared: Preparation, device: str) -> Facts:
    total, trainable = parameters(prepared.model)
    return Facts(
        parameters=total,
        trainable=trainable,
        macs=macs(prepared.model, prepared.inputs),
        common=prepared.start.common,
        equal_start=prepared.start.equal,
        aligned=prepared.start.aligned,
        frozen=len(prepared.operated.frozen),
        device=device,
        threads=torch.get_num_threads(),
        notes=tuple(prepared.notes),
    )


def _failed(kind: FailureKind, error: BaseException, facts: Facts) -> Outcome:
    if _is_out_of_memory(error):
        kind = "memory"
    return Outcome(
        State.FAILED,
        failure=kind,
        message=f"{type(error).__name__}: {error}",
        detail="".join(traceback.format_exception(error)),
        facts=facts,
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )
