"""Sections on probabilities: ROC and precision-recall with bands, and the reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.estimate import Scope
from eosin.artefacts.glossary import GLOSSARY
from eosin.evaluation.calibration import reliability
from eosin.evaluation.curves import macro_curve, micro_curve, precision_recall_band, roc_band
from eosin.reporting.canvas import Drawing, as_drawing
from eosin.reporting.curves import (
    joint_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from eosin.reporting.wording import capital, figure, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.curves import CurveBand

BAND_RESAMPLES = 1000
_FEWEST = 40  # resamples of bands that are not drawn


@dataclass(frozen=True)
class Group:
    """Drawings under one heading, which may be empty; ``small`` sets many in a row."""

    title: str
    drawings: tuple[Drawing, ...]
    small: bool = False


@dataclass(frozen=True)
class RankingSection:
    """What to look at, and the curves; no groups where no class can be told from another."""

    lead: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class CalibrationSection:
    """What to look at, and the diagram."""

    lead: str
    drawings: tuple[Drawing, ...]


def ranking_section(predictions: Predictions, evaluation: Evaluation) -> RankingSection:
    """One ROC and one precision-recall curve for the positive class, or for every class."""
    labels = predictions.label_index
    if len(set(labels.tolist())) < 2:
        return RankingSection("All images are of one class, so there is nothing to rank.", ())
    protocol = f"Protocol: {predictions.provenance.protocol.name}."
    task = predictions.task
    if task.binary:
        index = task.positive_index
        pair = (_roc(predictions, evaluation, index), _precision(predictions, evaluation, index))
        groups: tuple[Group, ...] = (Group("", pair),)
        of = f"How well the probability of “{task.classes[index]}” ranks images."
    else:
        held = [index for index in range(len(task.classes)) if (labels == index).any()]
        groups = (
            Group("All classes", _joint(predictions, evaluation, held)),
            Group(
                "ROC of each class",
                tuple(_roc(predictions, evaluation, index) for index in held),
                True,
            ),
            Group(
                "Precision-recall of each class",
                tuple(_precision(predictions, evaluation, index) for index in held),
                True,
            ),
        )
        of = "How well the probability of each class ranks its images before all others."
    lead = (
        f"{of} The bands are 95 % at each point, from resampling whole patients; a band that "
        f"reaches the dashed line of guessing shows nothing. {protocol}"
    )
    return RankingSection(lead, groups)


def calibration_section(predictions: Predictions, evaluation: Evaluation) -> CalibrationSection:
    """The reliability diagram of the most probable class."""
    bins = reliability(predictions.probabilities, predictions.label_index)
    caption = (
        "Points below the dashed line: the model is more confident than it is right. Larger points "
        "and higher bars stand for more images; a point on few images says little. "
        f"Calibration error {figure(evaluation.value('ece'))}, "
        f"log loss {number(evaluation.value('log_loss').value)}, "
        f"Brier score {number(evaluation.value('brier').value)}. "
        f"Protocol: {predictions.provenance.protocol.name}."
    )
    drawing = as_drawing(
        reliability_figure(bins), name="reliability", title="Reliability diagram", caption=caption
    )
    lead = "Of the images predicted with 80 % confidence, are 80 % right?"
    return CalibrationSection(lead, (drawing,))


def _roc(predictions: Predictions, evaluation: Evaluation, index: int) -> Drawing:
    task = predictions.task
    band = roc_band(predictions, index, resamples=BAND_RESAMPLES, seed=evaluation.seed)
    at, ring = None, ""
    if task.binary:
        found, specificity = evaluation.value("sensitivity"), evaluation.value("specificity").value
        if found.value is not None:
            at = (1 - (specificity or 0.0), found.value)
            ring = f" The ring is the decision {found.note}."
    area = f"Area {figure(evaluation.value('roc_auc', Scope(task.classes[index])))}."
    drawn = roc_figure(band, at=at, small=not task.binary)
    title = "ROC curve" if task.binary else task.classes[index]
    caption = area + ring + _note(band)
    return as_drawing(drawn, name=f"roc-{index}", title=title, caption=caption)


def _precision(predictions: Predictions, evaluation: Evaluation, index: int) -> Drawing:
    task = predictions.task
    band = precision_recall_band(predictions, index, resamples=BAND_RESAMPLES, seed=evaluation.seed)
    share = float((predictions.label_index == index).mean())
    found = evaluation.value("average_precision", Scope(task.classes[index]))
    drawn = precision_recall_figure(band, prevalence=share, small=not task.binary)
    title = "Precision-recall curve" if task.binary else task.classes[index]
    caption = f"Average precision {figure(found)}. Guessing gives {number(share)}.{_note(band)}"
    return as_drawing(drawn, name=f"precision-{index}", title=title, caption=caption)


def _joint(
    predictions: Predictions, evaluation: Evaluation, held: Sequence[int]
) -> tuple[Drawing, Drawing]:
    """Every class and the averages in one ROC and one precision-recall figure."""
    drawn = []
    for precision in (False, True):
        curve = precision_recall_band if precision else roc_band
        metric = "average_precision" if precision else "roc_auc"
        bands = {index: curve(predictions, index, resamples=_FEWEST) for index in held}
        classes = {
            f"{name} ({number(evaluation.value(metric, Scope(name)).value)})": bands[index]
            for index, name in enumerate(predictions.task.classes)
            if index in bands
        }
        micro = micro_curve(predictions, precision=precision)
        area = "" if precision else f" ({number(evaluation.value('micro_roc_auc').value)})"
        macro = f"macro average ({number(evaluation.value(f'macro_{metric}').value)})"
        averages = {f"micro average{area}": micro, macro: macro_curve([*bands.values()])}
        title = "Precision-recall curves" if precision else "ROC curves"
        caption = (
            f"In brackets {GLOSSARY[metric].name}. Micro: all pairs of image and class pooled, so "
            "frequent classes count more. Macro: the mean of the classes, which count alike."
        )
        figure = joint_figure(classes, averages, precision=precision)
        drawn.append(as_drawing(figure, name=f"joint-{metric}", title=title, caption=caption))
    return drawn[0], drawn[1]


def _note(band: CurveBand) -> str:
    return f" {capital(band.note)}." if band.note else ""
