"""The section of a study's page on several draws of the folds: what to expect of one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.reporting.stain_effects import difference_cell
from eosin.reporting.tables import Table
from eosin.reporting.wording import capital, counted, figure, measured, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.evaluation.draws import MeanFigure


@dataclass(frozen=True, slots=True)
class DrawsRow:
    """One model under one protocol, over several draws of its folds.

    Attributes:
        model: its name as a reader should see it.
        protocol: the protocol's name.
        leaky: whether patients cross its splits.
        figures: the means over draws.
        against: the model that ``gains`` are counted from; empty for that model itself.
        gains: the means of this model minus that one, draw by draw.
    """

    model: str
    protocol: str
    leaky: bool
    figures: tuple[MeanFigure, ...]
    against: str = ""
    gains: tuple[MeanFigure, ...] = ()


def draws_tables(rows: Sequence[DrawsRow]) -> tuple[Table, ...]:
    """For each protocol the means, and what each model adds to the first; none without rows."""
    tables = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        own = [row for row in rows if row.protocol == protocol]
        tables.append(_means(protocol, own))
        if any(row.gains for row in own):
            tables.append(_gains(protocol, [row for row in own if row.gains]))
    return tuple(tables)


def draws_frame(rows: Sequence[DrawsRow]) -> pd.DataFrame:
    """One row a figure.

    Columns: model, protocol, leaky, against (empty: the figure itself), level, metric, value, low,
    high, least, most, draws, images, patients, note.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "model": row.model,
            "protocol": row.protocol,
            "leaky": row.leaky,
            "against": against,
            "level": found.mean.level,
            "metric": found.mean.metric,
            "value": found.mean.value,
            "low": found.mean.low,
            "high": found.mean.high,
            "least": found.least,
            "most": found.most,
            "draws": found.draws,
            "images": found.mean.images,
            "patients": found.mean.patients,
            "note": found.mean.note,
        }
        for row in rows
        for against, figures in (("", row.figures), (row.against, row.gains))
        for found in figures
    )


def _means(protocol: str, rows: Sequence[DrawsRow]) -> Table:
    first = rows[0].figures
    counts = "; ".join(
        dict.fromkeys(
            f"{counted(found.mean.patients, 'patient')} at {found.mean.level} level"
            for found in first
        )
    )
    caption = (
        f"{protocol}: means over {counted(first[0].draws, 'draw')} of the folds, with 95 % "
        f"intervals over patients ({counts}); below them the worst and the best draw."
    )
    cells = [(row.model, *map(_cell, row.figures)) for row in rows]
    return Table(caption, ("Model", *map(_title, first)), tuple(cells), _figures(first))


def _gains(protocol: str, rows: Sequence[DrawsRow]) -> Table:
    caption = (
        f"{protocol}: each model minus {rows[0].against}, draw by draw, with paired 95 % intervals "
        "over patients. An interval that includes zero is no evidence either way."
    )
    cells = [(row.model, *(difference_cell(gain.mean) for gain in row.gains)) for row in rows]
    return Table(
        caption, ("Model", *map(_title, rows[0].gains)), tuple(cells), _figures(rows[0].gains)
    )


def _figures(figures: Sequence[MeanFigure]) -> frozenset[int]:
    return frozenset(range(1, len(figures) + 1))


def _title(found: MeanFigure) -> str:
    return capital(measured(found.mean))


def _cell(found: MeanFigure) -> str:
    if found.mean.value is None:
        return f"–\n{found.mean.note}"
    return f"{figure(found.mean)}\n{number(found.least)} to {number(found.most)}"
