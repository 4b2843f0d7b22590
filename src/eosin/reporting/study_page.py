"""The page of a study: the leakage meter first, then every model under every protocol."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.files import write_text
from eosin.reporting.draws_section import draws_tables
from eosin.reporting.html import render
from eosin.reporting.stain_effects import stain_section
from eosin.reporting.tables import Table
from eosin.reporting.wording import counted, figure, interval, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.estimate import Estimate, Level
    from eosin.evaluation.leakage import Leakage, MeterRow
    from eosin.reporting.draws_section import DrawsRow
    from eosin.reporting.stain_effects import StainRow


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The headline figures of one model under one protocol, at one level.

    Attributes:
        model: its name, without the stain step.
        vote: of an ensemble; else empty.
        stain: the step; ``"none"`` where there is none.
        protocol: the protocol's name.
        leaky: whether patients cross its splits.
        seed: of the split.
        level: whether images or patients were scored.
        images, patients: how many.
        seconds: that it took.
        figures: the same metrics in every row of a study.
    """

    model: str
    vote: str
    stain: str
    protocol: str
    leaky: bool
    seed: int
    level: Level
    images: int
    patients: int
    seconds: float
    figures: tuple[Estimate, ...]


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


def result_frame(results: Sequence[ResultRow]) -> pd.DataFrame:
    """One row a model, protocol and level: every headline figure with its interval and n.

    Columns: model, vote, stain, protocol, leaky, seed, level, images, patients, seconds, then
    for each metric its value, ``<metric> low`` and ``<metric> high``.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            **{each.name: getattr(row, each.name) for each in fields(row)[:-1]},
            **{
                column: value
                for each in row.figures
                for column, value in (
                    (each.metric, each.value),
                    (f"{each.metric} low", each.low),
                    (f"{each.metric} high", each.high),
                )
            },
        }
        for row in results
    )


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
    models = len({row.model for row in results})
    protocols = len({row.protocol for row in results})
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
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in results:
        groups.setdefault((row.protocol, row.level), []).append(row)
    return [_table(protocol, level, rows) for (protocol, level), rows in groups.items()]


def _table(protocol: str, level: str, rows: Sequence[ResultRow]) -> Table:
    metrics = [each.metric for each in rows[0].figures]
    columns = (
        "Model",
        *(GLOSSARY[name].title for name in metrics),
        "Images",
        "Patients",
        "Seconds",
    )
    cells = tuple(
        (
            _name(row),
            *(figure(each, gap="\n") for each in row.figures),
            f"{row.images:,}",
            f"{row.patients:,}",
            f"{row.seconds:.0f}",
        )
        for row in rows
    )
    caption = f"{protocol}, figures by {level}, each with its 95 % interval over patients."
    return Table(caption, columns, cells, frozenset(range(1, len(columns))))


def _name(row: ResultRow) -> str:
    details = [] if row.stain == "none" else [row.stain]
    return "\n".join([row.model, ", ".join([*details, f"seed {row.seed}"])])


def _failures(facts: StudyFacts) -> Table | None:
    if not facts.failures:
        return None
    caption = "What could not be done, and why. The rest stands; run the study again to retry."
    return Table(caption, ("Cell", "Reason"), facts.failures, prose=frozenset({1}))
