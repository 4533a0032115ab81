"""The zoo's checks must be able to fail: each kind of wrong ablation is caught."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.zoo.check import Stages, check, grouped
from benchmarks.conformance.zoo.operate import cut_all, operate, operate_together
from benchmarks.conformance.zoo.outcome import Outcome
from benchmarks.conformance.zoo.specimen import Case, Specimen
from benchmarks.conformance.zoo.subject import Item, Subject
from surgery.errors import OperationError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x))  # type: ignore[no-any-return]


class Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.zeros = Zeros()
        self.head = nn.Linear(4 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, self.zeros(x)], 1)[:, :4]
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


def net() -> Specimen:
    return Specimen(Net(), (torch.randn(2, 3, 6, 6),), {}, "2 x 3 x 6 x 6")


CASE = Case("net", "net", "tests", net)


@pytest.fixture
def subject() -> Subject:
    return Subject(CASE)


def item_of(subject: Subject, name: str) -> Item:
    (item,) = [item for item in subject.items() if item.name == name]
    return item


def operated(subject: Subject, name: str, ablate: Any = surgery.ablate) -> Outcome:
    return operate(subject, item_of(subject, name), ablate, full=True)


def test_every_item_of_a_small_net_ends_well(subject: Subject) -> None:
    outcomes = {i.name: operate(subject, i, full=True) for i in subject.items()}
    faults = {n: o.cause for n, o in outcomes.items() if o.verdict == "failure"}
    assert faults == {}
    assert outcomes["stem"].verdict == "effect" and outcomes["stem"].reached
    assert outcomes["zeros"].cause == "its output is all zero already"
    assert outcomes["blocks"].kind == "container"
    assert outcomes["blocks"].verdict == "effect"
    unused = outcomes["blocks.1.unused"]
    assert unused.verdict == "refused"
    assert unused.cause == "never called in this mode, has parameters"


# Wrong ablations.


def keep(y: Tensor, inputs: Any) -> Tensor:
    return y


@contextmanager
def nothing_done(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
    with surgery.ablate(model, target, keep) as ablation:
        yield ablation


@contextmanager
def half_done(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
    with surgery.ablate(model, target, lambda y, inputs: y / 2) as ablation:
        yield ablation


@contextmanager
def elsewhere(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
    with surgery.ablate(model, "blocks.1.conv") as ablation:
        yield ablation


@contextmanager
def refused(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
    raise OperationError("not today")
    yield


@contextmanager
def crashing(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
    raise ZeroDivisionError
    yield


WRONG: dict[Any, str] = {
    nothing_done: "effect() says nothing changed, but its output is not zero",
    half_done: "its output was zero in 0 of 1 calls",
    elsewhere: "its output was zero in 0 of 1 calls",
    refused: "OperationError: not today",
    crashing: "ZeroDivisionError",
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.__name__)
def test_a_wrong_ablation_of_a_module_is_a_failure(
    subject: Subject, wrong: Any
) -> None:
    outcome = operated(subject, "stem", wrong)
    assert outcome.verdict == "failure"
    assert WRONG[wrong] in outcome.cause


def leave_a_hook(model: Any) -> None:
    model.head.register_forward_hook(lambda *_: None)


def write_to_a_weight(model: Any) -> None:
    with torch.no_grad():
        model.stem.weight[0, 0, 0, 0] += 1


def write_behind_the_count(model: Any) -> None:
    model.stem.weight.data[0, 0, 0, 0] += 1


def leave_train_mode(model: Any) -> None:
    model.blocks[0].norm.train()


def put_in_a_new_tensor(model: Any) -> None:
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())


def draw(model: Any) -> None:
    np.random.rand()


LEAKS: dict[Callable[[Any], None], str] = {
    leave_a_hook: "flags, attributes or hooks of head",
    write_to_a_weight: "stem.weight was written to",
    write_behind_the_count: "the bits of stem.weight",
    leave_train_mode: "flags, attributes or hooks of blocks.0.norm",
    put_in_a_new_tensor: "head.weight is another tensor",
    draw: "the global generator of numpy moved",
}


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_what_is_left_behind_is_a_failure(
    subject: Subject, leak: Callable[[Any], None]
) -> None:
    @contextmanager
    def ablate(model: nn.Module, target: Any, *rest: Any) -> Iterator[Any]:
        with surgery.ablate(model, target, *rest) as ablation:
            yield ablation
        leak(model)

    outcome = operated(subject, "blocks.1.conv", ablate)
    assert outcome.verdict == "failure"
    assert LEAKS[leak] in outcome.cause


def test_a_glance_is_enough_for_what_torch_counts_and_full_for_the_rest(
    subject: Subject,
) -> None:
    assert subject.guard.full() == []
    write_behind_the_count(subject.model)
    assert subject.guard.glance() == []
    assert "not restored: the bits of stem.weight" in subject.guard.full()


def test_a_leak_is_located_on_a_model_built_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def ablate(model: Any, target: Any, *rest: Any) -> Iterator[Any]:
        with surgery.ablate(model, target, *rest) as ablation:
            yield ablation
        if str(target) == "blocks.0.conv":
            write_behind_the_count(model)

    monkeypatch.setattr(operate, "__defaults__", (ablate,))
    monkeypatch.setattr(operate_together, "__defaults__", (ablate,))
    report = check(CASE, "abc")
    named = [o.component for o in report.outcomes if o.verdict == "failure"]
    assert named == ["blocks.0.conv"]


def test_several_at_once_are_each_proved_and_none_is_inside_another(
    subject: Subject,
) -> None:
    items = subject.items()
    groups = grouped(items, together=3)
    assert sorted(i.name for g in groups for i in g) == sorted(i.name for i in items)
    (of_block,) = [g for g in groups if item_of(subject, "blocks.0") in g]
    assert not any(i.name.startswith(("blocks.0.", "blocks.0:")) for i in of_block)
    assert any(len(group) > 2 for group in groups)
    outcomes = [o for group in groups for o in operate_together(subject, group)]
    assert [o for o in outcomes if o.verdict == "failure"] == []
    alone = {i.name: operate(subject, i, full=True).verdict for i in items}
    assert {o.component: o.verdict for o in outcomes} == alone
    assert any(o.together > 1 for o in outcomes)


def test_among_several_at_once_the_wrong_one_is_named(subject: Subject) -> None:
    @contextmanager
    def ablate(model: Any, target: Any, *rest: Any) -> Iterator[Any]:
        targets = target if isinstance(target, list) else [target]
        good = [t for t in targets if str(t) != "head"]
        mode = "zero" if good else keep
        with surgery.ablate(model, good or targets, mode) as ablation:
            yield ablation

    items = [item_of(subject, name) for name in ("stem", "blocks.1.norm", "head")]
    outcomes = operate_together(subject, items, ablate)
    assert [o.verdict for o in outcomes] == ["effect", "effect", "failure"]


def test_cutting_all_branches_runs_changes_and_is_undone(subject: Subject) -> None:
    found = cut_all(subject, "branch")
    assert (found.components, found.fault, found.reached) == (2, "", True)
    assert cut_all(subject, "gate").components == 0
    assert "did not change" in cut_all(subject, "branch", nothing_done).fault


def test_after_its_time_is_up_the_rest_is_told_as_not_reached() -> None:
    report = check(CASE, "abc", cap=0.0)
    assert {o.verdict for o in report.outcomes} == {"not reached"}
    assert len(report.failures) >= len(report.outcomes)


def test_a_model_that_cannot_be_built_or_run_is_told() -> None:
    def broken() -> Specimen:
        return Specimen(Net(), (torch.randn(2, 4, 6, 6),))

    report = check(Case("broken", "net", "tests", broken), "abc")
    assert "could not run" in report.fault or "RuntimeError" in report.fault
    assert report.failures


def test_stages_count_seconds_and_know_when_time_is_up() -> None:
    stages = Stages(cap=1000.0)
    with stages.stage("a"):
        sum(range(10000))
    assert stages.seconds["a"] > 0 and not stages.over


class Picky(nn.Module):
    """Its own code fails if a size that it computes is zero."""

    def forward(self, x: Tensor) -> Tensor:
        size = (x * 0 + 4).amax().sub(1)
        return x[:, : int(size)].reshape(2, 3)


def picky() -> Specimen:
    return Specimen(Picky(), (torch.rand(2, 4),), {}, "2 x 4")


def test_a_function_whose_zeros_the_model_cannot_take_has_that_cause() -> None:
    subject = Subject(Case("picky", "picky", "tests", picky))
    (item,) = (item for item in subject.items() if item.name == ":sub#0")
    outcome = operate(subject, item, full=True)
    assert outcome.verdict == "refused"
    assert outcome.cause == "the model does not run on zeros there: RuntimeError"


def test_a_failure_of_the_operation_alone_is_no_cause() -> None:
    subject = Subject(Case("picky", "picky", "tests", picky))
    (item,) = (item for item in subject.items() if item.name == ":amax#0")

    @contextmanager
    def broken(model: nn.Module, target: Any) -> Iterator[surgery.Ablation]:
        with surgery.ablate(model, target) as ablation:
            yield ablation
            raise RuntimeError("shape '[2, 3]' is invalid")

    assert operate(subject, item, broken, full=True).verdict == "failure"
