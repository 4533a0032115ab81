"""RESULTS.md and the program: counts, causes, and every miss named."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.conformance import __main__ as program
from benchmarks.conformance.zoo.cases import cases
from benchmarks.conformance.zoo.choose import chosen
from benchmarks.conformance.zoo.outcome import AtOnce, Excised, GraphView, Outcome
from benchmarks.conformance.zoo.report import Report
from benchmarks.conformance.zoo.results import written

UNTRACED = "X cannot be traced by torch.fx: loops; use Y"
GOOD = Report(
    model="tv.good",
    family="good",
    group="torchvision classification",
    sources="abc",
    input="2 x 3 x 32 x 32",
    adds=2,
    expected_adds=2,
    outcomes=(
        Outcome("a", "module", "effect", reached=True),
        Outcome("b:skip", "skip", "effect", reached=True, together=4),
        Outcome("c", "module", "no change", "its output is all zero already"),
        Outcome("d", "uncalled", "refused", "never called in this mode"),
    ),
    at_once=(AtOnce("branch", 2, reached=True), AtOnce("skip", 0)),
    graphs=(
        GraphView("export", True, True),
        GraphView("fx", False, cause="X cannot be traced by torch.fx: loops; use Y"),
    ),
    excised=(Excised("a", "module", "swapped", "bitwise"),),
    seconds={"build": 1.0, "operate": 2.4},
)
BAD = replace(
    GOOD,
    model="tv.bad",
    adds=3,
    outcomes=(
        *(Outcome(f"e{i}", "module", "failure", "it | fell over") for i in range(20)),
        Outcome("f", "module", "not reached"),
    ),
    at_once=(AtOnce("branch", 2, "the model's output did not change"),),
    excised=(Excised("a", "module", "", "", "cannot be traced"),),
)


def test_results_show_counts_causes_and_every_miss() -> None:
    text = written([GOOD, BAD], jobs=2, sources="abc")
    assert "**1 of 2 models without a failure**" in text
    assert "25 components: 2 with proof of effect, 1 without change" in text
    assert "Graph by export: 2 of 2 models, names agree in 2 of 2." in text
    assert "Graph by fx: 0 of 2 models" in text
    assert "Excision and a graph: 1 of 2 models." in text
    assert "| tv.good | 2 | 2 |" in text and "| tv.bad | 2 | 3 |" in text
    assert "| good | tv.good | 2 x 3 x 32 x 32 | 4 | 3 | 1 |" in text
    assert "| no change | module | its output is all zero already | 1 |" in text
    assert "| refused | uncalled | never called in this mode | 1 |" in text
    assert "| tv.bad | `excise a` | 1 | cannot be traced |" in text
    assert "| 2 | loops | tv.good, tv.bad |" in text
    assert "`e11` and 8 more | 20 | it \\| fell over |" in text
    assert "| tv.bad | `f` | 1 | not reached |" in text
    assert "| tv.bad | `residual adds` | 1 | 3, there are 2 |" in text


def test_results_say_which_code_they_are_of_and_what_is_missing() -> None:
    older = replace(BAD, sources="old1234")
    text = written([GOOD, GOOD, older], jobs=2, sources="abc", missing=["tv.none"])
    assert "- Code: 2 models with the present state (abc)" in text
    assert "- Code: 1 models with an earlier state (old1234)" in text
    assert "- Not checked (1): tv.none" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| good | tv.bad"))
    assert row.endswith("| old123 |")


@pytest.mark.parametrize(("report", "status"), [(GOOD, 0), (BAD, 1)])
def test_the_program_fails_if_any_check_did(
    report: Report,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def reports(*_: Any) -> Sequence[Report]:
        return [report]

    monkeypatch.setattr(program, "_reports", reports)
    assert program.main(["--models", "tv.resnet18"]) == status
    assert ("FAILED tv.bad f" in capsys.readouterr().out) == bool(status)


def test_an_unknown_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--models", "tv.resnet19"]) == 2
    assert "no model is called tv.resnet19" in capsys.readouterr().out


def test_the_zoo_has_what_it_promises() -> None:
    import torchvision
    from timm.models import list_modules

    known = cases()
    assert set(chosen()) == set(list_modules())
    assert {f"timm.{name}" for name in chosen().values()} <= set(known)
    models = torchvision.models
    for module in (models, models.segmentation, models.detection):
        assert {f"tv.{n}" for n in models.list_models(module=module)} <= set(known)
    architectures = {n for n in known if n.startswith("hf.")}
    named = (
        "gpt2 llama mixtral bert albert t5 vit swin convnext clip whisper mamba detr"
    )
    assert {f"hf.{n}" for n in named.split()} <= architectures
    assert len(architectures) >= 15
