"""The page of a study: what leakage adds first, then every model under every protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from eosin.artefacts.glossary import GLOSSARY
from eosin.files import write_text
from eosin.reporting.canvas import CARD, EOSIN, VIOLET, Drawing, as_drawing, new_figure
from eosin.reporting.dots import label_rows
from eosin.reporting.draws_section import draws_tables
from eosin.reporting.html import render
from eosin.reporting.stain_effects import stain_section
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, counted, number

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
    report: str = ""  # link to its own report, from the page


@dataclass(frozen=True)
class StudyFacts:
    """What the page says beside the figures."""

    title: str  # of the study
    dataset: str  # its name
    models: int  # how many models and ensembles have a result
    images: int  # how many were read
    patients: int  # how many; 0 where they are unknown
    settings: tuple[tuple[str, str], ...]  # name and value of each setting
    failures: tuple[tuple[str, str], ...] = ()  # cell and reason of each that could not be done
    # title and link of each comparison and folder of heatmaps, from the page
    pages: tuple[tuple[str, str], ...] = ()


def headline_figures(evaluation: Evaluation) -> list[Estimate]:
    """What a study tells of each model."""
    area = "roc_auc" if evaluation.task.binary else "macro_roc_auc"
    within = ["within_roc_auc"] if evaluation.has("within_roc_auc") else []
    return [evaluation.value(metric) for metric in (area, *within, *_METRICS)]


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
        meter: what leakage adds, one row a model and leaky protocol; may be empty.
        results: one row a model, protocol and level.
        path: of the page.
        stains: what each stain step changes against none; may be empty.
        draws: each model over several draws of the folds; may be empty.
    """
    section, protocols = stain_section(stains), _protocols(results)
    known = {
        "title": facts.title,
        "sentence": _sentence(meter),
        "cover": _cover(facts, results),
        "meters": _meters(meter),
        "stains": section,
        "draws": draws_tables(draws),
        "protocols": protocols,
        "pages": facts.pages,
        "failures": _failures(facts),
        "settings": facts.settings,
    }
    contents = [("meter", "What leakage adds")]
    contents += [("stains", section.title)] if section else []
    contents += [("draws", "Over all draws of the folds")] if draws else []
    contents += [("results", "Every model, every protocol")]
    contents += [(f"results-{number}", name) for number, (name, _) in enumerate(protocols, 1)]
    contents += [("pages", "Comparisons and heatmaps")] if facts.pages else []
    contents += [("failures", "What failed")] if facts.failures else []
    contents += [("settings", "Settings"), ("limits", "How to read this")]
    write_text(path, render("study.html", {**known, "contents": contents}))
    return path


def _sentence(meter: Sequence[MeterRow]) -> str:
    gaps: dict[tuple[str, str], list[Leakage]] = {}
    for row in meter:
        own = gaps.setdefault((row.leaky_protocol, row.honest_protocol), [])
        own += [leak for leak in row.leaks if leak.added.metric == "accuracy"]
    if not gaps:
        return (
            "No leaky protocol stands beside a patient-level one in this study, so there is no "
            "leak to measure."
        )
    return " ".join(_inflation(*protocols, leaks) for protocols, leaks in gaps.items())


def _inflation(protocol: str, honest: str, leaks: Sequence[Leakage]) -> str:
    worst = max(leaks, key=lambda leak: leak.added.value or 0)
    beyond = [leak for leak in leaks if leak.inflates]
    if not beyond:
        return (
            f"“{protocol}” inflates the accuracy of no model of this study beyond chance against "
            f"“{honest}”."
        )
    models = counted(len(leaks), "model")
    return (
        f"“{protocol}” inflates the accuracy of {len(beyond)} of {models}, at most by "
        f"{worst.added.value:.2f}: {number(worst.leaky)} for a model that gets "
        f"{number(worst.honest)} under “{honest}”."
    )


def _cover(facts: StudyFacts, results: Sequence[ResultRow]) -> list[tuple[str, str]]:
    patients = f"{facts.patients:,}" if facts.patients else "not known"
    protocols = {row.evaluation.provenance.protocol.name for row in results}
    pseudo = any(row.evaluation.provenance.protocol.pseudo for row in results)
    return [
        ("Dataset", facts.dataset),
        ("Images", f"{facts.images:,}"),
        ("Pseudo-patients" if pseudo else "Patients", patients),
        ("Models and ensembles", f"{facts.models}"),
        ("Protocols", f"{len(protocols)}"),
    ]


