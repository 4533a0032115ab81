"""What all plots look like."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour blind.
BLUE, RED, GREEN, PURPLE, ORANGE = "#0072b2 #d55e00 #009e73 #cc79a7 #e69f00".split()
GREY = "#8c8c8c"


def panels(*titles: str, width: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A row of charts."""
    figure = Figure(
        figsize=(width * len(titles), 3.2),
        dpi=110,
        layout="constrained",
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    charts: list[Axes] = []
    for place, title in enumerate(titles, start=1):
        axes = figure.add_subplot(1, len(titles), place)
        axes.set_title(title, fontsize=9)
        axes.grid(color="#e3e3e3", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8, color=GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        charts.append(axes)
    return figure, charts


def lines(
    axes: Axes,
    x: Sequence[float],
    seeds: Sequence[Sequence[float]],
    color: str,
    label: str,
    mark: str = "o",
) -> None:
    """A line for the median of all seeds, over a faint one for each."""
    for values in seeds:
        axes.plot(x, values, color=color, linewidth=0.8, alpha=0.4)
    middle = [statistics.median(column) for column in zip(*seeds, strict=True)]
    axes.plot(
        x, middle, color=color, linewidth=1.8, marker=mark, markersize=4, label=label
    )


def labels(axes: Axes, x: str, y: str) -> None:
    """Names of the axes, and what the colours mean where anything is named."""
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7.5, frameon=False)
