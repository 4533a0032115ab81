"""excise: what it refuses, what it reports, what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import BackendError, DataError, OperationError, TargetError
from surgery.excision import Comparison, Excision, compare

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_without_an_example_it_is_refused() -> None:
    with pytest.raises(DataError, match="inputs=x"):
        surgery.excise(model(), "0")


def test_a_target_that_names_nothing_is_refused() -> None:
    with pytest.raises(TargetError, match="'2'"):
        surgery.excise(model(), "22", inputs=X)


def test_a_mode_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(OperationError, match="makes no sense"):
        surgery.excise(model(), "0.weight", "identity", inputs=X)


def test_mean_without_data_is_refused() -> None:
    with pytest.raises(DataError, match="data=loader"):
        surgery.excise(model(), "0", "mean", inputs=X)


def test_a_scripted_model_is_refused() -> None:
    class Scripted(torch.jit.ScriptModule):
        pass

    with pytest.raises(BackendError, match=r"before torch\.jit\.script"):
        surgery.excise(Scripted(), "0", inputs=X)


class Forgetful(nn.Module):
    """Gives something else at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        found: Tensor = x + self.a(x) + self.count
        return found


def test_outputs_that_do_not_agree_are_an_error() -> None:
    with pytest.raises(BackendError, match="same outputs twice"):
        surgery.excise(Forgetful(), "a", inputs=X)


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: object) -> Uncopied:
        raise RuntimeError("not me")


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    with pytest.raises(BackendError, match="cannot be copied"):
        surgery.excise(nn.Sequential(Uncopied(4, 4), nn.ReLU()), "1", inputs=X)


def test_frozen_for_good() -> None:
    made = surgery.excise(model(), "0", "freeze", inputs=X)
    assert [p.requires_grad for p in made.parameters()] == [False, False, True, True]


def test_new_values_are_kept_without_the_old_ones() -> None:
    given = model()
    made = surgery.excise(given, "0", "reinit", inputs=X, seed=3)
    with surgery.ablate(given, "0", "reinit", seed=3):
        wanted = given(X)
    assert torch.equal(made(X), wanted)
    assert not torch.equal(made(X), given(X))


def test_the_dial_is_built_in() -> None:
    given = model()
    made = surgery.excise(given, "1", inputs=X, dial=0.25)
    assert torch.equal(made(X), given[2](0.75 * given[0](X).relu()))


def test_a_function_is_built_in() -> None:
    made = surgery.excise(model(), "1", doubled, inputs=X)
    given = model()
    assert torch.equal(made(X), given[2](2 * given[0](X).relu()))


def doubled(output: Tensor, inputs: object) -> Tensor:
    return 2 * output


def test_a_group_is_built_in_together_and_reported_part_by_part() -> None:
    made = surgery.excise(model(), ["0", "1", "2.bias"], inputs=X)
    report = made.excision
    assert isinstance(report, Excision)
    assert [(row.component, row.how, row.removed) for row in report] == [
        ("0", "swapped", 40),
        ("1", "swapped", 0),
        ("2.bias", "values set", 0),
    ]
    assert report.parameters == (58, 18)
    assert "58 parameters, then 18" in str(report)
    assert list(report.to_pandas()["how"]) == ["swapped", "swapped", "values set"]


def test_compare_counts_and_measures() -> None:
    before = model()
    after = surgery.excise(before, "0", "identity", inputs=X)
    found = compare(before, after, X, repeat=3)
    assert isinstance(found, Comparison)
    assert (found.parameters.before, found.parameters.after) == (58, 18)
    assert (found.macs.before, found.macs.after) == (3 * 48, 3 * 16)
    assert found.latency.before > 0 and found.latency.after > 0
    assert found.macs.saved == pytest.approx(2 / 3)
    assert "multiply-adds" in str(found)
    assert list(found.to_pandas().columns) == ["quantity", "before", "after", "saved"]


def test_the_least_important_of_a_ranking_are_excised_in_two_lines() -> None:
    given = model().eval()
    labels = torch.randint(2, (3,), generator=torch.Generator().manual_seed(1))
    ranking = surgery.rank(given, (X, labels), ["0", "1"], progress=False)
    least = [row.component for row in ranking.least(1)]
    assert least == [ranking.rows[-1].component]
    made = surgery.excise(given, least, inputs=X)
    with surgery.ablate(given, least):
        assert torch.equal(made(X), given(X))
