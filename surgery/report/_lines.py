"""Line charts with bands, through matplotlib without its global state."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgery.report._figure import drawable, verbatim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour blind; marks tell them in grey.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKS = "osD^vPX"
NAMED = len(_COLORS)
_SIZE = (7.6, 4.4)  # inches
_WIDE = 30.0  # from so large a ratio of levels on, the axis is logarithmic


@dataclass(frozen=True)
class Line:
    """One line of the chart, with the ends of the band around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def line_chart(
    lines: Sequence[Line],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    descending: bool = False,
) -> Figure:
    """Lines with bands; the first seven by name, the others in grey behind them.

    Args:
        lines: The most important ones first.
        title: Above the chart.
        xlabel: Below it.
        ylabel: Beside it.
        descending: Whether x goes from right to left, as bits do.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line in lines[NAMED:]:
        axes.plot(line.x, line.y, color="#c8c8c8", linewidth=0.9, zorder=2)
    for place, line in reversed(list(enumerate(lines[:NAMED]))):
        _draw(axes, line, place)
    _frame(axes, lines, descending)
    texts = [
        axes.set_xlabel(drawable(xlabel), fontsize=9),
        axes.set_ylabel(drawable(ylabel), fontsize=9),
    ]
    if title:
        heading = "\n".join(textwrap.wrap(drawable(title), 90))
        texts.append(figure.suptitle(heading, fontsize=10))
    for text in texts:
        verbatim(text)
    _explain(figure, axes, len(lines))
    return figure


def _draw(axes: Axes, line: Line, place: int) -> None:
    color = _COLORS[place]
    axes.fill_between(
        line.x, line.low, line.high, color=color, alpha=0.1, linewidth=0.8, zorder=3
    )
    axes.plot(
        line.x,
        line.y,
        color=color,
        marker=_MARKS[place],
        markersize=4,
        linewidth=1.5,
        label=drawable(line.label),
        zorder=5 + NAMED - place,
    )


def _frame(axes: Axes, lines: Sequence[Line], descending: bool) -> None:
    values = [x for line in lines for x in line.x if x > 0]
    if values and max(values) / min(values) >= _WIDE and not descending:
        # Linear up to the weakest level, so that 0 has a place.
        axes.set_xscale("symlog", linthresh=min(values), linscale=0.4)
        axes.set_xlim(left=0)
        ticks = sorted({x for line in lines for x in line.x})
        if len(ticks) <= 10:
            axes.set_xticks(ticks, labels=[f"{x:g}" for x in ticks])
            axes.minorticks_off()
    if descending:
        axes.invert_xaxis()
        axes.set_xticks(sorted({x for line in lines for x in line.x}))
    ends = [y for line in lines for y in line.y if math.isfinite(y)]
    if ends:
        # Wide bands of some must not flatten all lines.
        span = max(*ends, 0) - min(*ends, 0) or 1.0
        axes.set_ylim(min(*ends, 0) - 0.25 * span, max(*ends, 0) + 0.25 * span)
    axes.axhline(0, color="#262626", linewidth=0.9, zorder=1)
    axes.grid(color="#e3e3e3", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color="#8c8c8c")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8c8c8c")


def _explain(figure: Figure, axes: Axes, count: int) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    handles, labels = handles[::-1], labels[::-1]  # drawn from the last to the first
    if count > NAMED:
        handles.append(Line2D([], [], color="#c8c8c8", linewidth=0.9))
        labels.append(f"{count - NAMED} more")
    if handles:
        legend = figure.legend(
            handles, labels, loc="outside right upper", fontsize=8, frameon=False
        )
        for text in legend.get_texts():
            verbatim(text)
