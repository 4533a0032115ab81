"""What is included, excluded and listed: features, layers, factors, models."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import surgery
from surgery.errors import StudyError
from tests.study import small
from tests.study.conftest import Make

COLUMNS = ["class_first", "class_second", "sex", "age", "survived"]


def passengers() -> pd.DataFrame:
    return pd.DataFrame({name: [0.0, 1.0, 1.0, 0.0] for name in COLUMNS})


class Blocks(nn.Module):
    """Layers whose names have prefixes and segments."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)
        )
        self.fc_a, self.fc_b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.head(self.fc_b(self.fc_a(x)))
        return out


def planned(study: surgery.Study) -> dict[str, str]:
    """What each arm but the base does, by its name."""
    return {arm.arm: arm.what for arm in study.plan() if arm.arm != "base"}


def of_frames(make: Make, **options: Any) -> surgery.Study:
    return make(data=passengers, train=lambda: 0.5, seeds=1, **options)


def of_blocks(make: Make) -> surgery.Study:
    return make(model=Blocks, train=lambda: 0.5, seeds=1)


def test_features_are_named_one_by_one_by_pattern_and_in_groups(make: Make) -> None:
    study = of_frames(make)
    study.features.include("sex", ["age"], "class_?????")
    study.features.include_groups(["sex", "age"], prefix="class_")
    study.features.include_group("both", ["sex", "age"], remove="mean")
    single = ("sex", "age", "class_?????")
    assert study.features.list_all() == (*single, "sex + age", "class_*", "both")
    assert planned(study) == {
        "sex": "drop sex",
        "age": "drop age",
        "class_first": "drop class_first",
        "sex + age": "drop sex + age",
        "class_*": "drop class_first + class_second",
        "both": "mean sex + age",
    }


def test_features_are_excluded_by_name_groups_and_matches_too(make: Make) -> None:
    study = of_frames(make)
    study.features.include("sex", "age", "class_*")
    study.features.include_groups(["sex", "age"])
    study.features.exclude("age", ["sex + age"])
    study.features.exclude("class_first")
    assert study.features.list_all() == ("sex", "class_*")
    assert list(planned(study)) == ["sex", "class_second"]
    with pytest.raises(StudyError, match="'sez' is not included; did you mean 'sex'"):
        study.features.exclude("sez")


def test_features_that_the_data_lacks_are_told_with_the_nearest(make: Make) -> None:
    study = of_frames(make)
    study.features.include("sez")
    study.features.include_groups(["age", "agee"], prefix="clas-")
    with pytest.raises(StudyError) as told:
        study.plan()
    for words in ("'sez'; did you mean 'sex'", "'agee' (of the group", "'clas-*'"):
        assert words in str(told.value)


def test_what_makes_no_sense_is_told_at_once(make: Make) -> None:
    study: Any = make()
    wrong: list[tuple[Any, str]] = [
        (lambda: study.features.include(3.5), "names as text"),
        (lambda: study.features.include(), "at least one name"),
        (lambda: study.features.include("a", remove="excise"), "is none of 'drop'"),
        (lambda: study.features.include_groups("sex"), "takes lists of names"),
        (lambda: study.layers.include("a", remove="drop"), "is none of 'excise'"),
        (lambda: study.layers.include_groups("fc2"), "takes lists of targets"),
        (lambda: study.layers.include_groups(), "a prefix= or a pattern="),
        (lambda: study.layers.include_groups(["a"], ["b"], name="c"), "names one"),
        (lambda: study.layers.include("a", expect="bad"), "as a number"),
        (lambda: study.factors.include("lr", off=1, values=[2]), "not both"),
        (lambda: study.factors.include_group("g", {}), "the other value of each"),
        (lambda: study.models.include("m", nn.Linear(1, 1)), "a function that makes"),
    ]
    for include, words in wrong:
        with pytest.raises(StudyError, match=words):
            include()
    study.layers.include("fc2")
    study.layers.include("fc2")  # the same twice is no mistake
    with pytest.raises(StudyError, match="already, as something else"):
        study.layers.include("fc2", remove="freeze")
    study.layers.include_group("fc2 frozen", ["fc2"], remove="freeze")
    assert study.layers.list_all() == ("fc2", "fc2 frozen")


