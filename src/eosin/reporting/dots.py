"""Dots with whiskers: one figure for many models, or many protocols, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from eosin.reporting.canvas import EOSIN, INK, QUIET, VIOLET, new_figure
from eosin.reporting.wording import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.artefacts.estimate import Estimate

_ROW = 0.34  # inches a row takes


@dataclass(frozen=True, slots=True)
class Dot:
    """A row of a figure."""

    label: str  # what it is the figure of
    figure: Estimate  # where the dot stands, and its whisker where it has an interval
    # whether it is one of those to look at (pink, filled) or not (violet, open)
    strong: bool = True


def dots_figure(dots: Sequence[Dot], *, within: tuple[float, float] | None = None) -> Figure:
    """A row for each of ``dots``, the first on top, its value in figures at the right.

    Args:
        dots: the rows, one or more.
        within: ends of the axis, so that several figures share one; fitted to the dots where None.
    """
    figure, (axes,) = new_figure(4.6, 0.75 + _ROW * len(dots))
    for row, dot in enumerate(dots):
        colour = EOSIN if dot.strong else VIOLET
        found = dot.figure
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2, alpha=0.55)
        face = colour if dot.strong else "none"
        value = nan if found.value is None else found.value
        axes.plot(value, row, "o", markersize=6.5, color=colour, markerfacecolor=face, zorder=3)
    low, high = within or limits_of(dots)
    axes.set(xlim=(low, high), ylim=(len(dots) - 0.4, -0.6))
    label_rows(axes, [(dot.label, number(dot.figure.value)) for dot in dots])
    return figure


def label_rows(axes: Axes, rows: Sequence[tuple[str, str]]) -> None:
    """Each row's name at its left, and at the right edge, outside the axes, its value."""
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.tick_params(axis="y", colors=INK)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a model may be called "a$b$"
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    for row, (_, value) in enumerate(rows):
        axes.annotate(
            value,
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=QUIET,
        )


def limits_of(dots: Sequence[Dot], *always: float) -> tuple[float, float]:
    """Ends of an axis that holds every whisker and the values ``always``, with a little room."""
    shown = [x for dot in dots for x in (dot.figure.value, dot.figure.low, dot.figure.high)]
    ends = [x for x in (*shown, *always) if x is not None]
    room = 0.04 * (max(ends) - min(ends)) or 0.05
    return min(ends) - room, max(ends) + room
