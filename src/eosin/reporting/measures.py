"""Tables of an Evaluation: every measure, each class, each magnification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        explained = f"{meaning.sentence}{lower}" + (f"\n{remark}" if remark else "")
        rows.append((meaning.title, *cells, explained))
    columns = ["Measure", f"By image\n{_n(evaluation)}"]
    if by_patient is not None:
        columns.append(f"By patient\n{_n(by_patient)}")
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
    rows = []
    for scope, name in scopes:
        found = [evaluation.value(metric, scope) for metric in metrics]
        rows.append(
            (
                name,
                *map(cell, found),
                f"{found[0].images:,}",
                f"{found[0].patients:,}",
            )
        )
    columns = (first, *(GLOSSARY[metric].title for metric in metrics), "Images", "Patients")
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def _n(evaluation: Evaluation) -> str:
    if not evaluation.patient_table:
        return counted(evaluation.images, "image")
    return f"{counted(evaluation.images, 'image')}, {counted(evaluation.patients, 'patient')}"
