"""Bar charts with intervals."""

import math
import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from surgery.report import Bar, bar_chart

NAN = math.nan


def _draw(figure: Figure) -> np.ndarray[Any, Any]:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _width(patch: Any) -> float:
    return float(patch.get_width())


def test_bars_have_the_values_and_stand_from_top_to_bottom() -> None:
    bars = [Bar("a", -0.5, -0.6, -0.4), Bar("b", 0.2, 0.1, 0.3, "better")]
    axes = bar_chart(bars, title="T", xlabel="change").axes[0]
    assert [_width(patch) for patch in axes.patches] == [-0.5, 0.2]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a", "b"]
    bottom, top = axes.get_ylim()
    assert bottom > 1 > 0 > top
    ends: Any = [line.get_xdata() for line in axes.lines]
    assert [list(end) for end in ends[:2]] == [[-0.6, -0.4], [0.1, 0.3]]
    assert axes.get_xlabel() == "change"


def test_what_is_unclear_is_hollow_and_told_in_the_legend() -> None:
    bars = [Bar("a", -0.5, -0.6, -0.4), Bar("b", -0.1, -0.3, 0.3, "unclear")]
    legend: Any = {"worse": "W", "better": "B", "unclear": "U"}
    figure = bar_chart(bars, legend=legend)
    faces = [patch.get_facecolor() for patch in figure.axes[0].patches]
    assert faces[1] == to_rgba("white") != faces[0]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["W", "U"]


@pytest.mark.parametrize("rows", [0, 1, 5, 60])
def test_a_chart_of_any_size_is_drawn(rows: int) -> None:
    bars = [Bar(f"layer{i}", -i / 60, -i / 60 - 0.1, 0.1) for i in range(rows)]
    pixels = _draw(bar_chart(bars, title="T " * 80, xlabel="x"))
    assert pixels.shape[2] == 4
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 2


def test_more_rows_than_can_be_read_are_reduced_to_the_largest() -> None:
    bars = [Bar(str(i), float(i - 150), NAN, NAN) for i in range(300)]
    axes = bar_chart([*bars, Bar("nan", NAN, NAN, NAN)]).axes[0]
    widths = [_width(patch) for patch in axes.patches]
    assert widths == [*range(-150, -99), *range(101, 150)]
    assert axes.get_xlabel() == "the 100 largest of 301"


def test_failed_and_infinite_rows_are_named_not_drawn() -> None:
    bars = [Bar("a", NAN, NAN, NAN, "failed"), Bar("b", math.inf, NAN, NAN)]
    axes = bar_chart([*bars, Bar("c", 1.0, -math.inf, math.inf)]).axes[0]
    assert len(axes.patches) == 1
    assert [text.get_text() for text in axes.texts] == ["failed", "+inf"]


@pytest.mark.parametrize(
    "name",
    ["a$b$c", r"re:layer\d_{x}^2$", "层.0", "\x1b[31m\n%", "x" * 1000, "a." * 90, ""],
)
def test_odd_names_are_drawn_verbatim_without_warnings(name: str) -> None:
    with matplotlib.rc_context({"text.usetex": False}):
        figure = bar_chart([Bar(name, 1.0, 0.5, 1.5)], title=name, xlabel=name)
        _draw(figure)
    label = figure.axes[0].get_yticklabels()[0]
    assert not label.get_parse_math()
    if len(name) < 50 and name.isascii() and name.isprintable():
        assert label.get_text() == name
    assert max(map(len, label.get_text().split("\n"))) <= 57


def test_the_global_figure_state_stays_untouched() -> None:
    before = set(sys.modules)
    bar_chart([Bar("a", 1.0, 0.5, 1.5)])
    assert "matplotlib.pyplot" not in set(sys.modules) - before
