"""How the command line names a model or data."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgery.cli._spec import Spec, call_factory, parse_spec
from surgery.errors import SurgeryError


def test_options_are_python_literals_where_they_read_as_such() -> None:
    spec = parse_spec("timm:resnet18?num_classes=10&scale=0.5&name=abc&depths=(2,2)")
    options = {"num_classes": 10, "scale": 0.5, "name": "abc", "depths": (2, 2)}
    assert spec == Spec("timm", "resnet18", options)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("none", None), ("no", "no")]
)
def test_words_for_truth_and_nothing_are_read_in_any_case(
    text: str, value: object
) -> None:
    assert parse_spec(f"a:b?x={text}").options == {"x": value}


def test_an_option_may_hold_quoted_characters() -> None:
    assert parse_spec("a:b?x=1%262").options == {"x": "1&2"}


def test_an_option_without_a_value_is_an_error_that_shows_how_to_write_it() -> None:
    with pytest.raises(SurgeryError, match=r"'in_chans' that is not NAME=VALUE; write"):
        parse_spec("timm:resnet18?in_chans")


@given(st.text())
def test_any_text_gives_a_spec_or_a_surgery_error(text: str) -> None:
    try:
        parse_spec(text)
    except SurgeryError:
        return


def test_a_factory_is_called_with_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec_factory_a.py").write_text("def make(a, b=2): return a, b\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call_factory(parse_spec("spec_factory_a:make?a=1"), "model") == (1, 2)
    with pytest.raises(SurgeryError, match="cannot be called with c=3"):
        call_factory(parse_spec("spec_factory_a:make?c=3"), "model")
    with pytest.raises(SurgeryError, match="has no 'made'; name a function of it"):
        call_factory(parse_spec("spec_factory_a:made"), "model")


def test_a_type_error_inside_a_factory_is_not_blamed_on_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec_factory_b.py").write_text("def make(): return 1 + 'a'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SurgeryError, match=r"failed: TypeError: unsupported operand"):
        call_factory(parse_spec("spec_factory_b:make"), "model")


def test_a_thing_that_is_no_function_is_taken_as_it_is_without_options() -> None:
    assert call_factory(parse_spec("math:pi"), "data") == pytest.approx(3.14159)
    with pytest.raises(SurgeryError, match="is a float, no function"):
        call_factory(parse_spec("math:pi?digits=3"), "data")


def test_a_missing_module_says_where_it_was_looked_for() -> None:
    with pytest.raises(SurgeryError, match=r"cannot import 'no_such.*looked in"):
        call_factory(parse_spec("no_such_module:make"), "model")
