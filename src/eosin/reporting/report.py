"""The report: one self-contained page on how a Run did on one Predictions table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.outputs import PAGE, require_output
from eosin.errors import DataError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.files import write_text
from eosin.reporting.galleries import Gallery, mistakes_gallery, sample_gallery
from eosin.reporting.html import render
from eosin.reporting.learning import describe_learning
from eosin.reporting.measures import (
    Matrix,
    class_table,
    count_matrix,
    magnification_table,
    overall_table,
    row_matrix,
)
from eosin.reporting.probabilities import calibration_section, ranking_section
from eosin.reporting.record import limits_of, settings_of
from eosin.reporting.tables import Table, dataset_table, fold_table, patient_table
from eosin.reporting.trust import trust_section
from eosin.reporting.verdict import Panel, banners, headline_panels, remarks, verdict_sentence
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.files import StrPath
    from eosin.networks.run import Run

_CONTENTS = (
    ("verdict", "Verdict"),
    ("data", "Data"),
    ("samples", "Sample images"),
    ("learning", "Learning"),
    ("confusion", "Confusion matrices"),
    ("curves", "ROC and precision-recall"),
    ("calibration", "Calibration"),
    ("trust", "Trust"),
    ("measures", "Measures in detail"),
    ("patients", "Per patient"),
    ("settings", "Settings and fingerprints"),
    ("limits", "Limits of use"),
)
_READING = (
    "The dot is the value, the bar its 95 % interval (percentiles of {resamples:,} resamples of "
    "whole patients), the dashed line what guessing would reach: for accuracy, always answering "
    "the commonest class."
)


@dataclass(frozen=True)
class ConfusionSection:
    """What to look at, the matrices, and whether they stand one below the other."""

    lead: str
    matrices: tuple[Matrix, ...]
    stacked: bool


def write_report(
    run: Run,
    predictions: Predictions,
    path: StrPath,
    *,
    evaluation: Evaluation | None = None,
    galleries: Sequence[Gallery] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> Path:
    """Write the report of ``predictions`` as one HTML file without links to anything outside.

    Args:
        run: the Run that made them; its settings, history and fingerprints are shown.
        predictions: labelled in full.
        path: of the HTML file; replaced in one step.
        evaluation: the image-level evaluation of ``predictions``; made here where None.
        galleries: further sections of images, such as heatmaps, after the mistakes.
        resamples: of the intervals made here.
        seed: of the resamples.

    Returns:
        ``path``.

    Raises:
        DataError: an image has no label, or the Run, the table and the evaluation do not belong
            together.
        ModelError: a member of the Run is missing or changed.
        ConfigError: ``path`` is of the Run, or a file that is no page of eosin's.
        DiskError: it cannot be written.
    """
    path = Path(path)
    require_output(path, PAGE, inputs=[run.folder])
    if evaluation is None:
        evaluation = evaluate_predictions(predictions, resamples=resamples, seed=seed)
    _require_same(run, predictions, evaluation)
    by_patient = _patient_level(predictions, evaluation)
    facts = _page_facts(run, predictions, evaluation, by_patient)
    known = bool(evaluation.patient_table)
    shown = (mistakes_gallery(predictions, patients=known), *galleries)
    facts |= {"galleries": shown, "contents": _contents(shown)}
    write_text(path, render("report.html", facts))
    return path


def _page_facts(
    run: Run, predictions: Predictions, evaluation: Evaluation, by_patient: Evaluation | None
) -> dict[str, object]:
    """Everything that the template names, but galleries and contents."""
    protocol = predictions.provenance.protocol.name
    title = f"{run.record.backbone} on {predictions.provenance.dataset}: {predictions.task.name}"
    warnings = banners(run, predictions)
    known = bool(evaluation.patient_table)
    return {
        "title": title,
        "protocol": protocol,
        "ribbon": {"text": warnings[0].title, "alarm": warnings[0].alarm} if warnings else None,
        "banners": warnings,
        "cover": _cover(run, predictions, evaluation),
        "sentence": verdict_sentence(run, predictions, evaluation.value("accuracy")),
        "remarks": remarks(run, predictions, evaluation),
        "panels": _panels(evaluation, by_patient),
        "reading": _READING.format(resamples=evaluation.resamples),
        "data_lead": "What was scored. Few patients mean wide intervals, however many the images.",
        "data_tables": _given(
            dataset_table(predictions, patients=known), fold_table(predictions, patients=known)
        ),
        "samples": sample_gallery(predictions, patients=known),
        "learning": describe_learning(run),
        "confusion": _confusion(evaluation),
        "curves": ranking_section(predictions, evaluation),
        "calibration": calibration_section(predictions, evaluation),
        "trust": trust_section(
            run, predictions, resamples=evaluation.resamples, seed=evaluation.seed
        ),
        "measures": _measures(evaluation, by_patient),
        "patients": patient_table(evaluation),
        "settings": settings_of(run, predictions),
        "limits": limits_of(run, predictions, evaluation),
    }


def _require_same(run: Run, predictions: Predictions, evaluation: Evaluation) -> None:
    if run.record.task.classes != predictions.task.classes:
        raise DataError(
            f"{run.folder} answers for the classes {list(run.record.task.classes)}, the "
            f"predictions hold {list(predictions.task.classes)}; give the Run that made them"
        )
    if evaluation.level != "image":
        raise DataError(
            f"a report needs the image-level evaluation, got the {evaluation.level}-level one; "
            "leave it out and both are made"
        )
    if evaluation.confidence != 0.95:
        raise DataError(
            f"a report states 95 % intervals, the evaluation has {evaluation.confidence:.0%}; "
            "leave it out and it is made"
        )
    origin = predictions.provenance.in_valid_text()
    if evaluation.images != len(predictions) or evaluation.provenance != origin:
        raise DataError(
            f"the evaluation is of {evaluation.images} images, the predictions hold "
            f"{len(predictions)}, or they come from different Runs; evaluate these predictions"
        )


def _patient_level(predictions: Predictions, evaluation: Evaluation) -> Evaluation | None:
    """The patient-level evaluation; None where patients are unknown or none has one label."""
    if not any(len(row.labels) == 1 for row in evaluation.patient_table):
        return None
    return evaluate_predictions(
        predictions, level="patient", resamples=evaluation.resamples, seed=evaluation.seed
    )


def _cover(run: Run, predictions: Predictions, evaluation: Evaluation) -> list[tuple[str, str]]:
    provenance = predictions.provenance
    facts = [
        ("Model", run.record.backbone),
        ("Dataset", provenance.dataset),
        ("Task", f"{predictions.task.name}: {', '.join(predictions.task.classes)}"),
        ("Protocol", provenance.protocol.name),
        ("Scored", provenance.split),
        ("Images", f"{evaluation.images:,}"),
    ]
    known = bool(evaluation.patient_table)
    return [*facts, ("Patients", f"{evaluation.patients:,}" if known else "not known")]


def _panels(evaluation: Evaluation, by_patient: Evaluation | None) -> list[Panel]:
    of = f"of {counted(evaluation.patients, 'patient')}" if evaluation.patient_table else ""
    caption = f"{counted(evaluation.images, 'image')} {of}".strip() + "."
    panels = headline_panels(evaluation, title="By image", caption=caption)
    if by_patient is not None:
        caption = (
            f"{counted(by_patient.patients, 'patient')} with one label each: the probabilities of "
            f"a patient's images ({by_patient.images:,} in all) are averaged."
        )
        panels += headline_panels(by_patient, title="By patient", caption=caption)
    return panels


def _confusion(evaluation: Evaluation) -> ConfusionSection:
    import numpy as np

    classes = evaluation.task.classes
    found = evaluation.counts()
    parts = [("", found.predicted)]
    if found.decided is not None and found.decided != found.predicted:
        parts.append((", at the locked threshold", found.decided))
    matrices = []
    for suffix, cells in parts:
        counts = np.array(cells, dtype=np.int64)
        matrices.append(count_matrix(counts, classes, suffix=suffix))
        matrices.append(row_matrix(counts, classes, suffix=suffix))
    lead = (
        "True classes down, chosen ones across, by the most probable class. Which mix-up is worst?"
    )
    return ConfusionSection(lead, tuple(matrices), stacked=len(classes) > 4)


def _measures(evaluation: Evaluation, by_patient: Evaluation | None) -> tuple[Table, ...]:
    return _given(
        overall_table(evaluation, by_patient),
        class_table(evaluation),
        magnification_table(evaluation),
    )


def _contents(galleries: Sequence[Gallery]) -> list[tuple[str, str]]:
    entries = list(_CONTENTS)
    index = next(n for n, (anchor, _) in enumerate(entries) if anchor == "settings")
    entries[index:index] = [(gallery.anchor, gallery.title) for gallery in galleries]
    return entries


def _given(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)
