"""What watches a recorded forward: hooks on every module, and a mode on every op."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from surgery.anatomy._fit import find_fit
from surgery.anatomy._structure import main_tensor, tensors
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
    """What was known when a call began."""

    flops: int
    inputs: list[Tensor]
    versions: list[int]


@dataclass
class Watch:
    """The hooks' shared state during the recorded forward."""

    root: nn.Module
    counter: FlopCounterMode
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
        given = tensors((args, kwargs))
        # Meta copies keep the shapes of inputs that the module changes in place.
        metas = [_meta(x) for x in given]
        versions = [_version(x) for x in given]
        self.open.append(_Entry(self.counter.get_total_flops(), metas, versions))

    def after(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: object,
    ) -> None:
        entry = self.open.pop()
        seen = self.seen[module]
        seen.calls += 1
        # One multiply-add is counted as two operations.
        seen.macs += (self.counter.get_total_flops() - entry.flops) // 2
        if seen.calls > 1:
            return
        out = main_tensor(output)
        into = main_tensor(entry.inputs)
        seen.input_shape = None if into is None else tuple(into.shape)
        seen.output_shape = None if out is None else tuple(out.shape)
        seen.tensors_out = len(tensors(output))
        seen.structured = not isinstance(output, Tensor)
        given = tensors((args, kwargs))
        seen.in_place = [_version(x) for x in given] != entry.versions
        seen.passes_through = any(out is x for x in given) and not seen.in_place
        if out is not None and (fit := find_fit(entry.inputs, _meta(out))):
            seen.identity = fit.adapter


class ParameterUse(TorchFunctionMode):
    """Notes which parameters the forward's own code hands to torch functions."""

    def __init__(self, used: set[int]) -> None:
        super().__init__()
        self._used = used

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") != "__get__" or (
            getattr(getattr(func, "__self__", None), "__name__", "") in _SHAPE_ONLY
        ):
            for value in (*args, *(kwargs or {}).values()):
                for tensor in tensors(value):
                    self._used.add(id(tensor))
        return func(*args, **(kwargs or {}))


@contextmanager
def watching(model: nn.Module, watch: Watch) -> Generator[None]:
    handles: list[Any] = []
    try:
        for module in model.modules():
            if is_scripted(module):  # TorchScript refuses hooks with keywords
                continue
            handles += [
                module.register_forward_pre_hook(watch.before, with_kwargs=True),
                module.register_forward_hook(watch.after, with_kwargs=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _meta(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="meta")


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def flop_counter() -> FlopCounterMode:
    # torch counts no operations for attention on CPU unless told how.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # pyright: ignore

    def flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
        return int(sdpa_flop(q, k, v))

    return FlopCounterMode(display=False, custom_mapping={attention: flops})
