"""An example input as users write it, as the call of a model that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from surgery.errors import DataError


def example_call(
    inputs: object, kwargs: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Positional and keyword inputs of the example, if there is one.

    Args:
        inputs: A tensor, a tuple of positional inputs, or a mapping.
        kwargs: Keyword inputs beside them.

    Raises:
        DataError: `inputs` is something else.
    """
    if inputs is None and kwargs is None:
        return None
    given = dict(kwargs or {})
    if isinstance(inputs, Mapping):
        return (), {**cast("Mapping[str, Any]", inputs), **given}
    if isinstance(inputs, Tensor):
        return (inputs,), given
    if inputs is not None and not isinstance(inputs, Sequence):
        raise DataError(
            "inputs= takes a tensor, a tuple of positional inputs or a mapping of "
            f"keyword inputs, got {type(inputs).__name__}"
        )
    return tuple(cast("Sequence[object]", inputs or ())), given
