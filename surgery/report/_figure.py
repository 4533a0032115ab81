"""Bar charts with intervals, through matplotlib without its global state."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from surgery.report._format import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Tone = Literal["worse", "better", "unclear", "failed"]

# Darker, lighter and hollow, blue and orange: told apart in grey and by the colour
# blind, and light enough for the intervals drawn over them.
_FACE: Mapping[Tone, str] = {
    "worse": "#4f94cd",
    "better": "#f3b23c",
    "unclear": "#ffffff",
    "failed": "#ffffff",
}
_EDGE: Mapping[Tone, str] = {**_FACE, "unclear": "#8c8c8c", "failed": "#8c8c8c"}
LIMIT = 100  # rows; more cannot be read
FOLD = 56  # characters of a label's line


@dataclass(frozen=True)
class Bar:
    """One row of the chart; `tone` says what its fill tells."""

    label: str
    value: float
    low: float
    high: float
    tone: Tone = "worse"


def bar_chart(
    bars: Sequence[Bar],
    *,
    title: str = "",
    xlabel: str = "",
    legend: Mapping[Tone, str] | None = None,
) -> Figure:
    """Bars from top to bottom in the order given, with intervals and a line at zero.

    Of more than 100 bars, the 100 largest are drawn; the chart says so.

    Args:
        title: Above the chart.
        xlabel: Below it.
        legend: What the tones mean; those that occur are explained.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = _largest(bars)
    if len(shown) < len(bars):
        note = f"the {len(shown)} largest of {len(bars)}"
        xlabel = f"{xlabel} ({note})" if xlabel else note
    labels = [_fold(bar.label) for bar in shown]
    parts = [part for label in labels for part in label.split("\n")]
    longest = max(map(len, parts), default=0)
    size = 9.0 if len(shown) <= 25 else 7.5
    row = 0.27 if len(shown) <= 25 else 0.19  # inches
    width = 5.2 + 0.0085 * size * longest
    heading = textwrap.wrap(drawable(title), int(12 * width))
    figure = Figure(
        figsize=(width, 1.3 + 0.2 * len(heading) + row * max(len(parts), 3)),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, shown)
    ticks = axes.set_yticks(range(len(shown)), labels=labels, fontsize=size)
    texts = [tick.label1 for tick in ticks]
    texts.append(axes.set_xlabel(drawable(xlabel), fontsize=9))
    if heading:
        texts.append(figure.suptitle("\n".join(heading), fontsize=10))
    for text in texts:
        verbatim(text)
    _explain(figure, axes, shown, legend or {})
    return figure


def _largest(bars: Sequence[Bar]) -> list[Bar]:
    def size(index: int) -> float:
        value = bars[index].value
        return -1.0 if math.isnan(value) else abs(value)

    kept = sorted(range(len(bars)), key=size, reverse=True)[:LIMIT]
    return [bars[index] for index in sorted(kept)]


def _draw(axes: Axes, bars: Sequence[Bar]) -> None:
    finite = [index for index, bar in enumerate(bars) if math.isfinite(bar.value)]
    axes.barh(
        finite,
        [bars[index].value for index in finite],
        height=0.68,
        color=[_FACE[bars[index].tone] for index in finite],
        edgecolor=[_EDGE[bars[index].tone] for index in finite],
        linewidth=0.9,
        zorder=2,
    )
    ranged = [i for i in finite if math.isfinite(bars[i].high - bars[i].low)]
    thick = 1.1 if len(bars) <= 25 else 0.8
    axes.hlines(
        ranged,
        [bars[index].low for index in ranged],
        [bars[index].high for index in ranged],
        color="#262626",
        linewidth=thick,
        zorder=3,
    )
    for index in ranged:
        axes.plot(
            [bars[index].low, bars[index].high],
            [index, index],
            "|",
            color="#262626",
            markersize=5.0 if len(bars) <= 25 else 3.5,
            markeredgewidth=thick,
            zorder=3,
        )
    for index, bar in enumerate(bars):
        if not math.isfinite(bar.value):
            axes.annotate(
                "failed" if math.isnan(bar.value) else f"{bar.value:+}",
                (0, index),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color="#595959",
                style="italic",
            )
    axes.axvline(0, color="#262626", linewidth=0.9, zorder=4)
    axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    axes.margins(x=0.04)
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, color="#8c8c8c")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#8c8c8c")


def _explain(
    figure: Figure, axes: Axes, bars: Sequence[Bar], legend: Mapping[Tone, str]
) -> None:
    from matplotlib.patches import Patch

    tones = {bar.tone for bar in bars if math.isfinite(bar.value)}
    handles = [
        Patch(facecolor=_FACE[tone], edgecolor=_EDGE[tone], label=drawable(text))
        for tone, text in legend.items()
        if tone in tones
    ]
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            fontsize=8,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.4,
        )


def _fold(label: str) -> str:
    """Long names on several lines, broken after dots where that is possible."""
    label = drawable(label)
    lines: list[str] = []
    while len(label) > FOLD:
        cut = label.rfind(".", FOLD // 2, FOLD) + 1 or FOLD
        lines.append(label[:cut])
        label = label[cut:]
    lines.append(label)
    return "\n".join(lines if len(lines) <= 4 else [*lines[:3], "…" + lines[-1]])


def verbatim(text: Text) -> None:
    """Dollars and underscores in names are neither mathematics nor TeX."""
    text.set_parse_math(False)
    text.set_usetex(False)


def drawable(text: str) -> str:
    """The text, with characters that the font lacks written as escapes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return re.sub(
        r"[^\x20-\x7e]",
        lambda match: (
            match[0]
            if ord(match[0]) in known
            else match[0].encode("unicode_escape").decode()
        ),
        printable(text),
    )
