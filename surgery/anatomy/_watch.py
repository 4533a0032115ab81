"""What watches a recorded forward: hooks on every module, and a mode on every op."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import (
    _get_current_dispatch_mode,
    _pop_mode_temporarily,
)
from torch.utils.flop_counter import FlopCounterMode

from surgery.anatomy._fit import Look, find_fit, find_main_look
from surgery.anatomy._following import flat
from surgery.anatomy._functions import is_in_place, operands
from surgery.anatomy._ledger import Call, Ledger
from surgery.anatomy._structure import main_tensor, tensors
from surgery.anatomy._tracker import Tracker
from surgery.anatomy._wrappers import is_scripted

# Reading these from a parameter does not use its values.
_SHAPE_ONLY = {"T", "mT", "H", "data"}


@dataclass
class Seen:
    """What the hooks saw of one module."""

    calls: int = 0
    macs: int = 0
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    identity: str = "no"
    tensors_out: int = 0
    structured: bool = False
    passes_through: bool = False
    in_place: bool = False


@dataclass
class _Entry:
    """What was known when a call began, after the module's pre-hooks."""

    module: nn.Module
    flops: int
    inputs: list[Look] = field(default_factory=list[Look])
    versions: list[int] = field(default_factory=list[int])


@dataclass
class Watch:
    """The hooks' shared state during the recorded forward."""

    root: nn.Module
    counter: FlopCounterMode
    paths: Mapping[nn.Module, str]
    tracker: Tracker = field(default_factory=Tracker)
    ledger: Ledger = field(default_factory=Ledger)
    seen: dict[nn.Module, Seen] = field(default_factory=dict[nn.Module, Seen])
    order: list[nn.Module] = field(default_factory=list[nn.Module])
    open: list[_Entry] = field(default_factory=list["_Entry"])
    used: set[int] = field(default_factory=set[int])
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if module not in self.seen:
            self.seen[module] = Seen()
            self.order.append(module)
        if module is self.root and self.given is None:
            self.given = args, kwargs
        self.open.append(_Entry(module, self.counter.get_total_flops()))
        self.tracker.enter(module, self.paths[module], args, kwargs)
        self.tracker.close()
        if (frame := self.tracker.frame) is not None:
            self.ledger.entered(frame.path, frame.call)

    def begun(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """The pre-hooks have run, and the module's own code begins."""
        entry = self.open[-1]
        given = tensors((args, kwargs))
        # The module may change its inputs in place.
        entry.inputs = [look for x in given if (look := Look.of(x)) is not None]
        entry.versions = [_version(x) for x in given]
        self.tracker.open(args, kwargs)

    def ended(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The module's own code has run, and its forward hooks begin."""
        self.tracker.close()

    def _leave(self, module: nn.Module, output: object) -> None:
        if (frame := self.tracker.frame) is not None:
            childless = next(module.children(), None) is None
            self.ledger.left(frame.path, frame.call, childless, output)
        self.tracker.leave(output)

    def call(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a torch function, and note what it is and which parameters it uses."""
        if getattr(func, "__name__", "") != "__get__" or (
            getattr(getattr(func, "__self__", None), "__name__", "") in _SHAPE_ONLY
        ):
            self.used.update(map(id, flat((args, tuple(kwargs.values())))))
        seen = self.tracker.before(func, args, kwargs)
        if seen is None:
            output = self._run(func, args, kwargs)
            self.tracker.after(func, args, kwargs, output)
            return output
        given = tuple(
            Look.of(x) if isinstance(x, Tensor) else None
            for x in operands(seen.function, args, kwargs)
        )
        inputs = self.open[-1].inputs if self.open else []
        noted = Call(seen, is_in_place(func), given, inputs)
        output = self._run(func, args, kwargs)
        self.tracker.after(func, args, kwargs, output)
        live = any(self.tracker.is_live(x) for x in flat(output))
        self.ledger.note(noted, output, live)
        return output

    def _run(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        counting = _get_current_dispatch_mode() is self.counter.mode
        if counting and any(x.is_nested for x in flat((args, tuple(kwargs.values())))):
            with _pop_mode_temporarily():  # torch cannot count these, and fails
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    def after(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: object,
    ) -> None:
        if not self.open or self.open[-1].module is not module:
            return  # another hook raised before the call began
        self._leave(module, output)
        entry = self.open.pop()
        seen = self.seen[module]
        seen.calls += 1
        # One multiply-add is counted as two operations.
        seen.macs += (self.counter.get_total_flops() - entry.flops) // 2
        if seen.calls > 1:
            return
        out = main_tensor(output)
        into = find_main_look(entry.inputs)
        seen.input_shape = None if into is None else tuple(into.shape)
        look = None if out is None else Look.of(out)
        seen.output_shape = None if look is None else tuple(look.shape)
        seen.tensors_out = len(tensors(output))
        seen.structured = not isinstance(output, Tensor)
        given = tensors((args, kwargs))
        seen.in_place = [_version(x) for x in given] != entry.versions
        seen.passes_through = any(out is x for x in given) and not seen.in_place
        if look is not None and (fit := find_fit(entry.inputs, look)):
            seen.identity = fit.adapter


class FunctionWatch(TorchFunctionMode):
    """Shows every call of a torch function to the watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self._watch.call(func, args, kwargs or {})


@contextmanager
def watching(model: nn.Module, watch: Watch) -> Generator[None]:
    """Every call of a module in `model`, and of a torch function, goes to `watch`."""

    # What the watch itself does with tensors is nobody's own code.
    def before(*call: Any) -> None:
        with torch._C.DisableTorchFunction():
            watch.before(*call)

    def begun(*call: Any) -> None:
        with torch._C.DisableTorchFunction():
            watch.begun(*call)

    def after(*call: Any) -> None:
        with torch._C.DisableTorchFunction():
            watch.after(*call)

    handles: list[Any] = []
    try:
        for module in model.modules():
            if is_scripted(module):  # TorchScript refuses hooks with keywords
                continue
            handles += [
                # Around the hooks of others, which are nobody's own code.
                module.register_forward_pre_hook(
                    before, prepend=True, with_kwargs=True
                ),
                module.register_forward_pre_hook(begun, with_kwargs=True),
                module.register_forward_hook(watch.ended, prepend=True),
                # Also after an exception, which the module's caller may catch.
                module.register_forward_hook(after, with_kwargs=True, always_call=True),
            ]
        with FunctionWatch(watch):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _version(x: Tensor) -> int:
    return 0 if is_lazy(x) or x.is_inference() else x._version


def flop_counter() -> FlopCounterMode:
    # torch counts no operations for attention on CPU unless told how.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # pyright: ignore

    def flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
        # torch's own count refuses fewer heads of keys than of queries before 2.10.
        return int(2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1]))

    counter = FlopCounterMode(display=False, custom_mapping={attention: flops})
    # Its own tracker of modules fails where a parameter's view is handed to a module.
    counter.mod_tracker = cast("Any", _WholeModel())
    return counter


class _WholeModel:
    """Stands for torch's tracker of modules: everything counts for the whole model."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
