"""The Evaluation: every figure with its interval, its n and what a reader must know of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast, get_args

from eosin.artefacts.predictions import Provenance
from eosin.artefacts.tables import require_format, section, text_list
from eosin.errors import DataError
from eosin.evaluation.sample import Level
from eosin.files import read_json, write_json
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

Counts = tuple[tuple[int, ...], ...]

FORMAT_VERSION = 1
_FIX = "write it again with `eosin evaluate`"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure.

    Attributes:
        value: the metric on the sample; None where it has no meaning, which ``note`` explains.
        low, high: its interval; None where there is none, which ``note`` explains.
        images, patients: the n behind it; for a class, those of that class.
        note: plain sentences, or empty.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int
    patients: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class PatientRow:
    """How one patient fared.

    Attributes:
        patient: its name.
        labels: the true classes of its images, in class order.
        images: how many it has.
        recognition_rate: share of them classified right (Spanhol et al. 2016, Eq. 1), in [0, 1].
        probabilities: mean probability of each class over its images.
    """

    patient: str
    labels: tuple[str, ...]
    images: int
    recognition_rate: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one predictions table.

    Scopes are ``"all"``, ``"class X"``, ``"magnification 100"`` and ``"magnification 100, class
    X"``.

    Attributes:
        task: the classes.
        provenance: where the predictions come from, with the protocol's name and warning.
        level: whether images or patients were scored.
        resamples, seed, confidence: of the intervals.
        images, patients: how many were scored.
        estimates: every figure, by (metric, scope), in reading order.
        confusion: counts of (true, most probable) class, rows the truth, by scope.
        decision_confusion: the same for the choice at the locked threshold; binary tasks only.
        patient_table: a row a patient, sorted; empty where patients are unknown.
        notes: plain sentences on the whole.
    """

    task: Task
    provenance: Provenance
    level: Level
    resamples: int
    seed: int
    confidence: float
    images: int
    patients: int
    estimates: Mapping[tuple[str, str], Estimate]
    confusion: Mapping[str, Counts]
    decision_confusion: Mapping[str, Counts]
    patient_table: tuple[PatientRow, ...]
    notes: tuple[str, ...]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes, in reading order."""
        return tuple(dict.fromkeys(scope for _, scope in self.estimates))

    def value(self, metric: str, scope: str = "all") -> Estimate:
        """One figure; DataError, naming what there is, where this evaluation does not have it."""
        if (metric, scope) in self.estimates:
            return self.estimates[metric, scope]
        if scope not in self.scopes:
            raise DataError(f"no scope {scope!r} in this evaluation; it has {list(self.scopes)}")
        known = [name for name, where in self.estimates if where == scope]
        raise DataError(f"no metric {metric!r} for scope {scope!r}; there are {known}")

    def frame(self) -> pd.DataFrame:
        """A row a figure: metric, scope, value, low, high, n_images, n_patients, note.

        A figure or an interval that does not exist is NaN here, and its note says why.
        """
        import pandas as pd

        rows = [
            (metric, scope, e.value, e.low, e.high, e.images, e.patients, e.note)
            for (metric, scope), e in self.estimates.items()
        ]
        columns = ["metric", "scope", "value", "low", "high", "n_images", "n_patients", "note"]
        numbers = {"value": float, "low": float, "high": float}
        return pd.DataFrame(rows, columns=columns).astype(numbers)

    def write(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, object]:
        """The evaluation as plain JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": "evaluation",
            "task": self.task.to_dict(),
            "provenance": self.provenance.to_dict(),
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "confidence": self.confidence,
            "images": self.images,
            "patients": self.patients,
            "notes": list(self.notes),
            "metrics": [
                {"metric": metric, "scope": scope, **asdict(estimate)}
                for (metric, scope), estimate in self.estimates.items()
            ],
            "confusion": dict(self.confusion),
            "decision_confusion": dict(self.decision_confusion),
            "patient_table": [asdict(row) for row in self.patient_table],
        }


def read_evaluation(path: Path) -> Evaluation:
    """Read what ``Evaluation.write`` wrote; DataError naming the file where it cannot be."""
    fields = read_json(path, what="evaluation", fix=_FIX)
    require_format(fields, path, kind="evaluation", newest=FORMAT_VERSION)
    try:
        return _evaluation(fields)
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a complete evaluation ({error!r}); {_FIX}") from error


def _evaluation(fields: dict[str, object]) -> Evaluation:
    level = fields["level"]
    if level not in get_args(Level):
        raise DataError(f"unknown level {level!r}; want one of {list(get_args(Level))}")
    metrics = cast("list[dict[str, object]]", fields["metrics"])
    patients = cast("list[dict[str, object]]", fields["patient_table"])
    return Evaluation(
        task=Task.from_dict(section(fields, "task")),
        provenance=Provenance.from_dict(section(fields, "provenance")),
        level=cast("Level", level),
        resamples=_whole(fields["resamples"]),
        seed=_whole(fields["seed"]),
        confidence=_number(fields["confidence"]),
        images=_whole(fields["images"]),
        patients=_whole(fields["patients"]),
        estimates={(str(row["metric"]), str(row["scope"])): _estimate(row) for row in metrics},
        confusion=_counts(section(fields, "confusion")),
        decision_confusion=_counts(section(fields, "decision_confusion")),
        patient_table=tuple(_patient_row(row) for row in patients),
        notes=text_list(fields, "notes"),
    )


def _estimate(row: dict[str, object]) -> Estimate:
    value, low, high = (
        None if row[name] is None else _number(row[name]) for name in ("value", "low", "high")
    )
    return Estimate(
        value, low, high, _whole(row["images"]), _whole(row["patients"]), str(row["note"])
    )


def _patient_row(row: dict[str, object]) -> PatientRow:
    return PatientRow(
        patient=str(row["patient"]),
        labels=text_list(row, "labels"),
        images=_whole(row["images"]),
        recognition_rate=_number(row["recognition_rate"]),
        probabilities=tuple(_number(p) for p in cast("list[object]", row["probabilities"])),
    )


def _counts(by_scope: dict[str, object]) -> dict[str, Counts]:
    return {
        scope: tuple(tuple(_whole(count) for count in row) for row in rows)
        for scope, rows in cast("dict[str, list[list[object]]]", by_scope).items()
    }


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise DataError(f"want a number, found {value!r}")
    return float(value)


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise DataError(f"want a whole number, found {value!r}")
    return value