def test_layers_are_grouped_by_list_prefix_pattern_and_range(make: Make) -> None:
    study = of_blocks(make)
    study.layers.include("blocks.*", "blocks.0..blocks.1")
    study.layers.include_groups(["fc_a", "head"], prefix="FC_")
    study.layers.include_groups(pattern="blocks.*", name="all blocks")
    study.layers.include_groups("blocks.1..blocks.2")
    what = planned(study)
    assert what["blocks.0"] == "excise blocks.0" and "blocks.2" in what
    assert what["blocks.0..blocks.1"] == "excise blocks.0..blocks.1"
    assert what["fc_a + head"] == "excise fc_a + head"
    assert what["FC_*"] == "excise fc_a + fc_b"  # no matter how it is written
    assert "blocks.1..blocks.2" in what
    assert what["all blocks"] == "excise blocks.0 + blocks.1 + blocks.2"
    study.layers.exclude("fc_a + head")
    study.layers.exclude("blocks.2")
    assert not {"fc_a + head", "blocks.2"} & set(planned(study))


def test_a_prefix_that_nothing_has_is_told_with_what_there_is(make: Make) -> None:
    study = of_blocks(make)
    study.layers.include_groups(prefix="layer")
    with pytest.raises(StudyError, match=r"starts with 'layer'; there are stem, block"):
        study.plan()


def test_factors_and_models_are_listed_and_taken_back(make: Make) -> None:
    study = make(train=lambda: 0.5, seeds=1)
    study.factors.include("loss.smoothing", off=0.0)
    study.factors.include_groups(weak={"lr": 0.1, "epochs": 1}, slow={"lr": 0.001})
    study.models.include_groups(wide=small.make_wide, wider=small.make_wide)
    assert study.factors.list_all() == ("loss.smoothing", "weak", "slow")
    assert study.models.list_all() == ("wide", "wider")
    study.factors.exclude("weak")
    study.models.exclude("wider")
    assert list(planned(study)) == ["loss.smoothing", "slow", "wide"]
    assert "'slow' has one element" in "\n".join(study.plan().notes)


def test_parts_of_one_name_say_their_kind(make: Make) -> None:
    data = passengers().rename(columns={"age": "fc2"})
    study = make(data=lambda: data, train=lambda: 0.5, seeds=1)
    study.features.include("fc2")
    study.layers.include("fc2", remove="zero")
    assert list(planned(study)) == ["feature fc2", "layer fc2"]


def test_a_data_factory_that_asks_is_told_what_to_leave_out(make: Make) -> None:
    told: dict[str | None, tuple[Any, ...]] = {}

    def data(features: tuple[str, ...], component: str | None) -> pd.DataFrame:
        told[component] = features
        return passengers().drop(columns=list(features))

    seen: dict[str | None, list[str]] = {}

    def train(data: pd.DataFrame, component: str | None) -> float:
        seen[component] = [str(name) for name in data]
        return 0.5

    study = make(data=data, train=train, seeds=1)
    study.features.include("sex")
    study.features.include_groups(["sex", "age"], name="both")
    study.features.include_group("mean age", ["age"], remove="mean")
    study.run(progress=False)
    assert told[None] == told["mean age"] == ()
    assert (told["sex"], told["both"]) == (("sex",), ("sex", "age"))
    assert seen[None] == seen["mean age"] == COLUMNS
    assert seen["both"] == ["class_first", "class_second", "survived"]


def test_a_data_factory_that_leaves_in_what_it_is_told_fails_its_trials(
    make: Make,
) -> None:
    def data(features: tuple[str, ...]) -> pd.DataFrame:
        return passengers()

    study = make(data=data, train=lambda: 0.5, seeds=1)
    study.features.include("sex")
    trials = study.run(progress=False).trials().set_index("arm")
    assert trials.state.to_dict() == {"base": "COMPLETE", "sex": "FAILED"}
    assert "still has 'sex'" in trials.message["sex"]


def test_a_range_is_built_without_what_is_between(make: Make) -> None:
    seen: dict[str | None, set[str]] = {}

    def train(model: nn.Module, component: str | None) -> float:
        seen[component] = {name for name, _ in model.named_parameters()}
        model(torch.ones(2, 6))
        return 0.5

    study = make(model=Blocks, train=train, seeds=1, inputs=torch.ones(2, 6))
    study.layers.include("blocks.0..blocks.2", "fc_a..head")
    states = study.run(progress=False).trials().set_index("arm").state
    assert set(states) == {"COMPLETE"}
    gone = seen[None] - seen["blocks.0..blocks.2"]
    assert gone == {f"blocks.{n}.0.{w}" for n in range(3) for w in ("weight", "bias")}
    assert not {n for n in seen["fc_a..head"] if n.startswith(("fc_", "head"))}
