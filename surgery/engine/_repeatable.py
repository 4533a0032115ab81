"""Repeatable: whether what a user's function computes can be recorded and repeated.

A recording repeats calls on tensors, not Python. So a function is taken that looks at
no value and makes the same calls when it is called again: what counts its own calls,
draws, or keeps sums of what it saw is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from surgery.anatomy import tensors
from surgery.errors import BackendError

# On the CPU no call is to be seen of these.
_LOOK: frozenset[Any] = frozenset(
    (
        *(Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__array__),
        *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__),
        *(Tensor.data_ptr, Tensor.untyped_storage),
    )
)
_UNKNOWN = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def require_repeatable(name: str, function: Callable[..., Any], *given: Any) -> None:
    """Refuse a function of which a recording would not hold for other values.

    Args:
        name: What to call it.
        function: The function.
        given: What it is called with.

    Raises:
        BackendError: It is one; says why.
    """
    seen = [_seen(name, function, given) for _ in range(2)]
    if seen[0] != seen[1]:
        raise BackendError(f"{name} computes something else from call to call")


def _seen(name: str, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    calls = _Calls(name, tensors(list(given)))
    with torch.no_grad(), calls, _Looks(name):
        result = function(*given)
    return calls.made, calls.told(result)


@final
class _Looks(TorchFunctionMode):
    """Refuses what brings values to the host."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in _LOOK:
            raise BackendError(f"{self._name} looks at values ({func.__name__})")
        return func(*args, **(kwargs or {}))


@final
class _Calls(TorchDispatchMode):
    """Writes down calls, with tensors by where they come from."""

    def __init__(self, name: str, given: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[Any] = []
        self._name = name
        self._places: dict[int, Any] = {
            id(x): ("given", i) for i, x in enumerate(given)
        }
        self._kept: list[Tensor] = list(given)  # an id is one only of what lives

    def told(self, value: Any) -> Any:
        """A value, with what tells its tensors apart from others."""
        return repr(tree_map(self._told, value))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self._require(func, args, taken)
        told = self.told((args, kwargs))
        out = func(*args, **kwargs)
        for place, x in enumerate(tree_leaves(out)):
            if isinstance(x, Tensor):
                if any(x.device != y.device for y in taken):
                    raise BackendError(f"{self._name} moves tensors between devices")
                self._places.setdefault(id(x), ("made", len(self.made), place))
                self._kept.append(x)
        self.made.append((str(func), told))
        return out

    def _require(self, func: Any, args: Any, taken: list[Tensor]) -> None:
        index = str(func).startswith("aten.index")
        masks = any(x.dtype in (torch.bool, torch.uint8) for x in taken[1:])
        if any(tag in func.tags for tag in _UNKNOWN) and not (index and not masks):
            raise BackendError(f"{self._name} looks at values ({func})")
        if index and masks and "put" in str(func):
            raise BackendError(f"{self._name} looks at values ({func})")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise BackendError(f"{self._name} draws random numbers ({func})")
        ours = id(taken[0]) in self._places if taken else True
        if func._schema.is_mutable and not (ours and self._is_made(taken[0])):
            raise BackendError(f"{self._name} changes tensors that outlive it ({func})")

    def _is_made(self, tensor: Tensor) -> bool:
        found = self._places.get(id(tensor))
        return found is not None and found[0] == "made"

    def _told(self, item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        shape = tuple(item.shape), str(item.dtype)
        return self._places.get(id(item), ("held", id(item))), shape
