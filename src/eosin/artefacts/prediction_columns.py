"""The columns of a predictions table, and what their cells may hold."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from eosin.artefacts.cells import require_cells
from eosin.artefacts.reference import ABSTAIN, FLAGS
from eosin.artefacts.tables import require_folds
from eosin.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from eosin.arrays import Floats
    from eosin.artefacts.reference import Trust
    from eosin.tasks import Task

TRUST_COLUMNS: Final = ("familiarity", "flags", "set", "answer")
JOIN: Final = "|"  # between the classes of a set
_PLAIN = re.compile(r"[0-9.eE+-]+")
_TOLERANCE = 1e-3  # of the sum of a row's probabilities


def as_number(cell: str) -> float:
    """A plain number; NaN where the cell is none."""
    try:
        return float(cell) if _PLAIN.fullmatch(cell) else math.nan
    except ValueError:
        return math.nan


def require_probabilities(values: Floats, paths: pd.Series) -> None:
    """DataError, naming the path, where a row (n, classes) is no distribution."""
    import numpy as np

    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1)
    bad |= np.abs(values.sum(axis=1) - 1) > _TOLERANCE
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{paths.iloc[row]}: probabilities {values[row].tolist()} are not in [0, 1] with sum 1"
        )


def require_choices(
    path: Path, frame: pd.DataFrame, task: Task, threshold: float | None, *, fix: str
) -> None:
    """DataError, naming the row, where labels, probabilities and choices contradict each other."""
    import numpy as np

    chances = [f"p_{name}" for name in task.classes]

    def require(fine: npt.ArrayLike, why: str, *columns: str) -> None:
        require_cells(path, frame, fine, f"{why}; {fix}", columns=columns)

    require_folds(path, frame)
    for column, allowed in (("label", ("",)), ("predicted", ()), ("decision", ())):
        named = frame[column].isin([*task.classes, *allowed])
        require(named, f"is none of {list(task.classes)}", column)
    values = frame[chances].to_numpy(np.float64)
    require(np.abs(values.sum(axis=1) - 1) <= _TOLERANCE, "do not sum to 1", *chances)
    index = np.array([task.index(name) for name in frame["predicted"]], dtype=np.int64)
    said = values[np.arange(len(frame)), index]
    require(said == values.max(axis=1), "is not the most probable class", "predicted", *chances)
    if not task.binary:
        require(frame["decision"] == frame["predicted"], "differ", "predicted", "decision")
    elif threshold is not None:
        positive = values[:, task.positive_index] >= threshold
        why = f"is not the choice at the threshold of {threshold!r}"
        require(positive == (frame["decision"] == task.positive), why, "decision", *chances)


def require_trust(
    path: Path, cells: pd.DataFrame, frame: pd.DataFrame, task: Task, trust: Trust, *, fix: str
) -> None:
    """DataError, naming the row, where the four columns are none or contradict each other.

    Args:
        path: the table, to be named.
        cells: its rows as they stand, the index as a spreadsheet counts them.
        frame: the same, familiarity as numbers.
        task: the classes.
        trust: how the columns were made.
        fix: what the user can do.
    """
    share, classes = frame["familiarity"], task.classes
    flags, sets = frame["flags"].str.split(), frame["set"].str.split(JOIN, regex=False)
    unfamiliar = frame["flags"].str.contains("unfamiliar")
    sure = (frame["set"] == frame["decision"]) & (frame["flags"] == "")
    answers = frame["decision"].where(sure, ABSTAIN)
    low = share < trust.unfamiliar_below
    for column, fine, why in (
        ("familiarity", share.between(0, 1) | (cells["familiarity"] == ""), "is no share"),
        ("flags", flags.map(set(FLAGS).issuperset), f"are none of {list(FLAGS)}"),
        ("flags", low == unfamiliar, "do not say what familiarity does"),
        ("set", sets.map(set(classes).issuperset), f"is no set of {list(classes)}"),
        ("answer", frame["answer"] == answers, "is not what set, flags and decision say"),
    ):
        require_cells(path, cells, fine, f"{why}; {fix}", columns=[column])
