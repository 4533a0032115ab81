"""Outputs of all variants on a batch, computed as they are asked for, pass by pass."""

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
            that cannot be computed it takes out of those expected.
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
        self._past: set[int | None] = set()

    def __getitem__(self, variant: int | None) -> Any:
        if variant is None:
            return self._baseline
        while variant not in self._held:
            gone = variant in self._past or variant not in self._expected
            held = None if gone else self._proceed()
            if held is None:  # it has been let go of, or was left out
                raise KeyError(variant)
            self._past.update(self._held)
            self._held = held
        return self._held[variant]

    def __iter__(self) -> Iterator[int | None]:
        yield None
        yield from self._expected

    def __len__(self) -> int:
        return 1 + len(self._expected)
