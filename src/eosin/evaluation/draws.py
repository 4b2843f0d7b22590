"""The same model under several draws of the folds: the mean of a figure, and of a difference.

With few patients a figure depends much on which of them share a fold. The mean over several draws
says what to expect of one more; its interval resamples patients, the same ones in every draw, so it
shows what other patients would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.alignment import align
from eosin.evaluation.evaluate import estimate_of, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import Level, Sample, image_sample, patients_of_one_label
from eosin.evaluation.scoring import MetricKey, score_sample
from eosin.evaluation.weights import Floats, Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True, slots=True)
class MeanFigure:
    """One figure of a model, averaged over draws of the folds.

    Attributes:
        metric: its name.
        level: whether images or patients were scored.
        value: the mean over draws; None where the figure has no meaning here.
        low, high: the patient-clustered 95 % interval of that mean; None where there is none.
        least, most: the figure of the worst and of the best draw.
        draws: over how many.
        images, patients: how many were scored in each; patients are what was resampled.
        note: what must be known of the interval, or why there is none.
    """

    metric: str
    level: Level
    value: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    draws: int
    images: int
    patients: int
    note: str = ""


def average_over_draws(
    draws: Sequence[Predictions],
    baseline: Sequence[Predictions] = (),
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[MeanFigure, ...]:
    """Mean accuracy and ROC AUC by image, and ROC AUC by patient, over draws of the folds.

    With a ``baseline`` each figure is that of ``draws`` minus that of the baseline, draw by draw.

    Args:
        draws: labelled predictions of one model, one table a draw, of the same images.
        baseline: of another model, under the same draws in the same order; or none.
        resamples: bootstrap draws of patients.
        seed: of these.

    Raises:
        DataError: no draw, a baseline of another number of draws, tables of other classes, labels
            or patients, or no image in common.
        ConfigError: resamples are too few for the interval.
    """
    if not draws or len(baseline) not in (0, len(draws)):
        raise DataError(
            f"want as many draws of the baseline as of the model, got {len(baseline)} and "
            f"{len(draws)}"
        )
    tables = _aligned([*draws, *baseline])
    task, bootstrap = draws[0].task, Bootstrap(resamples, seed)
    samples = [image_sample(table) for table in tables]
    area = "roc_auc" if task.binary else "macro_roc_auc"
    found = _means(samples, ("accuracy", area), task, level="image", draws=len(draws), by=bootstrap)
    patients = [patients_of_one_label(sample, task) for sample in samples]
    kept = [sample for sample in patients if sample is not None]
    if len(kept) == len(samples) and all(patients_known(table) for table in tables):
        found += _means(kept, (area,), task, level="patient", draws=len(draws), by=bootstrap)
    return tuple(found)


def _aligned(tables: Sequence[Predictions]) -> list[Predictions]:
    if len(tables) == 1:
        return list(tables)
    return list(align({f"draw {n + 1}": table for n, table in enumerate(tables)}).tables.values())


def _means(
    samples: Sequence[Sample],
    metrics: Sequence[str],
    task: Task,
    *,
    level: Level,
    draws: int,
    by: Bootstrap,
) -> list[MeanFigure]:
    """Of the first ``draws`` samples, less those of the others where there are others."""
    first = samples[0]
    weights = Weights(first.patient, by.rows(first.patients))
    with one_blas_thread():
        scores = [score_sample(each, task, weights, recognition=False) for each in samples]
    found = []
    for metric in metrics:
        key = MetricKey(metric)
        rows = np.stack([score[key] for score in scores])
        values = rows[:draws] - rows[draws:] if len(rows) > draws else rows
        found.append(_mean(key, values, first, task, level=level, by=by))
    return found


def _mean(
    key: MetricKey, values: Floats, sample: Sample, task: Task, *, level: Level, by: Bootstrap
) -> MeanFigure:
    """From (draws, 1 + resamples): the first column is the sample itself."""
    mean = estimate_of(key, values.mean(axis=0), sample, task, bootstrap=by)
    known = mean.value is not None
    return MeanFigure(
        metric=key.metric,
        level=level,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        least=float(values[:, 0].min()) if known else None,
        most=float(values[:, 0].max()) if known else None,
        draws=len(values),
        images=mean.images,
        patients=mean.patients,
        note=mean.note,
    )
