"""How far two readers agree: observed agreement and kappa, with intervals by patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation import metrics
from eosin.evaluation.all_metrics import MetricKey
from eosin.evaluation.evaluate import Resampled
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.sample import Sample
from eosin.evaluation.weights import Weights, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Floats
    from eosin.artefacts.estimate import Estimate
    from eosin.tasks import Task


def cohen_kappa(counts: Floats) -> Floats:
    """Cohen's kappa of counts (R, C, C) of two readers' labels, shape (R,), in [-1, 1].

    ``(po - pe) / (1 - pe)``, ``po`` the share of equal labels and ``pe`` the share expected of two
    readers who give their labels as often, but independently (Cohen 1960). NaN where both gave
    every case the same one label.
    """
    total = counts.sum(axis=(1, 2))
    observed = metrics.accuracy(counts)
    expected = ratio((counts.sum(axis=2) * counts.sum(axis=1)).sum(axis=1), total**2)
    return ratio(observed - expected, 1.0 - expected)


def reader_agreement(
    labels: tuple[Sequence[str], Sequence[str]],
    patients: Sequence[str],
    task: Task,
    *,
    bootstrap: Bootstrap | None = None,
) -> tuple[Estimate, ...]:
    """Observed agreement, Cohen's kappa, and for grades the quadratically weighted kappa.

    The last weighs a disagreement by its squared distance (Cohen 1968). Intervals resample
    patients.

    Args:
        labels: what two readers said of the same n cases, classes of ``task``.
        patients: of each case, n of them; one without a name is a patient of its own.
        task: the classes.
        bootstrap: how intervals are drawn.

    Raises:
        DataError: there is no case, or a label that is no class.
    """
    if not len(patients):
        raise DataError("the readers have no case in common, so their agreement is not known")
    first, second = (np.array([task.index(name) for name in each], np.int64) for each in labels)
    names, patient = patient_columns(patients, [str(row) for row in range(len(patients))])
    sample = Sample(
        labels=first,
        predicted=second,
        decided=second,
        probabilities=np.zeros((len(first), len(task.classes))),
        images=np.ones(len(first), np.int64),
        patients=names,
        patient=patient,
        magnification=("",) * len(first),
    )
    bootstrap = bootstrap or Bootstrap()
    weights = Weights(patient, bootstrap.rows(names))
    counts = metrics.confusion_counts(first, second, classes=len(task.classes), weights=weights)
    figures = {"reader_agreement": metrics.accuracy, "cohen_kappa": cohen_kappa}
    if task.ordinal:
        figures["quadratic_kappa"] = metrics.quadratic_kappa
    made = Resampled(sample, task, bootstrap, caveats=False)
    return tuple(made.estimate(MetricKey(name), rule(counts)) for name, rule in figures.items())
