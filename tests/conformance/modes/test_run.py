"""Reports: saved whole, loaded for the same code only, shown with their failures."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.conformance.modes import __main__ as program
from benchmarks.conformance.modes.models import ZOO
from benchmarks.conformance.modes.outcome import Outcome
from benchmarks.conformance.modes.results import written
from benchmarks.conformance.modes.run import Report, check_model, load, save
from benchmarks.conformance.modes.values import MODES
from benchmarks.conformance.sources import fingerprint

GOOD = Report(
    model="hf_vit",
    input="3 x 32 x 32",
    sources="abc",
    modules=2,
    called=1,
    outcomes=(
        Outcome("a", "zero", "effect", reached=True),
        Outcome("a", "reinit", "refused", "no parameters inside"),
        Outcome("a", "identity", "no change", "it passes its input through"),
    ),
    uncalled=(Outcome("b", "zero", "refused", "never called"),),
    seconds=1.5,
)
BAD = replace(GOOD, uncalled=(Outcome("b", "zero", "failure", "it | fell over"),))


def test_a_report_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    save(GOOD, tmp_path)
    assert load("hf_vit", tmp_path, "abc") == GOOD
    assert [file.name for file in tmp_path.iterdir()] == ["hf_vit.json"]


def test_a_report_about_other_code_is_not_loaded(tmp_path: Path) -> None:
    save(GOOD, tmp_path)
    assert load("hf_vit", tmp_path, "other") is None
    assert load("hf_bert", tmp_path, "abc") is None


def test_a_whole_model_is_checked_in_every_module_and_mode() -> None:
    report = check_model("hf_vit", fingerprint("modes"))
    assert report.failures == []
    assert len(report.outcomes) == len(MODES) * report.called
    assert len(report.uncalled) == report.modules - report.called
    assert sum(o.verdict == "effect" for o in report.outcomes) > 200


def test_results_show_counts_causes_and_failures() -> None:
    text = written([GOOD, BAD], jobs=2)
    assert "6 pairs of a called module and a mode in 2 models; **1 failures**" in text
    row = "| hf_vit | 2 x 3 x 32 x 32 | 2 | 1 | 3 | 1 | 1 | 1 | 1 | 0 | 0 | 2 |"
    assert row in text
    assert "| reinit | no parameters inside | 2 |" in text
    assert "| identity | it passes its input through | 2 |" in text
    assert "| hf_vit | b | zero | it \\| fell over |" in text
    assert "None." in written([GOOD], jobs=2)


@pytest.mark.parametrize(("report", "status"), [(GOOD, 0), (BAD, 1)])
def test_the_program_fails_if_any_check_did(
    report: Report,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "_reports", lambda *_: [report])
    assert program.main(["--models", "hf_vit"]) == status
    assert ("FAILED hf_vit b zero" in capsys.readouterr().out) == bool(status)


def test_an_unknown_model_is_told_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["--models", "resnet19"]) == 2
    assert "no such model: resnet19; there are resnet18" in capsys.readouterr().out


def test_the_zoo_has_the_models_it_promises() -> None:
    promised = (
        "resnet18 resnet50 swin_tiny_patch4_window7_224 vit_tiny_patch16_224 "
        "convnext_atto densenet121 efficientnet_b0 mixer_s32_224 "
        "hf_gpt2 hf_bert hf_vit"
    )
    assert list(ZOO) == promised.split()
