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
from eosin.evaluation.all_metrics import MetricKey, less, score_headlines
from eosin.evaluation.evaluate import Resampled, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import Sample, image_sample, patients_of_one_label
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import Floats
    from eosin.artefacts.estimate import Estimate, Level
    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True, slots=True)
class MeanFigure:
    """One figure of a model, averaged over draws of the folds.

    Attributes:
        mean: over the draws, with its patient-clustered 95 % interval; its n is of each draw.
        least, most: the figure of the worst and of the best draw; None where it has no meaning.
        draws: over how many.
    """

    mean: Estimate
    least: float | None
    most: float | None
    draws: int


@dataclass(frozen=True)
class ScoredDraws:
    """A model's figures in each draw, under each resample of patients; see ``score_draws``."""

    tables: tuple[Predictions, ...]  # one a draw, their rows the same images
    bootstrap: Bootstrap  # the resamples
    # by level, what was scored in the first draw and, by metric, the figures of all draws, shape
    # (draws, 1 + resamples): each sample itself, then its resamples
    parts: Mapping[Level, tuple[Sample, Mapping[MetricKey, Floats]]]

    @property
    def figures(self) -> tuple[MeanFigure, ...]:
        """Means over the draws: of each headline by image, of each but accuracy by patient."""
        return tuple(
            _mean(key, values, by=Resampled(sample, self.tables[0].task, self.bootstrap))
            for sample, scores in self.parts.values()
            for key, values in scores.items()
        )

    def less(self, baseline: ScoredDraws) -> ScoredDraws:
        """These figures minus those of ``baseline``, draw by draw, on the images of both.

        Raises:
            DataError: other numbers of draws, tables of other classes, labels or patients, or no
                image in common.
        """
        if len(self.tables) != len(baseline.tables):
            raise DataError(
                f"want as many draws of the baseline as of the model, got {len(baseline.tables)} "
                f"and {len(self.tables)}"
            )
        tables = _aligned([*self.tables, *baseline.tables])
        own = self._on(tables[: len(self.tables)], self.bootstrap)
        other = baseline._on(tables[len(self.tables) :], self.bootstrap)
        return ScoredDraws(
            own.tables,
            self.bootstrap,
            {
                level: (
                    sample,
                    {key: less(v, other.parts[level][1][key]) for key, v in scores.items()},
                )
                for level, (sample, scores) in own.parts.items()
                if level in other.parts
            },
        )

    def _on(self, tables: Sequence[Predictions], bootstrap: Bootstrap) -> ScoredDraws:
        """Scored on the images of ``tables``: as it is where these are its images already."""
        same = list(tables[0].frame["path"]) == list(self.tables[0].frame["path"])
        return self if same and bootstrap == self.bootstrap else _scored(tables, bootstrap)


def score_draws(
    draws: Sequence[Predictions], *, resamples: int = 2000, seed: int = 0
) -> ScoredDraws:
    """Score one model under several draws of the folds.

    Args:
        draws: labelled predictions, one table a draw, of the same images.
        resamples: bootstrap draws of patients.
        seed: of these.

    Raises:
        DataError: no draw, tables of other classes, labels or patients, or no image in common.
        ConfigError: resamples are too few for the interval.
    """
    if not draws:
        raise DataError("want one draw of the model or more, got none")
    return _scored(_aligned(draws), Bootstrap(resamples, seed))


def _aligned(tables: Sequence[Predictions]) -> list[Predictions]:
    if len(tables) == 1:
        return list(tables)
    return list(align({f"draw {n + 1}": table for n, table in enumerate(tables)}).tables.values())


def _scored(tables: Sequence[Predictions], bootstrap: Bootstrap) -> ScoredDraws:
    task = tables[0].task
    samples = [image_sample(table) for table in tables]
    parts: dict[Level, tuple[Sample, Mapping[MetricKey, Floats]]] = {
        "image": (samples[0], _figures(samples, task, bootstrap))
    }
    patients = [patients_of_one_label(sample, task) for sample in samples]
    kept = [sample for sample in patients if sample is not None]
    if len(kept) == len(samples) and all(patients_known(table) for table in tables):
        scores = _figures(kept, task, bootstrap)
        del scores[MetricKey("accuracy")]
        parts["patient"] = kept[0], scores
    return ScoredDraws(tuple(tables), bootstrap, parts)


def _figures(
    samples: Sequence[Sample], task: Task, bootstrap: Bootstrap
) -> dict[MetricKey, Floats]:
    first = samples[0]
    weights = Weights(first.patient, bootstrap.rows(first.patients))
    with one_blas_thread():
        scores = [score_headlines(each, task, weights) for each in samples]
    return {key: np.stack([score[key] for score in scores]) for key in scores[0]}


def _mean(key: MetricKey, values: Floats, *, by: Resampled) -> MeanFigure:
    """From (draws, 1 + resamples): the first column is the sample itself."""
    mean = by.estimate(key, values.mean(axis=0))
    if mean.value is None:
        return MeanFigure(mean, None, None, len(values))
    return MeanFigure(mean, float(values[:, 0].min()), float(values[:, 0].max()), len(values))
