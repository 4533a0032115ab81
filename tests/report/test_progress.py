"""Progress on a terminal and in logs."""

import io
import sys

import pytest

from surgery.report import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_comes_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress("rank\x1b", 100, stream=stream, clock=clock) as advance:
        for _ in range(25):
            clock.now += 1
            advance(2)
    assert stream.getvalue() == (
        "rank\\x1b: 20/100, 2/s, 40 s left\nrank\\x1b: 40/100, 2/s, 30 s left\n"
    )


def test_an_unknown_total_has_no_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress("rank", stream=stream, clock=clock) as advance:
        clock.now = 20
        advance()
    assert stream.getvalue() == "rank: 1, 0.05/s\n"


def test_short_work_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("rank", 3) as advance:
        advance()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_that_disappears() -> None:
    stream = io.StringIO()
    with progress("[red]rank", 4, stream=stream, terminal=True) as advance:
        advance(3)
        assert not stream.getvalue().endswith("\n")
    text = stream.getvalue()
    assert "[red]rank" in text
    assert "\x1b[2K" in text  # the line is erased at the end


def test_inner_progress_joins_the_outer_display() -> None:
    outer_stream, inner_stream = io.StringIO(), io.StringIO()
    with progress("outer", 2, stream=outer_stream, terminal=True) as outer:
        with progress("inner", 2, stream=inner_stream, terminal=True) as inner:
            inner()
        outer()
    assert "inner" in outer_stream.getvalue()
    assert inner_stream.getvalue() == ""
    with progress("later", 2, stream=inner_stream, terminal=True):
        pass
    assert "later" in inner_stream.getvalue()


def test_an_exception_passes_and_the_display_ends() -> None:
    stream = io.StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        progress("rank", 2, stream=stream, terminal=True),
    ):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is back


@pytest.mark.parametrize("terminal", [True, False])
def test_disabled_progress_writes_nothing(terminal: bool) -> None:
    stream, clock = io.StringIO(), Clock()
    with progress("x", 2, False, stream=stream, terminal=terminal, clock=clock) as step:
        clock.now = 100
        step()
    assert stream.getvalue() == ""


def test_a_process_without_standard_error_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress("x", 2) as step:
        step()


def test_what_is_printed_meanwhile_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("rank", 2, terminal=True):
        print("mine")
    assert capsys.readouterr().out == "mine\n"


def test_a_note_stands_beside_the_title() -> None:
    stream = io.StringIO()
    now = [0.0]
    with progress(
        "study", 10, stream=stream, terminal=False, clock=lambda: now[0]
    ) as advance:
        now[0] = 20.0
        advance(1, "2 running, 1 failed")
    assert stream.getvalue().startswith("study (2 running, 1 failed): 1/10, ")
