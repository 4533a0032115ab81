"""Finding a backend: built-in ones, plug-ins, and what is wrong with broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import ClassVar

import pytest
from torch import nn

from surgery import backend as seam
from surgery.anatomy import Component
from surgery.backend import (
    BUILT_IN,
    EVALUATORS,
    AbstractBackend,
    Action,
    available_backends,
    get_backend,
)
from surgery.errors import BackendError

MODULE = Component("a", "module", "a")


class Mine(AbstractBackend):
    name: ClassVar[str] = "mine"

    def covers(self, component: Component) -> bool:
        return component.kind == "input"

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        return lambda: None


def failing() -> AbstractBackend:
    raise ValueError("no licence")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes entry points `name=place`, all in a module called `plugged`."""
    module = ModuleType("plugged")
    vars(module).update(Mine=Mine, failing=failing, Other=object)
    monkeypatch.setitem(sys.modules, "plugged", module)

    def do(*points: tuple[str, str]) -> None:
        found = EntryPoints(EntryPoint(n, place, seam.GROUP) for n, place in points)
        monkeypatch.setattr(seam, "entry_points", lambda group: found)

    return do


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_backend_loads_and_has_its_name(name: str) -> None:
    assert get_backend(name).name == name


def test_auto_is_the_first_that_covers_the_component() -> None:
    assert get_backend("auto", MODULE).name == "hooks"
    assert get_backend().name == "hooks"
    assert get_backend("auto", Component("a:head#0", "head", "a")).name == "scoped"
    with pytest.raises(BackendError, match=r"no backend acts on a\.b \(parameter\)"):
        get_backend("auto", Component("a.b", "parameter", "a", part="b"))


def test_a_backend_that_does_not_cover_the_component_is_refused() -> None:
    with pytest.raises(BackendError, match=r"'hooks' does not act on a\.b \(param"):
        get_backend("hooks", Component("a.b", "parameter", "a", part="b"))


def test_a_plug_in_is_found_by_name(register: Callable[..., None]) -> None:
    register(("mine", "plugged:Mine"))
    assert isinstance(get_backend("mine"), Mine)
    assert available_backends() == ("auto", *EVALUATORS, *BUILT_IN, "mine")
    with pytest.raises(BackendError, match="use Engine"):
        get_backend("mine", MODULE)


def test_an_unknown_name_lists_those_there_are(
    register: Callable[..., None],
) -> None:
    register(("mine", "plugged:Mine"))
    names = ", ".join(["auto", *EVALUATORS, *BUILT_IN, "mine"])
    with pytest.raises(BackendError, match=f"'yours'; there are {names}"):
        get_backend("yours")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("plugged:Missing", "cannot be loaded: AttributeError"),
        ("not_installed_anywhere:X", "cannot be loaded: ModuleNotFoundError"),
        ("plugged:failing", "cannot be loaded: ValueError: no licence"),
        ("plugged", "cannot be loaded"),
        ("plugged:Other", "is no AbstractBackend but object"),
    ],
)
def test_a_broken_plug_in_is_named_with_its_place(
    register: Callable[..., None], place: str, message: str
) -> None:
    register(("broken", place))
    with pytest.raises(BackendError, match=rf"backend 'broken' \({place}\) {message}"):
        get_backend("broken")


def test_of_two_plug_ins_of_one_name_the_first_is_used_with_a_warning(
    register: Callable[..., None],
) -> None:
    register(("mine", "plugged:Mine"), ("mine", "plugged:Other"))
    with pytest.warns(UserWarning, match="several packages register the backend 'mine"):
        assert isinstance(get_backend("mine"), Mine)


def test_a_plug_in_cannot_take_the_name_of_a_built_in(
    register: Callable[..., None],
) -> None:
    register(("hooks", "plugged:Mine"))
    assert not isinstance(get_backend("hooks"), Mine)
