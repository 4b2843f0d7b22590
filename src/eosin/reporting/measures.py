"""Tables of an Evaluation: every measure, each class, each magnification, who is taken for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Ints
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation

_CLASS_METRICS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")


def overall_table(evaluation: Evaluation, by_patient: Evaluation | None) -> Table:
    """Every measure of the whole at both levels, what it means and what must be known of it."""
    rows = []
    levels = [evaluation] if by_patient is None else [evaluation, by_patient]
    for found in evaluation.estimates:
        if found.scope != ALL:
            continue
        meaning = GLOSSARY[found.metric]
        both = [level.value(found.metric) if level.has(found.metric) else None for level in levels]
        cells = [cell(each) if each else "" for each in both]
        remark = "; ".join(dict.fromkeys(each.note for each in both if each and each.note))
        lower = " Lower is better." if meaning.better == "lower" else ""
        rule = f" ({meaning.rule})" if meaning.rule else ""
        explained = f"{meaning.sentence}{rule}{lower}" + (f"\n{remark}" if remark else "")
        rows.append((meaning.title, *cells, explained))
    columns = ["Measure", f"By image\n{_n(evaluation, evaluation)}"]
    if by_patient is not None:
        columns.append(f"By patient\n{_n(evaluation, by_patient)}")
    columns.append("What it says")
    last = len(columns) - 1
    caption = "All measures."
    return Table(
        caption, tuple(columns), tuple(rows), frozenset(range(1, last)), prose=frozenset({last})
    )


def class_table(evaluation: Evaluation) -> Table:
    """The measures of each class against the others."""
    scopes = [(Scope(name), name) for name in evaluation.task.classes]
    caption = "Each class against all others, at the most probable class."
    return _scope_table(evaluation, "Class", scopes, metrics=_CLASS_METRICS, caption=caption)


def magnification_table(evaluation: Evaluation) -> Table | None:
    """The main measures at each magnification; None where there is one only."""
    steps = [
        (scope, f"{scope.magnification}×")
        for scope in evaluation.scopes
        if scope.magnification is not None and scope.class_name is None
    ]
    if not steps:
        return None
    task = evaluation.task
    ranking = "roc_auc" if task.binary else "macro_roc_auc"
    metrics = ["accuracy", "balanced_accuracy", ranking, "macro_f1"]
    metrics += ["quadratic_kappa"] if task.ordinal else []
    caption = "The same patients can stand in several rows. Look for a magnification that fails."
    return _scope_table(evaluation, "Magnification", steps, metrics=metrics, caption=caption)


def _scope_table(
    evaluation: Evaluation,
    first: str,
    scopes: Sequence[tuple[Scope, str]],
    *,
    metrics: Sequence[str],
    caption: str,
) -> Table:
    """A row a scope; the n of a row stands at its end, or below each figure where they differ."""
    rows, own = [], True
    for scope, name in scopes:
        found = [evaluation.value(metric, scope) for metric in metrics]
        own = scope.class_name is not None
        cells = [
            f"{cell(each)}\nof {_n(evaluation, each)}" if own else cell(each) for each in found
        ]
        rows.append((name, *cells) if own else (name, *cells, _n(evaluation, found[0])))
    columns = (first, *(GLOSSARY[metric].title for metric in metrics), *(() if own else ("n",)))
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def _n(evaluation: Evaluation, found: Evaluation | Estimate) -> str:
    """The n in images, and in patients where these are known."""
    images = counted(found.images, "image")
    known = bool(evaluation.patient_table) or evaluation.level == "patient"
    return f"{images}, {counted(found.patients, 'patient')}" if known else images


@dataclass(frozen=True)
class Cell:
    """One cell: its text, how dark it is in per cent, and whether it lies on the diagonal."""

    text: str
    shade: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix ready for the page: true classes down, predicted ones across."""

    title: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def count_matrix(counts: Ints, classes: Sequence[str], *, suffix: str = "") -> Matrix:
    """Images in each (true, predicted) cell, shaded by their share of the fullest cell."""
    fullest = max(int(counts.max()), 1)
    rows = [
        (name, tuple(Cell(f"{n:,}", round(100 * n / fullest), i == j) for j, n in enumerate(row)))
        for i, (name, row) in enumerate(zip(classes, counts.tolist(), strict=True))
    ]
    return Matrix(f"Images{suffix}", tuple(classes), tuple(rows))


def row_matrix(counts: Ints, classes: Sequence[str], *, suffix: str = "") -> Matrix:
    """Share of each true class in each cell: the diagonal is the recall. Empty rows show a dash."""
    rows = []
    for i, (name, row) in enumerate(zip(classes, counts.tolist(), strict=True)):
        total = sum(row)
        cells = [
            Cell(
                f"{n / total:.3f}" if total else "–", round(100 * n / total) if total else 0, i == j
            )
            for j, n in enumerate(row)
        ]
        rows.append((name, tuple(cells)))
    return Matrix(f"Share of each true class{suffix}", tuple(classes), tuple(rows))
