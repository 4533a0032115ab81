"""A fixed sample of the modes program: small models, every type of module and mode."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest

from benchmarks.conformance.modes.check import check, check_uncalled
from benchmarks.conformance.modes.models import SAMPLE, make
from benchmarks.conformance.modes.subject import Subject
from benchmarks.conformance.modes.values import MODES
from surgery import Component


@cache
def subject_of(name: str) -> Subject:
    return Subject(make(name))


def first_and_last_of_each_type(parts: Sequence[Component]) -> list[Component]:
    by_type: dict[str, list[Component]] = {}
    for part in parts:
        assert part.facts is not None
        by_type.setdefault(part.facts.type, []).append(part)
    return [part for same in by_type.values() for part in {same[0], same[-1]}]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SAMPLE)
def test_a_mode_works_on_modules_of_every_type(name: str, mode: str) -> None:
    subject = subject_of(name)
    parts = first_and_last_of_each_type(subject.called())
    outcomes = [check(subject, part, mode) for part in parts]
    assert [o for o in outcomes if o.verdict == "failure"] == []
    verdicts = Counter(o.verdict for o in outcomes)
    assert verdicts["effect"] >= 10 if len(parts) > 16 else verdicts["effect"] >= 5
    assert any(o.reached for o in outcomes) or mode == "freeze"
    assert all(o.cause for o in outcomes if o.verdict != "effect")


@pytest.mark.parametrize("name", ["hf_gpt2", "hf_bert", "test_vit"])
def test_modules_that_are_never_called_are_refused_or_stand_for_children(
    name: str,
) -> None:
    subject = subject_of(name)
    outcomes = [check_uncalled(subject, part) for part in subject.uncalled()]
    assert len(outcomes) > 1
    assert [o for o in outcomes if o.verdict == "failure"] == []
    assert any(o.verdict == "refused" for o in outcomes)


def test_a_container_stands_for_its_children() -> None:
    subject = subject_of("hf_gpt2")
    (container,) = [c for c in subject.uncalled() if str(c) == "transformer.h"]
    outcome = check_uncalled(subject, container)
    assert (outcome.verdict, outcome.note) == ("effect", "stands for 2 modules")
