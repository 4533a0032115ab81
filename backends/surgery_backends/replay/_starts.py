"""Starts: how much of a forward is over when a trial first takes part in it.

They are found in a forward with probes that do nothing, placed as the trial's edits
are. Of tensors that a trial changes, the first use is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from surgery.anatomy import Component, tensors
from surgery.backend import get_backend
from surgery.errors import BackendError
from surgery.ops import Clock, Inputs
from surgery_backends._trial import Trial
from surgery_backends.replay._doors import watched
from surgery_backends.replay._outputs import storage
from surgery_backends.replay._record import END

NEVER = 2**62
_WHERE_THEY_ARE = ("module", "channel", "input")


class Ticks:
    """Watches a forward, and only notes its events."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self.first: dict[int, int] = {}

    def pass_by(
        self,
        number: int,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self.events.append(number)
        try:
            return forward(*args, **kwargs)
        finally:
            self.events.append(END)

    def note(self, trial: int) -> None:
        """A trial would take part now."""
        self.first.setdefault(trial, len(self.events))


class Probe:
    """An action that changes nothing and tells that it was called."""

    wants_inputs = False

    def __init__(self, component: Component, clock: Clock, tell: Callable[[], None]):
        self.component = component
        self.clock = clock
        self._tell = tell

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        self._tell()
        return output

    def for_child(self, component: Component) -> Probe:
        return Probe(component, self.clock, self._tell)


class _Uses(TorchDispatchMode):
    """Tells which trials' tensors an operation of torch reads or writes."""

    def __init__(self, users: Mapping[int, Collection[int]], ticks: Ticks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._users = users
        self._ticks = ticks

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for tensor in tensors((args, kwargs or {})):
            if tensor.layout is torch.strided and not tensor.is_nested:
                for trial in self._users.get(storage(tensor), ()):
                    self._ticks.note(trial)
        return func(*args, **(kwargs or {}))


def written_by(model: nn.Module, trial: Trial) -> list[Tensor] | None:
    """The model's tensors that a trial changes; `None` where that cannot be told."""
    held = [*model.parameters(), *model.buffers()]
    before = [tensor._version for tensor in held]
    trial.apply()()
    pairs = zip(held, before, strict=True)
    written = [tensor for tensor, version in pairs if tensor._version != version]
    plain = all(
        type(t) in (Tensor, nn.Parameter) and t.layout is torch.strided for t in written
    )
    return written if written and plain else None


def find_starts(
    model: nn.Module,
    modules: list[nn.Module],
    trials: Mapping[int, Trial],
    written: Mapping[int, list[Tensor] | None],
    events: list[int],
    forward: Callable[[], Any],
) -> dict[int, int]:
    """How many events of the untouched forward come before each trial takes part.

    Args:
        model: The model.
        modules: Those that have doors.
        trials: What is looked for.
        written: Of trials that are not edits alone, the tensors that they change.
        events: Those of the untouched forward.
        forward: Runs the model.
    """
    unknown = {i for i in trials if i in written and written[i] is None}
    starts = dict.fromkeys(unknown, 0)
    known = {i: trial for i, trial in trials.items() if i not in unknown}
    found, agreed = _probed(model, modules, known, written, events, forward)
    for i, trial in known.items():
        if found[i] > agreed:  # probes have changed what ran: each is looked at alone
            one, same = _probed(model, modules, {i: trial}, written, events, forward)
            found[i] = min(one[i], same)
    return starts | found


def _probed(
    model: nn.Module,
    modules: list[nn.Module],
    trials: Mapping[int, Trial],
    written: Mapping[int, list[Tensor] | None],
    events: list[int],
    forward: Callable[[], Any],
) -> tuple[dict[int, int], int]:
    """First events, and how far the forward was the untouched one (`NEVER`: all)."""
    ticks = Ticks()
    users: dict[int, list[int]] = {}
    starts: dict[int, int] = {}
    with ExitStack() as stack:
        for i, trial in trials.items():
            for tensor in written.get(i) or ():
                users.setdefault(storage(tensor), []).append(i)
            for edit in trial.edits:
                component = edit.component
                if component.place is None and component.kind not in _WHERE_THEY_ARE:
                    # What only its owner's forward tells is not to be skipped in.
                    owner = _first_begin(model, modules, component.path, events)
                    starts[i] = min(owner, starts.get(i, NEVER))
                    continue
                probe = Probe(component, edit.clock, partial(ticks.note, i))
                backend = get_backend("auto", component)
                stack.callback(backend.attach(model, component, probe))
        with watched(modules, ticks):
            if users:
                stack.enter_context(_Uses(users, ticks))
            try:
                forward()
            except Exception as error:
                raise BackendError(
                    "where the variants begin cannot be found: a forward with probes "
                    f"that change nothing raised {type(error).__name__}: {error}; "
                    "variants are run in full"
                ) from error
    for i in trials:
        starts[i] = min(starts.get(i, NEVER), ticks.first.get(i, NEVER))
    return starts, _agreed(ticks.events, events)


def _first_begin(
    model: nn.Module, modules: list[nn.Module], path: str, events: list[int]
) -> int:
    owner = model.get_submodule(path)
    if owner not in modules:
        return 0
    number = modules.index(owner)
    return events.index(number) if number in events else NEVER


def _agreed(events: list[int], others: list[int]) -> int:
    if events == others:
        return NEVER
    pairs = enumerate(zip(events, others, strict=False))
    shorter = min(len(events), len(others))
    return next((i for i, (one, other) in pairs if one != other), shorter)
