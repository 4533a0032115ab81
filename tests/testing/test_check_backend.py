"""The contract: built-in backends keep it, and every kind of breach is told."""

from __future__ import annotations

import re

import pytest

from surgery.backend import BUILT_IN
from surgery.errors import BackendError, OperationError
from surgery.ops import KIND_MODES
from surgery.testing import Finding, Report, check_backend
from tests.testing.broken import BREAKAGES, Honest


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_backend_keeps_the_contract(name: str) -> None:
    report = check_backend(name).require()
    assert len(report.findings) > 100


def test_every_kind_with_an_output_is_tried_on_some_backend() -> None:
    tried: set[str] = set()
    for name in BUILT_IN:
        report = check_backend(name, modes=["zero"])
        tried |= set(report.kinds)
    assert tried == set(KIND_MODES) - {"parameter"}


def test_a_third_partys_backend_that_keeps_the_contract_passes() -> None:
    report = check_backend(Honest(), modes=["zero", "identity"]).require()
    assert report.backend == "mine" and set(report.kinds) == {"module", "call"}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breach_is_told_by_its_check_in_clear_words(breakage: str) -> None:
    backend, check, words = BREAKAGES[breakage]
    modes = ["zero", "identity"] if breakage == "hides the inputs" else ["zero"]
    report = check_backend(backend(), modes=modes)
    told = [f for f in report.failures if re.fullmatch(check, f.check)]
    assert any(re.search(words, f.error) for f in told), report.failures[:5]
    with pytest.raises(BackendError, match="backend 'mine' breaks its contract in"):
        report.require()


def test_only_what_was_asked_for_is_tried() -> None:
    report = check_backend("hooks", kinds=["input"], modes=["constant"]).require()
    assert set(report.kinds) == {"input"}
    assert {finding.mode for finding in report.findings} == {"constant"}


def test_what_cannot_be_asked_for_is_an_error() -> None:
    with pytest.raises(OperationError, match="no kind is called skips; there are"):
        check_backend("hooks", kinds=["skips"])
    with pytest.raises(OperationError, match="no mode is called frozen"):
        check_backend("hooks", modes=["frozen"])
    with pytest.raises(BackendError, match="unknown backend 'none'"):
        check_backend("none")


def test_a_backend_that_covers_nothing_does_not_pass() -> None:
    report = check_backend("hooks", kinds=["head"])
    with pytest.raises(BackendError, match="covers no kind of component"):
        report.require()


def test_a_report_prints_counts_by_kind_and_check() -> None:
    bad = Finding("value", "skip", "a:skip of Net (recorded)", "zero", "differs")
    good = Finding("value", "skip", "b:skip of Net (recorded)", "zero")
    report = Report("mine", (bad, good))
    assert "Contract of backend 'mine': 1 of 2 checks failed" in str(report)
    assert "1 of 2 failed" in str(report)
    with pytest.raises(BackendError) as caught:
        report.require()
    assert str(caught.value).endswith(
        "1 of 2 checks:\n- value of mode 'zero' at a:skip of Net (recorded): differs"
    )
