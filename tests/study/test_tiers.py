"""Tiers: cheap ones first, what goes on, and how they agree."""

from __future__ import annotations

from typing import Any

import pytest

import surgery
from surgery.errors import StudyError
from surgery.study import compare_tiers
from tests.study.conftest import Make

EFFECTS = {"fc1": -0.3, "fc2": -0.01, "fc3": -0.5}


def score(component: str | None, tier: str, seed: int) -> float:
    """Clear effects of fc1 and fc3; that of fc2 changes its sign by seed."""
    effect = EFFECTS.get(component or "", 0.0)
    if component == "fc2":
        effect *= (-1) ** seed
    return 1.0 + (0.9 * effect if tier else effect) + 0.001 * seed * (not component)


def tiered(make: Make, promote: Any, **options: Any) -> tuple[surgery.Study, list[Any]]:
    ran: list[tuple[str, str]] = []

    def train(component: str | None, tier: str, seed: int) -> float:
        if (tier, component or "base") not in ran:
            ran.append((tier, component or "base"))
        return score(component, tier, seed)

    study = make(train=train, seeds=4, version="1", **options)
    study.layers.include("fc1", "fc2", "fc3", remove="zero")
    study.tier("small", train=train, promote=promote)
    return study, ran


@pytest.mark.parametrize(
    ("promote", "promoted"),
    [
        ("all", {"base", "fc1", "fc2", "fc3"}),
        ("decided", {"base", "fc1", "fc3"}),
        (1, {"base", "fc3"}),
        (2, {"base", "fc1", "fc3"}),
    ],
)
def test_a_tier_runs_first_and_what_it_promotes_goes_on(
    make: Make, promote: Any, promoted: set[str]
) -> None:
    study, ran = tiered(make, promote)
    results = study.run(progress=False)
    tiers = [tier for tier, _ in ran]
    assert tiers == sorted(tiers, reverse=True)  # all of "small" before any of ""
    assert {arm for tier, arm in ran if tier} == {"base", "fc1", "fc2", "fc3"}
    assert {arm for tier, arm in ran if not tier} == promoted
    assert {one.arm.name for one in results.arms if not one.tier} == promoted
    assert study.plan().known
    ran.clear()
    study.run(progress=False)
    assert ran == []


def test_a_tier_that_is_not_done_keeps_the_next_one_waiting(make: Make) -> None:
    study, ran = tiered(make, 1)
    stopped = [True]

    def train(component: str | None, tier: str, seed: int) -> float:
        if component == "fc3" and stopped:
            raise KeyboardInterrupt
        ran.append((tier, component))
        return score(component, tier, seed)

    study = make(train=train, seeds=4, version="1")
    study.layers.include("fc1", "fc2", "fc3", remove="zero")
    study.tier("small", train=train, promote=1)
    with pytest.raises(KeyboardInterrupt):
        study.run(progress=False)
    assert {tier for tier, _ in ran} == {"small"}
    assert not study.plan().known
    stopped.clear()
    study.run(progress=False)
    assert {arm for tier, arm in ran if not tier} == {None, "fc3"}


def test_a_tier_has_its_own_functions_and_its_parts_are_looked_up_there(
    make: Make,
) -> None:
    seen: dict[str, Any] = {}

    def train(data: Any, tier: str) -> float:
        seen[tier] = len(data["train"][0])
        return 0.5

    def few() -> Any:
        from tests.study import small

        x, y = small.make_data()["train"]
        return {"train": (x[:30], y[:30]), "test": (x[30:60], y[30:60])}

    study = make(train=train, seeds=1)
    study.features.include("feature#0")
    study.tier("few", data=few)
    study.run(progress=False)
    assert seen == {"few": 30, "": 180}
    study.features.include("feature#9")
    with pytest.raises(StudyError, match=r"in tier 'few': .*feature#9"):
        study.plan()


def test_tiers_are_shown_side_by_side_with_their_rank_agreement(make: Make) -> None:
    study, _ = tiered(make, "all")
    results = study.run(progress=False)
    found = compare_tiers(results)
    frame = found.to_pandas().set_index("arm")
    assert frame["small"]["fc3"] == pytest.approx(-0.45, abs=0.01)
    assert frame["study"]["fc3"] == pytest.approx(-0.5, abs=0.01)
    (agreement,) = found.agreements
    assert (agreement.tier, agreement.other, agreement.n) == ("small", "study", 3)
    assert agreement.rank == pytest.approx(1.0)
    assert "small" in str(found) and "rank agreement" in str(found)
    notes: Any = results.provenance["notes"]
    assert any("rank agreement" in note for note in notes)


def test_a_smoke_test_tries_every_arm_on_every_tier(make: Make) -> None:
    study, _ = tiered(make, 1)
    tried = study.smoke_test(progress=False)
    assert len(tried) == 8


def test_what_makes_no_sense_of_a_tier_is_told(make: Make) -> None:
    study = make()
    with pytest.raises(StudyError, match="is the study itself"):
        study.tier("small")
    with pytest.raises(StudyError, match="'all', 'decided' or a number"):
        study.tier("small", data=1, promote=0)
    study.tier("small", data=1)
    with pytest.raises(StudyError, match="a name of its own"):
        study.tier("small", data=1)
