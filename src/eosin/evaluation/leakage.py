"""The leakage meter: how much a leaky protocol flatters the same model, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import image_sample
from eosin.evaluation.scoring import score_headlines
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Leakage:
    """One metric of one model under two protocols.

    Attributes:
        metric: its name.
        leaky: under the leaky protocol.
        honest: under the patient-level protocol.
        low: of the difference's 95 % interval; None where it has none.
        high: of the same.
        patients: how many were resampled.

    """

    metric: str
    leaky: float
    honest: float
    low: float | None
    high: float | None
    patients: int

    @property
    def difference(self) -> float:
        """What the leaky protocol adds."""
        return self.leaky - self.honest

    @property
    def sentence(self) -> str:
        """The difference in words, e.g. ``"this protocol flatters by 0.40 accuracy"``."""
        name = {"roc_auc": "AUC", "macro_roc_auc": "macro AUC"}.get(self.metric, self.metric)
        if self.low is not None and self.low > 0:
            return f"this protocol flatters by {self.difference:.2f} {name}"
        return f"no difference beyond chance in {name} ({self.difference:+.2f})"


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
    found = []
    for key, flattered in scored[0].items():
        plain = scored[1][key]
        interval = bootstrap.interval((flattered - plain)[1:])
        ends = (interval.low, interval.high)
        found.append(
            Leakage(key.metric, float(flattered[0]), float(plain[0]), *ends, len(patients))
        )
    return tuple(found)
