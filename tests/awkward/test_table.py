"""Every cell of the table in the docs, tried: it works, or is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import surgery
from surgery.anatomy import unwrap
from surgery.errors import SurgeryError
from tests.awkward.model import CUTS, batch
from tests.awkward.subjects import SUBJECTS, Subject

PAGE = Path(surgery.__file__).parent / "docs" / "pages" / "awkward.md"
COLUMNS = ("module", "skip", "branch", "head", "reinit", "freeze", "parameter")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*inputs will be cast:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Lazy modules:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*find_unused_parameters:UserWarning"),
]


def table() -> dict[str, dict[str, str]]:
    """What the page says, by row and column."""
    rows: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        cells = [cell.strip() for cell in line.replace("`", "").strip("|").split("|")]
        if not header:
            header = cells[1:]
        else:
            rows[cells[0]] = dict(zip(header, cells[1:], strict=True))
    return rows


SAID = table()
CELLS = [(row, column) for row in SUBJECTS for column in COLUMNS]


@pytest.fixture(autouse=True)
def group_is_left() -> Iterator[None]:
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_the_table_has_exactly_the_rows_and_columns_that_are_tried() -> None:
    assert list(SAID) == list(SUBJECTS)
    assert all(tuple(row) == COLUMNS for row in SAID.values())
    assert all(
        re.match("(yes|refused)", cell)
        for row in SAID.values()
        for cell in row.values()
    )


@pytest.mark.parametrize(("row", "column"), CELLS, ids=[f"{r}-{c}" for r, c in CELLS])
def test_a_cell_of_the_table_holds(
    row: str, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = SUBJECTS[row]
    if SAID[row][column].startswith("refused"):
        refused(subject, column)
    elif column in CUTS:
        cut(subject, column, monkeypatch)
    else:
        {"reinit": reinit, "freeze": freeze, "parameter": parameter}[column](subject)


def target_of(subject: Subject, column: str) -> tuple[str, str]:
    """Target and mode for a column."""
    if column in CUTS:
        target = CUTS[column][0]
        if subject.part != "block.fc1":
            target = target.replace("block", subject.part.rpartition(".")[0], 1)
        return subject.prefix + subject.rename(target), "zero"
    part = subject.prefix + subject.rename(subject.part)
    if column == "parameter":
        return f"{part}.{subject.parameter}", "zero"
    return part, column


def run(model: nn.Module) -> Tensor:
    with torch.no_grad():
        torch.manual_seed(3)  # of lazy parameters
        out: Tensor = model(batch())
    return out


def cut(subject: Subject, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, owner, by_hand = CUTS[column]
    target, mode = target_of(subject, column)
    with monkeypatch.context() as patch:
        patch.setattr(owner, "forward", by_hand)
        torch.compiler.reset()  # compiled code does not ask what a class's forward is
        right = run(subject.make().eval())
    torch.compiler.reset()
    before = run(subject.make().eval())
    assert not torch.allclose(before, right)
    for inputs in (None, batch()):
        model = subject.make().eval()
        torch.manual_seed(3)
        with surgery.ablate(model, target, mode, inputs=inputs) as op:
            torch.testing.assert_close(run(model), right, rtol=1e-5, atol=1e-6)
            op.effect(strict=True)
        assert torch.equal(run(model), before)


def refused(subject: Subject, column: str) -> None:
    """An error of ours that names the part; the model is as it was."""
    target, mode = target_of(subject, column)
    for inputs in (None, batch()) if column in CUTS else (None,):
        model = subject.make().eval()
        with pytest.raises(SurgeryError) as caught:
            with surgery.ablate(model, target, mode, inputs=inputs):
                run(model)
        assert target.partition(":")[0] in str(caught.value)
        assert torch.equal(run(model), run(subject.make().eval()))


def reinit(subject: Subject) -> None:
    model = subject.make().eval()
    before, state = run(model), values(model)
    target, mode = target_of(subject, "reinit")
    with surgery.ablate(model, target, mode):
        assert not torch.allclose(run(model), before)
    assert torch.equal(run(model), before)
    same(values(model), state)


def freeze(subject: Subject) -> None:
    """No gradient inside, gradients outside; then as before."""
    model = subject.make().train()
    run(model)
    target, _ = target_of(subject, "freeze")
    flags = [p.requires_grad for p in model.parameters()]
    frozen = [id(p) for p in unwrap(model).get_submodule(target).parameters()]
    with surgery.freeze(model, target):
        model(batch()).square().sum().backward()
        for parameter in model.parameters():
            learns = parameter.grad is not None
            assert not (learns and id(parameter) in frozen)
        assert any(p.grad is not None for p in model.parameters()) == any(
            flag and id(p) not in frozen
            for p, flag in zip(model.parameters(), flags, strict=True)
        )
    assert [p.requires_grad for p in model.parameters()] == flags


def parameter(subject: Subject) -> None:
    target, mode = target_of(subject, "parameter")
    by_hand = subject.make().eval()
    run(by_hand)
    with torch.no_grad():
        unwrap(by_hand).get_parameter(target).zero_()
    right = run(by_hand)
    model = subject.make().eval()
    before, state = run(model), values(model)
    with surgery.ablate(model, target, mode):
        got = run(model)
        assert not torch.equal(got, before)
        assert torch.equal(got, right)
    assert torch.equal(run(model), before)
    same(values(model), state)


def values(model: nn.Module) -> dict[str, Any]:
    """Copies of all plain values of the state."""
    found: dict[str, Any] = {}
    for name, value in model.state_dict().items():
        full = getattr(value, "full_tensor", None)
        if callable(full):
            value = full()
        if type(value) is Tensor:
            found[name] = value.clone()
    return found


def same(now: dict[str, Any], then: dict[str, Any]) -> None:
    assert list(now) == list(then)
    assert all(torch.equal(now[name], then[name]) for name in then)
