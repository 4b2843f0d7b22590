"""How much a leaky protocol adds to the figures of the same model, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.estimate import Estimate
from eosin.errors import DataError
from eosin.evaluation.all_metrics import less, score_headlines
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import image_sample
from eosin.evaluation.sentences import about_interval
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Leakage:
    """One metric of one model under two protocols."""

    # what the leaky protocol adds, with its 95 % interval; its images are those that the leaky
    # protocol scored, its patients those of both, who were resampled
    added: Estimate
    leaky: float | None  # under the leaky protocol; None where the metric has no meaning there
    honest: float | None  # under the patient-level protocol; likewise

    @property
    def inflates(self) -> bool:
        """Whether the leak adds something beyond chance."""
        return self.added.excludes_zero and (self.added.value or 0) > 0


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One model under a leaky protocol and under the patient-level one."""

    model: str  # its name, with the stain step where there is one
    leaky_protocol: str  # the name of the first
    honest_protocol: str  # the name of the second
    leaks: tuple[Leakage, ...]  # one a metric
    # of each the figure under the first and under the second, each with its own interval
    figures: tuple[tuple[Estimate, Estimate], ...]


def measure_leakage(
    leaky: Predictions, honest: Predictions, *, resamples: int = 2000, seed: int = 0
) -> tuple[Leakage, ...]:
    """The headline figures of the same model under two protocols, and what the leak adds.

    They are those of ``score_headlines`` that both tables have. Patients of both tables are drawn
    together, so a patient that is drawn counts in both: the interval is paired as far as the tables
    show the same patients.

    Raises:
        DataError: the tables' classes differ.
        ConfigError: resamples are too few for the interval.
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
    column_of = {name: column for column, name in enumerate(patients)}
    scored = []
    for sample in tables:
        columns = np.array([column_of[name] for name in sample.patients], dtype=np.int64)
        weights = Weights(columns[sample.patient], rows)
        scored.append(score_headlines(sample, leaky.task, weights))
    found = []
    for key in (key for key in scored[0] if key in scored[1]):
        flattered, plain = scored[0][key], scored[1][key]
        rows = less(flattered, plain)
        interval = bootstrap.interval(rows[1:])
        added = Estimate(
            _known(rows[0]),
            interval.low,
            interval.high,
            images=len(tables[0]),
            patients=len(patients),
            metric=key.metric,
            note="; ".join(about_interval(interval, float(rows[0]))),
        )
        found.append(Leakage(added, _known(flattered[0]), _known(plain[0])))
    return tuple(found)


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
