"""How benchmarks print means over draws of the folds."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from eosin.evaluation.draws import MeanFigure
from eosin.reporting.wording import interval, number


def print_means(figures: tuple[MeanFigure, ...], *, title: str) -> None:
    """Print the means with their intervals."""
    table = Table(title=title)
    for column in ("level", "metric", "mean", "95 % interval", "draws", "patients"):
        table.add_column(column)
    for figure in figures:
        mean = figure.mean
        between = interval(mean) or mean.note
        spread = "" if figure.least is None else f"{figure.least:.3f} to {figure.most:.3f}"
        row = (mean.level, mean.metric, number(mean.value), between, spread, str(mean.patients))
        table.add_row(*row)
    Console(width=110).print(table)
