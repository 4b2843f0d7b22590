"""The columns of a predictions table that say how far to trust a row, and what they may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eosin.artefacts.cells import require_cells
from eosin.artefacts.reference import ABSTAIN, FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.reference import Trust
    from eosin.tasks import Task

TRUST_COLUMNS: Final = ("familiarity", "flags", "set", "answer")
JOIN: Final = "|"  # between the classes of a set


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
