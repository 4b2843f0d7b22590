"""The plain tables of a page: what was scored, and the share right of each patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.reporting.wording import counted, number

if TYPE_CHECKING:
    import pandas as pd

    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True)
class Table:
    """A table ready for the page."""

    caption: str  # what it shows and what to look at
    columns: tuple[str, ...]  # the headings
    rows: tuple[tuple[str, ...], ...]  # cells as text; the first of each row names it
    numeric: frozenset[int] = frozenset()  # indices of the columns that are set flush right
    total: bool = False  # whether the last row sums the others up
    prose: frozenset[int] = frozenset()  # indices of the columns whose text may wrap
    links: tuple[str, ...] = ()  # of each row, where its name leads; empty for nowhere


def dataset_table(predictions: Predictions, *, patients: bool = True) -> Table:
    """Images, and patients where these are known, of every class at every magnification."""
    frame = predictions.frame
    steps = sorted(set(frame["magnification"]) - {""}, key=_as_number)
    parts = [(name, frame[frame["label"] == name]) for name in predictions.task.classes]
    rows = []
    for name, part in [*parts, ("All", frame)]:
        cells = [part[part["magnification"] == step] for step in steps]
        counts = [_count(cell, patients=patients) for cell in cells]
        rows.append((name, *counts, *_totals(part, patients=patients)))
    columns = ("Class", *(f"{step}×" for step in steps), *_total_names(patients=patients))
    caption = "Images scored, by true class"
    if steps:
        caption += " and magnification" + (" (patients in brackets)" if patients else "")
    if patients and (frame.groupby("patient")["label"].nunique() > 1).any():
        caption += ". A patient with images of two classes counts in both rows, once in the last"
    numeric = frozenset(range(1, len(columns)))
    return Table(f"{caption}.", columns, tuple(rows), numeric, total=True)


def fold_table(predictions: Predictions, *, patients: bool = True) -> Table | None:
    """Images, and patients where these are known, of every fold; None where there are no folds."""
    frame = predictions.frame
    folds = sorted(set(frame["fold"]) - {""}, key=_as_number)
    if not folds:
        return None
    classes = predictions.task.classes
    rows = []
    for fold in folds:
        part = frame[frame["fold"] == fold]
        held = [f"{int((part['label'] == name).sum()):,}" for name in classes]
        rows.append((f"Fold {fold}", *held, *_totals(part, patients=patients)))
    columns = ("Held out", *classes, *_total_names(patients=patients))
    caption = (
        "What each fold held out. Each image was scored by the model that did not train on it."
    )
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def patient_table(evaluation: Evaluation) -> Table | None:
    """Every patient, the least well recognised first; None where patients are not known.

    The recognition rate is the share of a patient's images classified right (Spanhol et al. 2016,
    equation 1).
    """
    task = evaluation.task
    if not evaluation.patient_table:
        return None
    ranked = sorted(
        evaluation.patient_table, key=lambda row: (row.recognition_rate, -row.images, row.patient)
    )
    rows = tuple(
        (
            row.patient,
            " / ".join(row.labels),
            number(row.recognition_rate),
            f"{row.images:,}",
            *(number(row.probabilities[index]) for index in _asked(task)),
        )
        for row in ranked
    )
    asked = [f"Mean P({task.classes[index]})" for index in _asked(task)]
    columns = ("Patient", "True class", "Recognition rate", "Images", *asked)
    caption = f"{counted(len(rows), 'patient')}, worst recognised first."
    return Table(caption, columns, rows, frozenset(range(2, len(columns))))


def patients_in(rows: pd.DataFrame) -> int:
    """How many patients rows of a predictions table show; an image without one is its own."""
    return int(rows["patient"].where(rows["patient"] != "", rows["path"]).nunique())


def _asked(task: Task) -> tuple[int, ...]:
    return (task.positive_index,) if task.binary else tuple(range(len(task.classes)))


def _count(part: pd.DataFrame, *, patients: bool) -> str:
    return f"{len(part):,}" + (f" ({patients_in(part):,})" if patients else "")


def _totals(part: pd.DataFrame, *, patients: bool) -> tuple[str, ...]:
    images = f"{len(part):,}"
    return (images, f"{patients_in(part):,}") if patients else (images,)


def _total_names(*, patients: bool) -> tuple[str, ...]:
    return ("Images", "Patients") if patients else ("Images",)


def _as_number(text: str) -> tuple[float, str]:
    return (float(text), text) if text.replace(".", "", 1).isdigit() else (float("inf"), text)
