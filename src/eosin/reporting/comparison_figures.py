"""The pictures of a Comparison: each measure over the models, shared mistakes, learning curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.canvas import (
    CARD,
    EOSIN,
    INK,
    QUIET,
    VIOLET,
    Drawing,
    as_drawing,
    new_figure,
    write_png,
)
from eosin.reporting.dots import Dot, dots_figure, limits_of
from eosin.reporting.learning import learning_sheet, panel_figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.artefacts.comparison import Comparison
    from eosin.artefacts.mistakes import Mistakes
    from eosin.reporting.learning import History
    from eosin.tasks import Task

_ALARM = "#a3140f"
_LEARNING = "Violet: training patients, pink: validation patients. All models on one scale."


@dataclass(frozen=True)
class Picture:
    """A figure with its words, for a page and for a file of its own."""

    name: str  # of the file, without ending
    figure: Figure  # to draw
    title: str  # what it shows, without a full stop
    caption: str  # what to look at

    def drawing(self) -> Drawing:
        """The figure as it stands in a page."""
        return as_drawing(self.figure, name=self.name, title=self.title, caption=self.caption)

    def write(self, folder: Path, *, footnote: str, alarm: bool = False) -> None:
        """Write the figure as ``<name>.png`` into ``folder``, with its title and a footnote.

        Args:
            folder: where it goes.
            footnote: what must not be lost when the picture travels alone: the protocol.
            alarm: whether the footnote is a warning, and red.
        """
        axes = self.figure.axes[0]
        if len(self.figure.axes) == 1:  # panels of a sheet have titles of their own
            axes.set_title(self.title, loc="left", fontsize=11, color=INK, parse_math=False)
        colour = _ALARM if alarm else QUIET
        self.figure.supxlabel(footnote, fontsize=8, color=colour, wrap=True)
        write_png(self.figure, folder / f"{self.name}.png")


def measure_pictures(comparison: Comparison) -> tuple[Picture, ...]:
    """Accuracy, precision, recall and F1 of every model, all on one scale, the most accurate first.

    Precision, recall and F1 are those of the positive class where there is one, else averages over
    classes. One that has no meaning on these images is left out.
    """
    rows = {
        asked: _dots(comparison, *asked[1:])
        for asked in _asked(comparison.task)
        if comparison.value(comparison.models[0], *asked[1:]).value is not None
    }
    within = limits_of([dot for dots in rows.values() for dot in dots])
    return tuple(
        Picture(
            name=name,
            figure=dots_figure(dots, within=within),
            title=", ".join(filter(None, (GLOSSARY[metric].title, scope.class_name))),
            caption=f"{GLOSSARY[metric].sentence} Filled: shares the first rank.",
        )
        for (name, metric, scope), dots in rows.items()
    )


def overlap_picture(comparison: Comparison) -> Picture:
    """How many mistakes each two models share."""
    caption = (
        "Images that both models get wrong; on the diagonal, those that one model does. The fuller "
        "the pink, the larger the share of either's mistakes that both make."
    )
    return Picture(
        "mistakes",
        overlap_figure(comparison.mistakes, comparison.models),
        "Shared mistakes",
        caption,
    )


def learning_picture(histories: Mapping[str, Mapping[str, History]]) -> Picture:
    """The learning curves of all models on one sheet."""
    return Picture("learning", learning_sheet(histories), "Learning curves", _LEARNING)


def learning_drawings(histories: Mapping[str, Mapping[str, History]]) -> tuple[Drawing, ...]:
    """The learning curves of all models, one drawing each."""
    return tuple(
        as_drawing(figure, name=f"learning-{number}", title=name, caption=_runs(histories[name]))
        for number, (name, figure) in enumerate(panel_figures(histories).items(), 1)
    )


def _asked(task: Task) -> tuple[tuple[str, str, Scope], ...]:
    """Each picture's name, its metric and what that is about."""
    macro, scope = ("", Scope(task.positive)) if task.binary else ("macro_", ALL)
    rest = ((name, f"{macro}{name}", scope) for name in ("precision", "recall", "f1"))
    return ("accuracy", "accuracy", ALL), *rest


def _dots(comparison: Comparison, metric: str, scope: Scope) -> list[Dot]:
    first = {ranked.model for ranked in comparison.ranking(metric, scope) if ranked.rank == 1}
    leaky = {name for name, p in comparison.provenance.items() if p.protocol.leaky}
    dots = []
    for ranked in comparison.ranking("accuracy"):
        found = comparison.value(ranked.model, metric, scope)
        if found.value is not None:
            strong = ranked.model in first
            label = f"{ranked.model} (leaky)" if ranked.model in leaky else ranked.model
            dots.append(Dot(label, found, strong))
    return dots


def _runs(runs: Mapping[str, History]) -> str:
    return f"{len(runs)} Runs, a line each." if len(runs) > 1 else ""


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
    numbered = [f"{name}  ·  {number}" for number, name in enumerate(names, 1)]
    axes.set(xlim=(-0.5, models - 0.5), ylim=(models - 0.5, -0.5), aspect="equal")
    axes.set_yticks(range(models), numbered)
    axes.set_xticks(range(models), [str(number) for number in range(1, models + 1)])
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
