"""How benchmarks print means over draws of the folds."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from eosin.evaluation.draws import MeanFigure


def print_means(figures: tuple[MeanFigure, ...], *, title: str) -> None:
    """Print the means with their intervals."""
    table = Table(title=title)
    for column in ("level", "metric", "mean", "95 % interval", "draws", "patients"):
        table.add_column(column)
    for figure in figures:
        known = figure.low is not None and figure.high is not None
        between = f"[{figure.low:.3f}, {figure.high:.3f}]" if known else figure.note
        value = "-" if figure.value is None else f"{figure.value:.3f}"
        spread = "" if figure.least is None else f"{figure.least:.3f} to {figure.most:.3f}"
        table.add_row(figure.level, figure.metric, value, between, spread, str(figure.patients))
    Console(width=110).print(table)
