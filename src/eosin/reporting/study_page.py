"""The page of a study: the leakage meter first, then every model under every protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.files import write_text
from eosin.reporting.draws_section import draws_tables
from eosin.reporting.html import render
from eosin.reporting.stain_effects import stain_section
from eosin.reporting.tables import Table
from eosin.reporting.wording import counted, with_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.evaluation.leakage import Leakage, MeterRow
    from eosin.reporting.draws_section import DrawsRow
    from eosin.reporting.stain_effects import StainRow

_METRICS = {
    "roc_auc": "ROC AUC",
    "macro_roc_auc": "Macro ROC AUC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "macro_f1": "Macro F1",
}


@dataclass(frozen=True)
class StudyFacts:
    """What the page says beside the figures.

    Attributes:
        title: of the study.
        dataset: its name.
        images: how many were read.
        patients: how many; 0 where they are unknown.
        settings: name and value of each setting.
        failures: cell and reason of each that could not be done.

    """

    title: str
    dataset: str
    images: int
    patients: int
    settings: tuple[tuple[str, str], ...]
    failures: tuple[tuple[str, str], ...] = ()


def write_study_page(
    facts: StudyFacts,
    meter: Sequence[MeterRow],
    frame: pd.DataFrame,
    path: Path,
    *,
    stains: Sequence[StainRow] = (),
    draws: Sequence[DrawsRow] = (),
) -> Path:
    """Write a study as one self-contained HTML file.

    Args:
        facts: what the study was.
        meter: the leakage meter, one row a model and leaky protocol; may be empty.
        frame: one row a model, protocol and level, as ``study.table.result_frame`` gives it.
        path: of the page.
        stains: what each stain step changes against none; may be empty.
        draws: each model over several draws of the folds; may be empty.

    """
    section = stain_section(stains)
    known = {
        "title": facts.title,
        "sentence": _sentence(meter),
        "cover": _cover(facts, frame),
        "meters": [_meter(row) for row in meter],
        "stains": section,
        "draws": draws_tables(draws),
        "tables": _tables(frame),
        "failures": _failures(facts),
        "settings": facts.settings,
    }
    contents = [("meter", "Leakage meter")]
    contents += [("stains", section.title)] if section else []
    contents += [("draws", "Over all draws of the folds")] if draws else []
    contents += [("results", "Every model, every protocol")]
    contents += [("failures", "What failed")] if facts.failures else []
    contents += [("settings", "Settings"), ("limits", "How to read this")]
    write_text(path, render("study.html", {**known, "contents": contents}))
    return path


def _sentence(meter: Sequence[MeterRow]) -> str:
    gaps: dict[str, list[Leakage]] = {}
    for row in meter:
        own = gaps.setdefault(row.leaky_protocol, [])
        own += [leak for leak in row.leaks if leak.metric == "accuracy"]
    if not gaps:
        return (
            "No leaky protocol stands beside a patient-level one in this study, so there is no "
            "leak to measure."
        )
    return " ".join(_flattery(protocol, leaks) for protocol, leaks in gaps.items())


def _flattery(protocol: str, leaks: Sequence[Leakage]) -> str:
    worst = max(leaks, key=lambda leak: leak.difference)
    beyond = [leak for leak in leaks if leak.low is not None and leak.low > 0]
    if not beyond:
        return f"“{protocol}” flatters no model of this study in accuracy beyond chance."
    return (
        f"“{protocol}” flatters {len(beyond)} of {counted(len(leaks), 'model')}, at most by "
        f"{worst.difference:.2f} accuracy: {worst.leaky:.3f} for a model that gets "
        f"{worst.honest:.3f} on patients it has not seen."
    )


def _cover(facts: StudyFacts, frame: pd.DataFrame) -> list[tuple[str, str]]:
    patients = f"{facts.patients:,}" if facts.patients else "not known"
    models = frame["model"].nunique() if len(frame) else 0
    protocols = frame["protocol"].nunique() if len(frame) else 0
    return [
        ("Dataset", facts.dataset),
        ("Images", f"{facts.images:,}"),
        ("Patients", patients),
        ("Models and ensembles", f"{models}"),
        ("Protocols", f"{protocols}"),
    ]


def _meter(row: MeterRow) -> dict[str, object]:
    return {
        "model": row.model,
        "leaky": row.leaky_protocol,
        "honest": row.honest_protocol,
        "gauges": [_gauge(leak) for leak in row.leaks],
    }


def _gauge(leak: Leakage) -> dict[str, object]:
    low, high = sorted((leak.honest, leak.leaky))
    between = (
        "" if leak.low is None or leak.high is None else f"[{leak.low:+.3f}, {leak.high:+.3f}]"
    )
    return {
        "metric": _METRICS.get(leak.metric, leak.metric),
        "honest": f"{leak.honest:.3f}",
        "leaky": f"{leak.leaky:.3f}",
        "difference": f"{leak.difference:+.3f}",
        "between": between,
        "sentence": leak.sentence,
        "beyond": leak.low is not None and leak.low > 0,
        "patients": counted(leak.patients, "patient"),
        "from": f"{100 * low:.1f}%",
        "width": f"{100 * (high - low):.1f}%",
        "honest_at": f"{100 * leak.honest:.1f}%",
        "leaky_at": f"{100 * leak.leaky:.1f}%",
    }


def _tables(frame: pd.DataFrame) -> list[Table]:
    tables = []
    for (protocol, level), part in frame.groupby(["protocol", "level"], sort=False):
        metrics = [name for name in _METRICS if name in part.columns and part[name].notna().any()]
        columns = ("Model", *(_METRICS[name] for name in metrics), "Images", "Patients", "Seconds")
        rows = [
            (
                _name(row),
                *(_cell(row, name) for name in metrics),
                f"{row['images']:,}",
                f"{row['patients']:,}",
                f"{row['seconds']:.0f}",
            )
            for _, row in part.iterrows()
        ]
        caption = f"{protocol}, figures by {level}, each with its 95 % interval over patients."
        tables.append(Table(caption, columns, tuple(rows), frozenset(range(1, len(columns)))))
    return tables


def _name(row: pd.Series) -> str:
    details = [] if row["stain"] == "none" else [row["stain"]]
    return "\n".join([row["model"], ", ".join([*details, f"seed {row['seed']}"])])


def _cell(row: pd.Series, metric: str) -> str:
    import math

    value, low, high = (
        math.nan if row[name] is None else float(row[name])
        for name in (metric, f"{metric} low", f"{metric} high")
    )
    number, _, between = with_interval(value, low, high).partition(" ")
    return f"{number}\n{between}" if between else number


def _failures(facts: StudyFacts) -> Table | None:
    if not facts.failures:
        return None
    caption = "What could not be done, and why. The rest stands; run the study again to retry."
    return Table(caption, ("Cell", "Reason"), facts.failures, prose=frozenset({1}))
