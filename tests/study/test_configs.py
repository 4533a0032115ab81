"""Dotted paths of every kind of config: read, changed in a copy, compared."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from surgery.errors import StudyError
from surgery.study.arms import Factors
from surgery.study.arms import World as Known
from surgery.study.configs import difference, get, plain, with_values, without


@dataclass(frozen=True)
class Optim:
    lr: float = 0.1
    name: str = "sgd"
    momentum: float = 0.9


@dataclass(frozen=True)
class Config:
    optim: Optim = Optim()
    layers: tuple[int, ...] = (8, 16)
    log: str = field(default="here", metadata={"identity": False})


def omega() -> Any:
    config = {"optim": {"lr": 0.1, "name": "sgd", "momentum": 0.9}, "layers": [8, 16]}
    return importlib.import_module("omegaconf").OmegaConf.create(config)


CONFIGS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"optim": vars(Optim()), "layers": [8, 16]},
    "dataclass": Config,
    "namespace": lambda: Namespace(optim=Namespace(**vars(Optim())), layers=[8, 16]),
    "omegaconf": omega,
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_paths_are_read_and_changed_in_a_copy(kind: str) -> None:
    config = CONFIGS[kind]()
    changed = with_values(config, {"optim.lr": 0.5, "layers.1": 32})
    assert type(changed) is type(config)
    assert (get(changed, "optim.lr"), get(changed, "layers.1")) == (0.5, 32)
    assert (get(config, "optim.lr"), get(config, "layers.1")) == (0.1, 16)
    assert difference(config, changed) == {"optim.lr": (0.1, 0.5), "layers.1": (16, 32)}
    assert plain(config) != plain(changed)
    with pytest.raises(StudyError, match=r"did you mean 'optim\.lr'"):
        with_values(config, {"optim.lrr": 1})
    with pytest.raises(StudyError, match=r"'optim\.momentum'"):
        get(config, "momentum")


def test_fields_that_are_marked_or_ignored_do_not_determine_trials() -> None:
    assert without(Config(log="there"), ()) == without(Config(), ())
    assert without({"a": 1, "b": {"c": 2}}, ["b.*"]) == {"a": 1}


def factors(config: Any, make: Any) -> tuple[list[str], list[str], list[str]]:
    space = Factors()
    make(space)
    world = Known(config, lambda: None, lambda: None, False, None)  # type: ignore[arg-type, return-value]
    parts = [f"{p.name}: {p.described()}" for p in space.resolved(world)]
    return parts, world.notes, world.wrong


def test_factors_have_several_values_conditions_and_groups() -> None:
    def make(space: Factors) -> None:
        space.include("optim.lr", values=[0.01, 1.0])
        space.include("optim.momentum", off=0.0, when={"optim.name": "sgd"})
        space.include("optim.lr", off=0.0, when={"optim.name": "adam"})
        space.include_group("small", {"layers.0": 1, "layers.1": 1})

    parts, notes, wrong = factors(Config(), make)
    assert parts == [
        "optim.lr=0.01: optim.lr = 0.01",
        "optim.lr=1.0: optim.lr = 1.0",
        "optim.momentum: optim.momentum = 0.0",
        "small: layers.0 = 1, layers.1 = 1",
    ]
    assert notes == [
        "factor 'optim.lr' has no arm: the config does not have optim.name = adam"
    ]
    assert wrong == []


def test_another_config_gives_a_factor_for_each_difference() -> None:
    other = Config(optim=Optim(lr=1.0, momentum=0.0))
    parts, _, _ = factors(Config(), lambda space: space.include_difference(other))
    assert parts == ["optim.lr: optim.lr = 1.0", "optim.momentum: optim.momentum = 0.0"]
