"""What is checked once per component: nesting, errors, copies, modes, threads."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import Component, tensors
from surgery.ops import Constant
from surgery.testing._by_hand import At, Change
from surgery.testing._mount import Mounted
from surgery.testing._per_mode import require_same
from surgery.testing._trial import Trial, Wrong, require_close


def nested(trial: Trial) -> None:
    """With a second operation elsewhere, undone in either order, one at a time."""
    path = trial.subject.partner
    partner = Component(path, "module", path)
    if not trial.backend.covers(partner):
        partner = trial.component
    for mine_first in (True, False):
        before = trial.snapshot()
        mine = trial.mount()
        other = Mounted(trial.backend, trial.model, partner, Constant(0.3))
        both = ((trial.target, trial.change()), (str(partner), constant))
        _require(trial, both, "two operations in effect")
        left = both[1:] if mine_first else both[:1]
        (mine if mine_first else other).remove()
        which = "first" if mine_first else "second"
        _require(trial, left, f"after the {which} of two operations was undone")
        (other if mine_first else mine).remove()
        require_same(before, trial)


def in_order(trial: Trial) -> None:
    """Two operations at one component act in the order in which they came."""
    first = Mounted(trial.backend, trial.model, trial.component, Constant(0.3))
    second = trial.mount()
    both = ((trial.target, constant), (trial.target, trial.change()))
    _require(trial, both, "two operations at one component")
    first.remove()
    _require(trial, both[1:], "after the earlier of two at one component was undone")
    second.remove()
    _require(trial, (), "after both were undone")


def error(trial: Trial) -> None:
    """An error in the model passes through and leaves nothing half done."""
    before = trial.snapshot()
    mounted = trial.mount()
    leaf = _last_leaf(trial)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("in the model")

    bomb = leaf.register_forward_hook(fail)
    try:
        trial.run()
    except ZeroDivisionError:
        pass
    except Exception as other:
        raise Wrong(
            f"an error in the model became {type(other).__name__}: {other}"
        ) from other
    else:
        raise Wrong("an error in the model was swallowed")
    finally:
        bomb.remove()
    _require(trial, ((trial.target, trial.change()),), "after an error in the model")
    mounted.remove()
    require_same(before, trial)


def copied(trial: Trial) -> None:
    """Copies and pickles made meanwhile keep the operation; nothing else is shared."""
    before = trial.snapshot()
    mounted = trial.mount()
    right = trial.by_hand((trial.target, trial.change()))
    twins = {"deepcopy": copy.deepcopy(trial.model)}
    twins["pickle"] = pickle.loads(pickle.dumps(trial.model))
    mounted.remove()
    require_same(before, trial)
    for how, twin in twins.items():
        require_close(trial.run(twin), right, f"the output of a {how} made meanwhile")


def in_train_mode(trial: Trial) -> None:
    """In train mode too, with the same dropout and the same statistics."""
    trial.model.train()
    trial.twin.train()
    try:
        with torch.random.fork_rng(devices=()), trial.mounted(), torch.no_grad():
            torch.manual_seed(5)
            got = trial.run()
            torch.manual_seed(5)
            right = trial.by_hand((trial.target, trial.change()))
        require_close(got, right, "the output in train mode")
        mine, theirs = (list(m.buffers()) for m in (trial.model, trial.twin))
        require_close(mine, theirs, "running statistics in train mode")
    finally:
        for model in (trial.model, trial.twin):
            model.load_state_dict(trial.subject.model().state_dict())
            model.eval()


def in_inference_mode(trial: Trial) -> None:
    """Under `torch.inference_mode`."""
    with trial.mounted(), torch.inference_mode():
        got = trial.run()
    right = trial.by_hand((trial.target, trial.change()))
    require_close(got, right, "the output in inference mode")


def in_threads(trial: Trial) -> None:
    """Forwards in several threads at once do not disturb each other."""
    batches = [trial.subject.inputs(seed) for seed in range(10, 14)]
    results: dict[int, list[Tensor] | Exception] = {}

    def work(place: int) -> None:
        try:
            with torch.no_grad():
                batch = {name: x.clone() for name, x in batches[place].items()}
                results[place] = tensors(trial.model(**batch))
        except Exception as raised:
            results[place] = raised

    with trial.mounted():
        threads = [
            threading.Thread(target=work, args=(i,)) for i in range(len(batches))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for place, batch in enumerate(batches):
        found = results[place]
        if isinstance(found, Exception):
            raise Wrong(f"in a thread: {type(found).__name__}: {found}")
        at = At(((trial.target, trial.change()),))
        right = tensors(trial.subject.run_by_hand(trial.twin, at, batch))
        require_close(found, right, "the output in one of several threads")


def constant(value: Tensor, given: object, index: int) -> Tensor:
    """What the second operation does, by hand."""
    return torch.full_like(value, 0.3)


def _require(trial: Trial, changes: tuple[tuple[str, Change], ...], when: str) -> None:
    with torch.no_grad():
        require_close(trial.run(), trial.by_hand(*changes), f"the output, {when}")


def _last_leaf(trial: Trial) -> nn.Module:
    """A module that runs late inside of the component's, or in the model."""
    owner = trial.model.get_submodule(trial.component.path)
    leaves = [m for m in owner.modules() if not list(m.children())]
    return leaves[-1]


PER_PART: Mapping[str, Callable[[Trial], None]] = {
    "nested": nested,
    "in order": in_order,
    "error": error,
    "copied": copied,
    "train mode": in_train_mode,
    "inference mode": in_inference_mode,
    "threads": in_threads,
}
"""Checks by name, tried once per component."""
