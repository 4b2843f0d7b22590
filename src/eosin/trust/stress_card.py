"""What shifts do to a Run: figures of each severity, paired with the unchanged images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.estimate import figure_frame
from eosin.artefacts.prediction_columns import JOIN
from eosin.evaluation.all_metrics import MetricKey, less
from eosin.evaluation.calibration import expected_calibration_error
from eosin.evaluation.evaluate import Resampled, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.metrics import accuracy, confusion_counts
from eosin.evaluation.sample import image_sample
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from eosin.arrays import Floats
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.sample import Sample


@dataclass(frozen=True, slots=True)
class ShiftFigures:
    """The Run on images under one shift and severity.

    Attributes:
        shift: its name; empty for the unchanged images.
        severity: 1 to 5; 0 for the unchanged images.
        accuracy, ece: with patient-clustered intervals.
        change: of the accuracy, less that of the same images unchanged, paired.
        coverage: share of images whose set holds the truth; None where the Run makes no sets.
        flagged: share of images with a flag; None where the Run has no reference.
    """

    shift: str
    severity: int
    accuracy: Estimate
    ece: Estimate
    change: Estimate
    coverage: Estimate | None
    flagged: Estimate | None


@dataclass(frozen=True, slots=True)
class StressCard:
    """What shifts do to a Run.

    Attributes:
        unchanged: the images as they are.
        shifted: every shift, its severities ascending.
        patients_known: whether intervals resample patients.
    """

    unchanged: ShiftFigures
    shifted: tuple[ShiftFigures, ...]
    patients_known: bool

    @property
    def shifts(self) -> tuple[str, ...]:
        """Their names, in the order tested."""
        return tuple(dict.fromkeys(each.shift for each in self.shifted))

    def of(self, shift: str) -> tuple[ShiftFigures, ...]:
        """The severities of one shift."""
        return tuple(each for each in self.shifted if each.shift == shift)

    def lost_from(self, shift: str) -> int | None:
        """The severity from which on accuracy is lost beyond chance; None where it never is.

        From there on every paired interval of the change lies below zero.
        """
        found = None
        for each in reversed(self.of(shift)):
            if each.change.high is None or each.change.high >= 0:
                break
            found = each.severity
        return found

    def frame(self) -> pd.DataFrame:
        """A row a figure: ``shift, severity``, then the figure with its interval and its n."""
        rows = [
            ({"shift": each.shift or "unchanged", "severity": each.severity, "what": what}, found)
            for each in (self.unchanged, *self.shifted)
            for what, found in (
                ("accuracy", each.accuracy),
                ("change of accuracy", each.change),
                ("calibration error", each.ece),
                ("coverage", each.coverage),
                ("flagged", each.flagged),
            )
            if found is not None
        ]
        return figure_frame(rows)


def stress_card(
    unchanged: Predictions,
    shifted: Mapping[tuple[str, int], Predictions],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> StressCard:
    """Figures under every (shift, severity), all with the same resamples of patients.

    An image that one table lacks is left out of all.

    Args:
        unchanged: labelled predictions of the images as they are.
        shifted: of the same images under each shift and severity.
        resamples: bootstrap draws of patients.
        seed: of the draws.

    Raises:
        DataError: an image has no label.
        ConfigError: resamples are too few for the interval.
    """
    bootstrap = Bootstrap(resamples, seed)
    everywhere = set(unchanged.frame["path"])
    for table in shifted.values():
        everywhere &= set(table.frame["path"])
    with one_blas_thread():
        base = _Scores.of(unchanged, everywhere, bootstrap)
        rows = tuple(
            _figures(_Scores.of(table, everywhere, bootstrap), base, bootstrap, *key)
            for key, table in shifted.items()
        )
        return StressCard(_figures(base, base, bootstrap, "", 0), rows, patients_known(unchanged))


@dataclass(frozen=True)
class _Scores:
    """Values of a table under every resample, shape (1 + R,) each; the first is the table's own."""

    table: Predictions
    sample: Sample
    accuracy: Floats
    ece: Floats
    coverage: Floats | None
    flagged: Floats | None

    @classmethod
    def of(cls, table: Predictions, paths: set[str], bootstrap: Bootstrap) -> _Scores:
        kept = table.where(table.frame["path"].isin(paths))
        sample = image_sample(kept)
        weights = Weights(sample.patient, bootstrap.rows(sample.patients))
        counts = confusion_counts(
            sample.labels, sample.predicted, classes=len(kept.task.classes), weights=weights
        )
        coverage = flagged = None
        if kept.trust is not None:
            sets = kept.frame["set"].str.split(JOIN, regex=False)
            held = [label in own for label, own in zip(kept.frame["label"], sets, strict=True)]
            coverage = weights.mean(np.array(held, dtype=np.float64))
            flagged = weights.mean(kept.flagged.astype(np.float64))
        ece = expected_calibration_error(sample.probabilities, sample.labels, weights)
        return cls(kept, sample, accuracy(counts), ece, coverage, flagged)


def _figures(
    scores: _Scores, base: _Scores, bootstrap: Bootstrap, shift: str, severity: int
) -> ShiftFigures:
    made = Resampled(scores.sample, scores.table.task, bootstrap, caveats=False)

    def some(metric: str, rows: Floats | None) -> Estimate | None:
        return None if rows is None else made.estimate(MetricKey(metric), rows)

    return ShiftFigures(
        shift,
        severity,
        accuracy=made.estimate(MetricKey("accuracy"), scores.accuracy),
        ece=made.estimate(MetricKey("ece"), scores.ece),
        change=made.estimate(MetricKey("accuracy"), less(scores.accuracy, base.accuracy)),
        coverage=some("coverage", scores.coverage),
        flagged=some("flagged", scores.flagged),
    )
