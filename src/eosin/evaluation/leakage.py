"""The leakage meter: how much a leaky protocol flatters the same model, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.estimate import Estimate
from eosin.artefacts.glossary import GLOSSARY
from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import image_sample
from eosin.evaluation.scoring import less, score_headlines
from eosin.evaluation.sentences import about_interval
from eosin.evaluation.weights import Floats, Weights

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Leakage:
    """One metric of one model under two protocols.

    Attributes:
        added: what the leaky protocol adds, with its 95 % interval; its images are those that the
            leaky protocol scored, its patients those of both, who were resampled.
        leaky: under the leaky protocol; None where the metric has no meaning there.
        honest: under the patient-level protocol; likewise.
    """

    added: Estimate
    leaky: float | None
    honest: float | None

    @property
    def flatters(self) -> bool:
        """Whether the leak adds something beyond chance."""
        return self.added.excludes_zero and (self.added.value or 0) > 0

    @property
    def sentence(self) -> str:
        """The difference in words, e.g. ``"this protocol flatters by 0.40 accuracy"``."""
        name, value = GLOSSARY[self.added.metric].name, self.added.value
        if value is None:
            return f"no difference in {name}: {self.added.note}"
        if self.flatters:
            return f"this protocol flatters by {value:.2f} {name}"
        if self.added.excludes_zero:
            return f"this protocol takes away {-value:.2f} {name}"
        return f"no difference beyond chance in {name} ({value:+.2f})"


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One model under a leaky protocol and under the patient-level one.

    Attributes:
        model: its name, with the stain step where there is one.
        leaky_protocol: the name of the first.
        honest_protocol: the name of the second.
        leaks: one a metric.

    """

    model: str
    leaky_protocol: str
    honest_protocol: str
    leaks: tuple[Leakage, ...]


def measure_leakage(
    leaky: Predictions, honest: Predictions, *, resamples: int = 2000, seed: int = 0
) -> tuple[Leakage, ...]:
    """Accuracy and ROC AUC of the same model under two protocols, and what the leak adds.

    Patients of both tables are drawn together, so a patient that is drawn counts in both: the
    interval is paired as far as the tables show the same patients.

    Raises:
        DataError: the tables' classes differ.

    """
    if leaky.task.classes != honest.task.classes:
        raise DataError(
            f"the tables have other classes: {list(leaky.task.classes)} and "
            f"{list(honest.task.classes)}; measure the leak on one task"
        )
    tables = [image_sample(table) for table in (leaky, honest)]
    patients = sorted({name for sample in tables for name in sample.patients})
    bootstrap = Bootstrap(resamples, seed)
    rows = bootstrap.rows(patients)
    place = {name: column for column, name in enumerate(patients)}
    scored = []
    for sample in tables:
        columns = np.array([place[name] for name in sample.patients], dtype=np.int64)
        weights = Weights(columns[sample.patient], rows)
        scored.append(score_headlines(sample, leaky.task, weights))
    counts = {"images": len(tables[0]), "patients": len(patients)}
    return tuple(
        _leakage(key.metric, flattered, scored[1][key], bootstrap, **counts)
        for key, flattered in scored[0].items()
    )


def _leakage(
    metric: str,
    leaky: Floats,
    honest: Floats,
    bootstrap: Bootstrap,
    *,
    images: int,
    patients: int,
) -> Leakage:
    """From values whose first is of the tables themselves, the rest of resamples."""
    rows = less(leaky, honest)
    value, first, second = (
        float(each[0]) if np.isfinite(each[0]) else None for each in (rows, leaky, honest)
    )
    low = high = None
    note = "undefined: a class has no image under one of the protocols"
    if value is not None:
        interval = bootstrap.interval(rows[1:])
        low, high, note = interval.low, interval.high, "; ".join(about_interval(interval, value))
    return Leakage(Estimate(value, low, high, images, patients, metric, note=note), first, second)
