"""Evidence refuses what it cannot judge by."""

from typing import Any

import pytest

from surgery.errors import DataError
from surgery.stats import Evidence


def test_defaults_are_95_percent_and_holm() -> None:
    assert Evidence() == Evidence(confidence=0.95, correction="holm")


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, float("nan"), "high", True])
def test_a_confidence_outside_of_0_and_1_is_refused(confidence: Any) -> None:
    with pytest.raises(DataError, match=r"confidence must lie between 0 and 1.*0\.95"):
        Evidence(confidence=confidence)


def test_an_unknown_correction_is_refused_with_those_known() -> None:
    wrong: Any = "sidak"
    with pytest.raises(DataError, match="'sidak'; it is one of 'holm'"):
        Evidence(correction=wrong)
