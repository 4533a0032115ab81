"""When what needs no preparation takes over from one variant after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from surgery.engine._makeshift import Makeshift
from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator, Evaluated


class Idle(AbstractEvaluator):
    """Evaluates nothing."""

    name: ClassVar[str] = "idle"

    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        return Evaluated({None: 0}, exact=True)


def by(evaluator: AbstractEvaluator) -> Evaluated:
    return evaluator.evaluate((), {}, (), lambda: None)


def after(*seconds: float, count: int, batches: int | None) -> Makeshift:
    makeshift = Makeshift(Idle, count, batches)
    for each in seconds:
        makeshift.ran_plainly(each)
    return makeshift


@pytest.mark.parametrize(
    ("seconds", "count", "batches", "number", "left", "pays"),
    [
        ((0.1, 0.1), 100, 1, 0, 98, False),  # two say too little
        ((9.0, 0.1, 0.1), 100, 1, 0, 97, True),  # the first one warmed up
        ((9.0, 0.01, 0.01), 100, 1, 0, 97, False),  # a second is not worth it
        ((9.0, 0.01, 0.01), 100, 2, 0, 97, True),
        ((9.0, 0.01, 0.01), 100, None, 0, 97, False),  # nobody knows of others
        ((9.0, 9.0, 9.0), 16, 1, 0, 13, False),  # few forwards: it takes some itself
        ((9.0, 9.0, 9.0), 16, 2, 0, 13, True),
        ((9.0, 9.0, 9.0), 16, 2, 1, 16, False),
    ],
)
def test_it_pays_where_enough_is_left(
    seconds: tuple[float, ...],
    count: int,
    batches: int | None,
    number: int,
    left: int,
    pays: bool,
) -> None:
    makeshift = after(*seconds, count=count, batches=batches)
    assert makeshift.pays(number, left) == pays


def test_once_it_is_made_it_goes_on() -> None:
    makeshift = after(1.0, 1.0, 1.0, count=100, batches=1)
    makeshift.evaluate(0, by)
    assert makeshift.pays(1, 1)
    assert makeshift.plan() == {"since": 0}


def test_after_an_error_there_is_no_further_try() -> None:
    makeshift = after(1.0, 1.0, 1.0, count=100, batches=1)

    def refuse(evaluator: AbstractEvaluator) -> Evaluated:
        raise BackendError("not this one")

    with pytest.raises(BackendError, match="not this one"):
        makeshift.evaluate(0, refuse)
    assert not makeshift.pays(0, 97)
    assert makeshift.since is None
    assert makeshift.plan() == {}
