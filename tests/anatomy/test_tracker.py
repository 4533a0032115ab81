"""Tracker: tells what a call is before it runs, from one module's own forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from surgery.anatomy import Sighting, Tracker, record
from surgery.anatomy._following import Step


class Sightings(TorchFunctionMode):
    """Everything the tracker says while one module runs alone."""

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        self.tracker = Tracker()
        self.seen: list[Sighting] = []
        for path, module in owner.named_modules():
            module.register_forward_pre_hook(self.enter(path), with_kwargs=True)
            module.register_forward_hook(self.leave, always_call=True)

    def enter(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.tracker.enter(module, path, args, kwargs)

        return hook

    def leave(self, module: nn.Module, args: Any, output: object) -> None:
        self.tracker.leave(output)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        seen = self.tracker.before(func, args, kwargs)
        output = func(*args, **(kwargs or {}))
        self.tracker.after(func, args, kwargs, output)
        if seen is not None:
            self.seen.append(seen)
        return output


def sightings(owner: nn.Module, *inputs: Tensor) -> list[Sighting]:
    watched = Sightings(owner)
    with watched:
        owner(*inputs)
    return watched.seen


@pytest.mark.parametrize(
    ("name", "size", "owner"),
    [
        ("resnet18", 64, "layer1.0"),
        ("resnet18", 64, "layer2.0"),
        ("test_vit", 160, "blocks.1"),
        ("swin_tiny_patch4_window7_224", 224, "layers.1.blocks.1"),
        ("convnext_atto", 64, "stages.1.blocks.0"),
    ],
)
def test_a_block_alone_is_seen_as_in_the_whole_model(
    name: str, size: int, owner: str
) -> None:
    model = timm.create_model(name).eval()
    inputs: list[Tensor] = []
    block = model.get_submodule(owner)
    handle = block.register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
    parts = record(model, (torch.randn(1, 3, size, size),)).parts
    handle.remove()
    expected = {
        (part.kind, part.index, part.place.sites[0].index, part.place.sites[0].operand)
        for part in parts
        if part.path == owner and part.kind in ("skip", "branch", "gate") and part.place
    }
    got: set[tuple[str, int, int, int]] = set()
    with torch.no_grad():
        seen = sightings(block, inputs[0])
    for s in (s for s in seen if s.path == ""):
        if s.residual is not None:
            got.add(("skip", s.residual.ordinal, s.index, s.residual.skip))
            got.add(("branch", s.residual.ordinal, s.index, s.residual.branch))
        if s.gate is not None:
            got.add(("gate", s.gate.ordinal, s.index, s.gate.operand))
    assert expected and got == expected


class Output(nn.Module):
    """As in BERT: the skip comes in as a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        return self.dense(hidden) + before  # type: ignore[no-any-return]


def test_a_second_input_is_undecided_alone_and_a_skip_in_the_whole_model() -> None:
    (add,) = [
        s
        for s in sightings(Output(), torch.ones(2, 4), torch.ones(2, 4))
        if s.function == "add"
    ]
    assert add.undecided and add.residual is None and add.live == (True, True)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.output = nn.Linear(4, 4), Output()

        def forward(self, x: Tensor) -> Tensor:
            return self.output(self.a(x), x)  # type: ignore[no-any-return]

    names = {part.name for part in record(Layer(), (torch.ones(2, 4),)).parts}
    assert {"output:skip", "output:branch"} <= names


class Adds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        y = y + torch.ones_like(x)
        y += x
        return y.relu() + y.relu_()


def test_calls_are_counted_anew_at_every_call_and_numbers_do_not_count() -> None:
    model = nn.Sequential(Adds(), Adds())
    model[1] = model[0]
    seen = [s for s in sightings(model, torch.ones(2)) if s.function != "ones_like"]
    one = [("add", 0), ("add", 1), ("relu", 0), ("relu", 1), ("add", 2)]
    assert [(s.function, s.index) for s in seen] == 2 * one
    assert [s.call for s in seen] == 5 * [0] + 5 * [1]
    assert {s.path for s in seen} == {"0"}


def test_nothing_is_told_outside_of_a_module() -> None:
    tracker = Tracker()
    x = torch.ones(2)
    assert tracker.before(torch.add, (x, x)) is None
    tracker.after(torch.add, (x, x), {}, x + x)
    tracker.leave(None)
    assert tracker.frame is None


def test_a_new_outermost_call_begins_anew() -> None:
    model = Adds()
    with Sightings(model) as watched:
        kept = model(torch.ones(2))
        assert not watched.tracker.is_live(torch.ones(2))
        model(torch.ones(2))
    assert not watched.tracker.is_live(kept)
    assert [s.call for s in watched.seen] == [0] * len(watched.seen)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.a(x).relu()  # type: ignore[no-any-return]


@pytest.mark.parametrize("when", ["__init__", "follow"])
def test_what_cannot_be_followed_runs_all_the_same_and_is_undecided(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = Residual(), torch.ones(2, 4)
    expected = model(x)
    original = getattr(Step, when)

    def fails(step: Step, *args: Any) -> None:
        if "relu" in (*args, getattr(step, "name", None)):
            raise RuntimeError("no such shape")
        original(step, *args)

    monkeypatch.setattr(Step, when, fails)
    outputs: list[Any] = []
    model.register_forward_hook(lambda m, args, output: outputs.append(output))
    seen = {s.function: s for s in sightings(model, x)}
    assert torch.equal(outputs[0], expected)
    assert seen["add"].undecided and seen["add"].residual is None
    monkeypatch.undo()
    assert all(not s.undecided for s in sightings(model, x))


class Written(nn.Module):
    """Writes its branch into a view of an empty tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_zeros(x.shape)
        y[:, :2].copy_(self.a(x)[:, :2])
        x = x + y
        return x + self.b(x)  # type: ignore[no-any-return]


def test_writing_into_views_is_followed_in_inference_mode_too() -> None:
    model, x = Written(), torch.ones(2, 4)
    with torch.no_grad():
        expected = [s.residual for s in sightings(model, x) if s.function == "add"]
    assert [r and r.ordinal for r in expected] == [0, 1]
    names = [part.name for part in record(model, (x,)).parts]
    with torch.inference_mode():
        got = [s.residual for s in sightings(model, x) if s.function == "add"]
        assert [part.name for part in record(Written(), (x.clone(),)).parts] == names
    assert got == expected


def test_halves_of_a_tensor_stay_apart_in_inference_mode() -> None:
    """As in a reversible block; what is written into one half is not in the other."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = x * 2
            a, b = x.chunk(2, -1)
            a += self.a(a)
            return a + b

    def told() -> list[tuple[bool, Any]]:
        seen = sightings(Halves(), torch.ones(2, 4))
        return [(s.residual is None, s.live) for s in seen if s.function == "add"]

    with torch.no_grad():
        expected = told()
    assert [none for none, _ in expected] == [False, True]
    with torch.inference_mode():
        assert told() == expected
