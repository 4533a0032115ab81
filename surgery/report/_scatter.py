"""Two values of the same things against each other, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgery.report._figure import _EDGE, _FACE, Tone, drawable, verbatim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Triple = tuple[float, float, float]
_LABELS = 40  # more names than that hide the points


@dataclass(frozen=True)
class Point:
    """One thing; each of its values with the ends of its interval."""

    label: str
    x: Triple
    y: Triple
    tone: Tone = "worse"


def scatter(
    points: Sequence[Point],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    legend: Mapping[Tone, str] | None = None,
) -> Figure:
    """Points with intervals in both directions, their names beside them.

    Args:
        title: Above the chart.
        xlabel: Below it.
        ylabel: At its left.
        legend: What the tones mean; those that occur are explained.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(6.4, 5.2), dpi=150, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(0, color="#b0b0b0", linewidth=0.8, zorder=1)
    axes.axvline(0, color="#b0b0b0", linewidth=0.8, zorder=1)
    shown = [p for p in points if math.isfinite(p.x[0]) and math.isfinite(p.y[0])]
    named: set[Tone] = set()
    for point in shown:
        (x, left, right), (y, below, above) = point.x, point.y
        for ends, horizontal in (((left, right), True), ((below, above), False)):
            if all(map(math.isfinite, ends)):
                place = (ends, (y, y)) if horizontal else ((x, x), ends)
                axes.plot(*place, color="#8c8c8c", linewidth=0.8, zorder=2)
        label = "" if point.tone in named else (legend or {}).get(point.tone, "")
        named.add(point.tone)
        axes.plot(
            [x],
            [y],
            "o",
            markersize=7,
            markerfacecolor=_FACE[point.tone],
            markeredgecolor=_EDGE[point.tone],
            label=label or "_nolegend_",
            linestyle="none",
            zorder=3,
        )
        if len(shown) <= _LABELS:
            name = axes.annotate(
                drawable(point.label),
                (x, y),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=8,
            )
            verbatim(name)
    texts = [
        axes.set_xlabel(drawable(xlabel), fontsize=9),
        axes.set_ylabel(drawable(ylabel), fontsize=9),
        axes.set_title(drawable(title), fontsize=9, wrap=True),
    ]
    for text in texts:
        verbatim(text)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if legend and any(tone in legend for tone in named):
        figure.legend(loc="outside lower center", fontsize=8, ncols=3, frameon=False)
    return figure
