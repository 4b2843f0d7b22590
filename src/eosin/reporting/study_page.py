"""The page of a study: the leakage meter first, then every model under every protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from eosin.artefacts.glossary import GLOSSARY
from eosin.files import write_text
from eosin.reporting.draws_section import draws_tables
from eosin.reporting.html import render
from eosin.reporting.stain_effects import stain_section
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, counted, interval, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.estimate import Estimate, Level
    from eosin.artefacts.evaluation import Evaluation
    from eosin.evaluation.leakage import Leakage, MeterRow
    from eosin.reporting.draws_section import DrawsRow
    from eosin.reporting.stain_effects import StainRow

_METRICS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1")


class ResultRow(NamedTuple):
    """One model at one level: what to call it, what it got, and the seconds that took."""

    name: str
    evaluation: Evaluation
    seconds: float


@dataclass(frozen=True)
class StudyFacts:
    """What the page says beside the figures.

    Attributes:
        title: of the study.
        dataset: its name.
        models: how many models and ensembles have a result.
        images: how many were read.
        patients: how many; 0 where they are unknown.
        settings: name and value of each setting.
        failures: cell and reason of each that could not be done.

    """

    title: str
    dataset: str
    models: int
    images: int
    patients: int
    settings: tuple[tuple[str, str], ...]
    failures: tuple[tuple[str, str], ...] = ()


def headline_figures(evaluation: Evaluation) -> list[Estimate]:
    """What a study tells of each model."""
    area = "roc_auc" if evaluation.task.binary else "macro_roc_auc"
    return [evaluation.value(metric) for metric in (area, *_METRICS)]


def write_study_page(
    facts: StudyFacts,
    meter: Sequence[MeterRow],
    results: Sequence[ResultRow],
    path: Path,
    *,
    stains: Sequence[StainRow] = (),
    draws: Sequence[DrawsRow] = (),
) -> Path:
    """Write a study as one self-contained HTML file.

    Args:
        facts: what the study was.
        meter: the leakage meter, one row a model and leaky protocol; may be empty.
        results: one row a model, protocol and level.
        path: of the page.
        stains: what each stain step changes against none; may be empty.
        draws: each model over several draws of the folds; may be empty.

    """
    section = stain_section(stains)
    known = {
        "title": facts.title,
        "sentence": _sentence(meter),
        "cover": _cover(facts, results),
        "meters": [_meter(row) for row in meter],
        "stains": section,
        "draws": draws_tables(draws),
        "tables": _tables(results),
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
        own += [leak for leak in row.leaks if leak.added.metric == "accuracy"]
    if not gaps:
        return (
            "No leaky protocol stands beside a patient-level one in this study, so there is no "
            "leak to measure."
        )
    return " ".join(_flattery(protocol, leaks) for protocol, leaks in gaps.items())


def _flattery(protocol: str, leaks: Sequence[Leakage]) -> str:
    worst = max(leaks, key=lambda leak: leak.added.value or 0)
    beyond = [leak for leak in leaks if leak.flatters]
    if not beyond:
        return f"“{protocol}” flatters no model of this study in accuracy beyond chance."
    return (
        f"“{protocol}” flatters {len(beyond)} of {counted(len(leaks), 'model')}, at most by "
        f"{worst.added.value:.2f} accuracy: {number(worst.leaky)} for a model that gets "
        f"{number(worst.honest)} on patients it has not seen."
    )


def _cover(facts: StudyFacts, results: Sequence[ResultRow]) -> list[tuple[str, str]]:
    patients = f"{facts.patients:,}" if facts.patients else "not known"
    protocols = {row.evaluation.provenance.protocol.name for row in results}
    return [
        ("Dataset", facts.dataset),
        ("Images", f"{facts.images:,}"),
        ("Patients", patients),
        ("Models and ensembles", f"{facts.models}"),
        ("Protocols", f"{len(protocols)}"),
    ]


def _meter(row: MeterRow) -> dict[str, object]:
    return {
        "model": row.model,
        "leaky": row.leaky_protocol,
        "honest": row.honest_protocol,
        "gauges": [_gauge(leak) for leak in row.leaks],
    }


def _gauge(leak: Leakage) -> dict[str, object]:
    honest, leaky = (100 * (value or 0.0) for value in (leak.honest, leak.leaky))
    return {
        "metric": GLOSSARY[leak.added.metric].title,
        "honest": number(leak.honest),
        "leaky": number(leak.leaky),
        "difference": number(leak.added.value, signed=True),
        "between": interval(leak.added, signed=True),
        "sentence": leak.sentence,
        "beyond": leak.flatters,
        "patients": counted(leak.added.patients, "patient"),
        "from": f"{min(honest, leaky):.1f}%",
        "width": f"{abs(leaky - honest):.1f}%",
        "honest_at": f"{honest:.1f}%",
        "leaky_at": f"{leaky:.1f}%",
    }


def _tables(results: Sequence[ResultRow]) -> list[Table]:
    groups: dict[tuple[str, Level], list[ResultRow]] = {}
    for row in results:
        key = row.evaluation.provenance.protocol.name, row.evaluation.level
        groups.setdefault(key, []).append(row)
    return [_table(protocol, level, rows) for (protocol, level), rows in groups.items()]


def _table(protocol: str, level: Level, rows: Sequence[ResultRow]) -> Table:
    titles = [GLOSSARY[each.metric].title for each in headline_figures(rows[0].evaluation)]
    columns = ("Model", *titles, "Images", "Patients", "Seconds")
    cells = tuple(
        (
            row.name,
            *map(cell, headline_figures(row.evaluation)),
            f"{row.evaluation.images:,}",
            f"{row.evaluation.patients:,}",
            f"{row.seconds:.0f}",
        )
        for row in rows
    )
    caption = f"{protocol}, figures by {level}, each with its 95 % interval over patients."
    return Table(caption, columns, cells, frozenset(range(1, len(columns))))


def _failures(facts: StudyFacts) -> Table | None:
    if not facts.failures:
        return None
    caption = "What could not be done, and why. The rest stands; run the study again to retry."
    return Table(caption, ("Cell", "Reason"), facts.failures, prose=frozenset({1}))