def _meters(meter: Sequence[MeterRow]) -> list[tuple[str, list[Drawing], Table]]:
    """For each leaky protocol: its name and twin, a figure a metric of all models, the figures."""
    groups: dict[tuple[str, str], list[MeterRow]] = {}
    for row in meter:
        groups.setdefault((row.leaky_protocol, row.honest_protocol), []).append(row)
    found = []
    for pair, ((leaky, honest), rows) in enumerate(groups.items(), 1):
        metrics = dict.fromkeys(leak.added.metric for row in rows for leak in row.leaks)
        drawings = [
            _gauges(
                [
                    (row.model, leak)
                    for row in rows
                    for leak in row.leaks
                    if leak.added.metric == name
                ],
                name=f"meter-{pair}-{name}",
            )
            for name in metrics
        ]
        found.append((f"{leaky} against {honest}", drawings, _meter_table(rows)))
    return found


def _gauges(leaks: Sequence[tuple[str, Leakage]], *, name: str) -> Drawing:
    """One metric of every model: where patients apart and where the leak put it, from 0 to 1."""
    figure, (axes,) = new_figure(4.6, 0.75 + 0.34 * len(leaks))
    for row, (_, leak) in enumerate(leaks):
        ends = [math.nan if end is None else end for end in (leak.honest, leak.leaky)]
        axes.plot(ends, [row, row], color=EOSIN, linewidth=2.2, alpha=0.4)
        axes.plot(ends[0], row, "o", markersize=6.5, color=VIOLET, zorder=3)
        face = EOSIN if leak.inflates else CARD
        axes.plot(ends[1], row, "o", markersize=6.5, color=EOSIN, markerfacecolor=face, zorder=3)
    label_rows(axes, [(model, number(leak.added.value, signed=True)) for model, leak in leaks])
    axes.set(xlim=(0, 1), ylim=(len(leaks) - 0.4, -0.6))
    metric = GLOSSARY[leaks[0][1].added.metric].name
    caption = (
        "Violet: patients kept apart. Pink: the same patients on both sides, filled where that is "
        "better beyond chance. At the right what the leak adds."
    )
    return as_drawing(figure, name=name, title=f"What the leak adds to {metric}", caption=caption)


def _meter_table(rows: Sequence[MeterRow]) -> Table:
    metrics = dict.fromkeys(leak.added.metric for row in rows for leak in row.leaks)
    said = [{leak.added.metric: _leak_cell(leak) for leak in row.leaks} for row in rows]
    cells = tuple(
        (row.model, *(own.get(name, "") for name in metrics))
        for row, own in zip(rows, said, strict=True)
    )
    patients = counted(rows[0].leaks[0].added.patients, "patient")
    caption = (
        "Patients kept apart → the same patients on both sides; below it what the leak adds, with "
        f"its 95 % interval: {patients}, drawn whole and alike in both."
    )
    columns = ("Model", *(GLOSSARY[name].title for name in metrics))
    return Table(caption, columns, cells, frozenset(range(1, len(columns))))


def _leak_cell(leak: Leakage) -> str:
    added = cell(leak.added, signed=True).replace("\n", " ")
    return f"{number(leak.honest)} → {number(leak.leaky)}\n{added}"


def _protocols(results: Sequence[ResultRow]) -> list[tuple[str, list[Table]]]:
    """The tables of each protocol, by level."""
    groups: dict[str, dict[Level, list[ResultRow]]] = {}
    for row in results:
        levels = groups.setdefault(row.evaluation.provenance.protocol.name, {})
        levels.setdefault(row.evaluation.level, []).append(row)
    return [
        (protocol, [_table(protocol, level, rows) for level, rows in levels.items()])
        for protocol, levels in groups.items()
    ]


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
    links = tuple(row.report for row in rows)
    if any(links):
        caption += " A name leads to the model's own report."
    return Table(caption, columns, cells, frozenset(range(1, len(columns))), links=links)


def _failures(facts: StudyFacts) -> Table | None:
    if not facts.failures:
        return None
    caption = "What could not be done, and why. The rest stands; run the study again to retry."
    return Table(caption, ("Cell", "Reason"), facts.failures, prose=frozenset({1}))
