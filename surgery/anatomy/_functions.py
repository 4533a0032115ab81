"""Functions: the name under which a torch function is addressed, and its operands.

All spellings of one function (`torch.add`, `Tensor.add_`, `+`, `+=`) have one name, so
that a target holds however the code is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor

Operands = tuple[object, ...]

JOINS: Final = frozenset({"add", "mul"})
"""Functions that count, and have operands, only where both operands are tensors."""
LISTS: Final = frozenset({"cat", "stack"})
"""Functions whose operands are the members of their first argument."""

_SAME: Final = {
    "concat": "cat",
    "concatenate": "cat",
    "multiply": "mul",
    "subtract": "sub",
    "rsub": "sub",
    "divide": "div",
    "truediv": "div",
    "true_divide": "div",
    "floordiv": "floor_divide",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "invert": "bitwise_not",
    "mod": "remainder",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim",
}
_REFLECTED: Final = frozenset(
    "add sub mul div truediv floordiv pow matmul and or xor mod".split()
)
_NO_VALUE: Final = frozenset(
    """
    size dim stride numel nelement ndimension element_size storage_offset get_device
    data_ptr storage untyped_storage item tolist numpy is_floating_point is_complex
    is_contiguous is_signed is_same_size is_inference is_pinned is_conj is_neg
    is_nonzero has_names requires_grad register_hook retain_grad backward allclose
    equal share_memory pin_memory result_type can_cast dlpack dlpack_device array
    len bool int float_ long_ index contains format repr str hash iter reduce_ex
    reduce deepcopy setstate dir complex
    """.split()
)


def function_name(func: Callable[..., Any]) -> str | None:
    """The canonical name of a torch function; `None` if it has none.

    Without a name are what only reads a shape or another property of a tensor, and
    what gives a Python value.
    """
    name = getattr(func, "__name__", None)
    if not isinstance(name, str):
        return None
    # The tracer of torch.compile warns of caches.
    return _canonical(name) if torch.compiler.is_compiling() else _looked_up(name)


def is_in_place(func: Callable[..., Any]) -> bool:
    """Whether it changes its first operand: `add_`, `+=`, `x[...] = `."""
    name = getattr(func, "__name__", "")
    return isinstance(name, str) and _changes(name)


def operands(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> Operands:
    """What a call joins, in order of position.

    Of `cat` and `stack` the members of the list; of `einsum` what follows the equation;
    of any other function its positional arguments, then those keywords that name a
    place after them.
    """
    if name in LISTS:
        listed = args[0] if args else (kwargs or {}).get("tensors", ())
        return tuple(listed) if isinstance(listed, (list, tuple)) else (listed,)
    if name == "einsum":
        rest = args[1:]
        nested = len(rest) == 1 and isinstance(rest[0], (list, tuple))
        return tuple(rest[0]) if nested else rest
    if not kwargs:
        return args
    found = list(args)
    while (key := _keyword(name, len(found), kwargs)) is not None:
        found.append(kwargs[key])
    return tuple(found)


def with_operand(
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    position: int,
    value: object,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call's `(args, kwargs)` with another value for one operand."""
    given = dict(kwargs or {})
    if name in LISTS:
        if args:
            return (_put(args[0], position, value), *args[1:]), given
        return args, given | {"tensors": _put(given["tensors"], position, value)}
    if name == "einsum":
        rest = args[1:]
        if len(rest) == 1 and isinstance(rest[0], (list, tuple)):
            return (args[0], _put(rest[0], position, value)), given
        return (args[0], *_put(rest, position, value)), given
    if position < len(args):
        return _put(args, position, value), given
    key = _keyword(name, position, given)
    if key is None:
        raise IndexError(f"{name} has no operand {position}")
    return args, given | {key: value}


def is_join(given: Operands) -> bool:
    """Whether these operands of an `add` or `mul` make it a join of two tensors."""
    return (
        len(given) >= 2
        and isinstance(given[0], Tensor)
        and isinstance(given[1], Tensor)
    )


def gives_tensor(output: object) -> bool:
    """Whether a call that gave this counts: a tensor, or one among what it gave.

    `topk`, `split` and `max` along an axis give tuples.
    """
    if isinstance(output, (list, tuple)):
        for item in output:  # no generator: the tracer of torch.compile reads this
            if gives_tensor(item):
                return True
        return False
    return isinstance(output, Tensor)


_KEYWORDS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "linear": (("input",), ("weight",), ("bias",)),
    "addmm": (("input",), ("mat1",), ("mat2",)),
    "addbmm": (("input",), ("batch1",), ("batch2",)),
    "baddbmm": (("input",), ("batch1",), ("batch2",)),
    "mm": (("input",), ("mat2",)),
    "bmm": (("input",), ("mat2",)),
    "scaled_dot_product_attention": (("query",), ("key",), ("value",)),
    "multi_head_attention_forward": (("query",), ("key",), ("value",)),
}
_BY_PLACE: Final = (("input", "self"), ("other", "weight"), ("bias",))


def _keyword(name: str, position: int, kwargs: Mapping[str, Any]) -> str | None:
    places = _KEYWORDS.get(name, _BY_PLACE)
    if position >= len(places):
        return None
    return next((key for key in places[position] if key in kwargs), None)


def _put(given: Any, position: int, value: object) -> Any:
    changed = [*given[:position], value, *given[position + 1 :]]
    return tuple(changed) if isinstance(given, tuple) else changed


def _changes(name: str) -> bool:
    if name.startswith("__"):
        bare = name.strip("_")
        return bare == "setitem" or (bare[:1] == "i" and bare[1:] in _REFLECTED)
    # torch.export calls `operator.iadd`, which has the bare name.
    return name.endswith("_") or (name[:1] == "i" and name[1:] in _REFLECTED)


def _canonical(name: str) -> str | None:
    if name in ("__get__", "__set__", "__delete__"):
        return None
    bare = name.strip("_") if name.startswith("__") else name.rstrip("_")
    marks = ("r", "i") if name.startswith("__") else ("i",)
    if bare[:1] in marks and bare[1:] in _REFLECTED:
        bare = bare[1:]
    bare = _SAME.get(bare, bare)
    return None if not bare or bare in _NO_VALUE else bare


_looked_up = lru_cache(maxsize=None)(_canonical)
