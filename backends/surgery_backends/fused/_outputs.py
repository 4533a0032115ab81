"""Outputs of all variants on a batch, computed pass by pass as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

Pass = tuple[tuple[int, ...], Mapping[int | None, Any]]


@final
class Outputs(Mapping[int | None, Any]):
    """Outputs by variant, and the baseline's under `None`.

    Only those of one pass are held at a time, beside the baseline's: ask for them in
    the order of iteration.

    Args:
        expected: The variants, in the order in which they come.
        proceed: Runs the next pass: its outputs, or `None` after the last. A variant
            that could not be computed is not among them.
    """

    def __init__(
        self,
        expected: list[int],
        proceed: Callable[[], Mapping[int | None, Any] | None],
    ) -> None:
        self._expected = expected
        self._proceed = proceed
        self._held: Mapping[int | None, Any] = proceed() or {}
        self._baseline = self._held[None]

    def __getitem__(self, variant: int | None) -> Any:
        if variant is None:
            return self._baseline
        if variant not in self._expected:
            raise KeyError(variant)
        while variant not in self._held:
            held = self._proceed()
            if held is None:  # it was left out, or has been let go of
                raise KeyError(variant)
            self._held = held
        return self._held[variant]

    def __iter__(self) -> Iterator[int | None]:
        yield None
        yield from self._expected

    def __len__(self) -> int:
        return 1 + len(self._expected)
