"""The overlap matrix: how many mistakes each two models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.reporting.canvas import CARD, EOSIN, INK, VIOLET, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.artefacts.comparison import Mistakes

_CELL = 0.5  # inches


def overlap_figure(mistakes: Mistakes, names: Sequence[str]) -> Figure:
    """Counts of the named models' shared mistakes; the fuller the colour, the larger their share.

    The diagonal holds each model's own mistakes. Columns are numbered like the rows.
    """
    models = len(names)
    longest = max(len(name) for name in names)
    figure, (axes,) = new_figure(1.0 + 0.075 * longest + _CELL * models, 0.6 + _CELL * models)
    for row in range(models):
        for column in range(models):
            _draw_cell(axes, mistakes, row, column)
    numbered = [f"{name}  ·  {place}" for place, name in enumerate(names, 1)]
    axes.set(xlim=(-0.5, models - 0.5), ylim=(models - 0.5, -0.5), aspect="equal")
    axes.set_yticks(range(models), numbered)
    axes.set_xticks(range(models), [str(place) for place in range(1, models + 1)])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a model may be called "a$b$"
    axes.tick_params(axis="y", colors=INK)
    axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.set_layout_engine("constrained", w_pad=0.2)  # a page's own font may be wider
    return figure


def _draw_cell(axes: Axes, mistakes: Mistakes, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    own = row == column
    alpha = 0.16 if own else 0.06 + 0.9 * (mistakes.jaccard(row, column) or 0.0)
    colour = VIOLET if own else EOSIN
    corner = (column - 0.47, row - 0.47)
    axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=colour, alpha=alpha, linewidth=0))
    axes.text(
        column,
        row,
        f"{mistakes.wrong_shared[row][column]:,}",
        ha="center",
        va="center",
        fontsize=9,
        color=CARD if alpha > 0.62 else INK,
    )
