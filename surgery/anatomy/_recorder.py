"""The recorder: one forward of a model, watched, and everything put back after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from surgery._random import preserved_rng
from surgery.anatomy._component import Facts
from surgery.anatomy._fit import find_fit
from surgery.anatomy._record import InputField, Record
from surgery.anatomy._structure import main_tensor, tensors
from surgery.anatomy._wrappers import is_scripted, unwrap
from surgery.errors import DataError

# Reading these from a parameter does not use its values.
_SHAPE_ONLY = {"T", "mT", "H", "data"}


@dataclass
class _Seen:
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
class _Watch:
    """The hooks' shared state during the recorded forward."""

    root: nn.Module
    counter: FlopCounterMode
    seen: dict[nn.Module, _Seen] = field(default_factory=dict[nn.Module, _Seen])
    order: list[nn.Module] = field(default_factory=list[nn.Module])
    open: list[_Entry] = field(default_factory=list["_Entry"])
    used: set[int] = field(default_factory=set[int])
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if module not in self.seen:
            self.seen[module] = _Seen()
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


class _ParameterUse(TorchFunctionMode):
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


def record(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> Record:
    """Run `model(*args, **kwargs)` once and tell what every module in it did.

    The forward runs without gradients in the model's present mode. Buffers (BatchNorm
    statistics in train mode) and the global random generators are as before after it.

    Args:
        model: Any module; parallel and compiled wrappers are looked through.
        args: Positional inputs, as the model takes them.
        kwargs: Keyword inputs.

    Raises:
        DataError: The model could not run on these inputs.
    """
    inner = unwrap(model)
    given = dict(kwargs or {})
    try:
        return record_run(inner, lambda: inner(*args, **given))
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors((args, given)))
        raise DataError(
            f"{type(inner).__name__} could not run on the given inputs (tensors of "
            f"shape {shapes or 'none'}): {type(error).__name__}: {error}. Pass "
            "what the model's forward takes, e.g. inputs=(x,) or kwargs={...}."
        ) from error


def record_run(model: nn.Module, run: Callable[[], object]) -> Record:
    """As `record`, for whatever calls the model; what it raises passes through.

    Raises:
        DataError: `run` did not call the model.
    """
    inner = unwrap(model)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(preserved_rng())
        stack.enter_context(preserved_buffers(inner))
        watch = _Watch(inner, stack.enter_context(_flop_counter()))
        stack.enter_context(_watching(inner, watch))
        stack.enter_context(_ParameterUse(watch.used))
        run()
    if watch.given is None:
        raise DataError(
            f"{type(inner).__name__} itself was not called: call the model, as in "
            "step=lambda model, batch: (model(batch[0]), batch[1])"
        )
    return _summary(inner, watch, *watch.given)


def input_fields(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The model's inputs by the names of its forward's parameters.

    Values of `*args` are named `name0`, `name1`, ...; a forward without a readable
    signature gets `input0`, `input1`, ... and its keywords.
    """
    try:
        signature = inspect.signature(unwrap(model).forward)
        bound = signature.bind_partial(*args, **kwargs)
    except (TypeError, ValueError):
        return {**{f"input{i}": x for i, x in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}{i}": x for i, x in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def _meta(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="meta")


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def _flop_counter() -> FlopCounterMode:
    # torch counts no operations for attention on CPU unless told how.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # pyright: ignore

    def flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
        return int(sdpa_flop(q, k, v))

    return FlopCounterMode(display=False, custom_mapping={attention: flops})


@contextmanager
def preserved_buffers(model: nn.Module) -> Generator[None]:
    """Give a model's buffers back as they were, bit for bit."""
    saved = [(b, b.detach().clone()) for b in model.buffers()]
    owned = [(m, dict(m._buffers)) for m in model.modules() if not is_scripted(m)]
    try:
        yield
    finally:
        for buffer, value in saved:
            if not buffer.is_meta and not torch.equal(buffer, value):
                buffer.copy_(value)
        for module, buffers in owned:  # also what a forward registered or rebound
            module._buffers.clear()
            module._buffers.update(buffers)


@contextmanager
def _watching(model: nn.Module, watch: _Watch) -> Generator[None]:
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


def _summary(
    model: nn.Module, watch: _Watch, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Record:
    names = {module: name for name, module in model.named_modules()}
    aliases: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        aliases.setdefault(module, []).append(name)
    bypassed = {
        module
        for module in names
        if module not in watch.seen
        and any(id(p) in watch.used for p in module.parameters(recurse=False))
    }
    facts = {
        name: _facts(module, watch, aliases[module], module in bypassed)
        for module, name in names.items()
    }
    fields = input_fields(model, args, kwargs)
    inputs = tuple(
        InputField(name, tuple(x.shape), str(x.dtype).removeprefix("torch."))
        for name, x in fields.items()
        if isinstance(x, Tensor)
    )
    first = next(iter(tensors(fields)), None)
    return Record(
        facts=facts,
        order=tuple(names[module] for module in watch.order),
        bypassed=frozenset(names[module] for module in bypassed),
        inputs=inputs,
        batch_size=0 if first is None or first.ndim == 0 else first.shape[0],
    )


def _facts(
    module: nn.Module, watch: _Watch, aliases: list[str], bypassed: bool
) -> Facts:
    seen = watch.seen.get(module, _Seen())
    called_inside = seen.calls == 0 and any(m in watch.seen for m in module.modules())
    notes: list[str] = []
    if is_scripted(module):
        notes.append("scripted: hooks cannot reach it")
    elif bypassed:
        notes.append("bypassed: its parent uses its parameters without calling it")
    elif called_inside:
        notes.append("container: never called, stands for its children")
    elif seen.calls == 0:
        notes.append("never called")
    if len(aliases) > 1:
        notes.append("shared: also " + ", ".join(aliases[1:]))
    if seen.structured and seen.output_shape is not None:
        notes.append(
            f"structured output ({seen.tensors_out} tensors): operations act on the "
            "first floating one"
        )
    if seen.calls and seen.output_shape is None:
        notes.append("no tensor comes out")
    if seen.in_place:
        notes.append("changes its input in place")
    if seen.passes_through:
        notes.append("passes its input through")
    return Facts(
        type=type(module).__name__,
        calls=seen.calls,
        input_shape=seen.input_shape,
        output_shape=seen.output_shape,
        parameters=sum(p.numel() for p in module.parameters()),
        macs=seen.macs,
        identity=seen.identity,
        note="; ".join(notes),
    )
