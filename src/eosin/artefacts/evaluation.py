"""The Evaluation: every figure with its interval, its n and what a reader must know of it."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from eosin.artefacts.codec import Artefact, Fields, Strict, read_artefact, write_artefact
from eosin.artefacts.estimate import ALL, Estimate, Level, Scope, figure_frame
from eosin.artefacts.glossary import GLOSSARY
from eosin.artefacts.predictions import Provenance
from eosin.artefacts.values import Count, PositiveCount, Share
from eosin.errors import DataError
from eosin.files import StrPath
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

Counts = tuple[tuple[Count, ...], ...]
Confidence = Annotated[float, Field(gt=0, lt=1)]

_FIX = "write it again with `eosin evaluate`"
_ROUNDING = 1e-3  # of probabilities that sum to one


class Confusion(Strict):
    """Counts of (true, chosen) class, rows the truth, in class order."""

    scope: Scope  # all, or a magnification
    predicted: Counts  # of the most probable class
    decided: Counts | None  # of the choice at the locked threshold; None but for binary tasks


class PatientRow(Strict):
    """How one patient fared."""

    patient: str  # its name
    labels: tuple[str, ...]  # the true classes of its images, in class order
    images: PositiveCount  # how many it has
    # share of them classified right (Spanhol et al. 2016, Eq. 1), in [0, 1]
    recognition_rate: Share
    probabilities: tuple[float, ...]  # mean probability of each class over its images


class Evaluation(Artefact):
    """Figures of one predictions table.

    Attributes:
        task: the classes.
        provenance: where the predictions come from, with the protocol's name and warning.
        level: whether images or patients were scored.
        resamples, seed, confidence: of the intervals.
        images, patients: how many were scored.
        notes: plain sentences on the whole.
        estimates: every figure, in reading order.
        confusion: of all that was scored, then of each magnification.
        patient_table: a row a patient, sorted; empty where patients are unknown.
    """

    kind: Literal["evaluation"] = "evaluation"
    task: Task
    provenance: Provenance
    level: Level
    resamples: PositiveCount
    seed: int
    confidence: Confidence
    images: Count
    patients: Count
    notes: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    confusion: tuple[Confusion, ...]
    patient_table: tuple[PatientRow, ...]

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes, in reading order."""
        return tuple(dict.fromkeys(estimate.scope for estimate in self.estimates))

    @property
    def one_rule(self) -> bool:
        """Whether the most probable class and the locked threshold decide alike here."""
        found = self.counts()
        return found.decided is None or found.decided == found.predicted

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, Scope], Estimate]:
        return {(estimate.metric, estimate.scope): estimate for estimate in self.estimates}

    def has(self, metric: str, scope: Scope = ALL) -> bool:
        """Whether there is such a figure."""
        return (metric, scope) in self._by_key

    def value(self, metric: str, scope: Scope = ALL) -> Estimate:
        """One figure; DataError, naming what there is, where this evaluation does not have it."""
        if self.has(metric, scope):
            return self._by_key[metric, scope]
        if scope not in self.scopes:
            raise DataError(f"no scope {scope!r} in this evaluation; it has {list(self.scopes)}")
        known = [estimate.metric for estimate in self.estimates if estimate.scope == scope]
        raise DataError(f"no metric {metric!r} for scope {scope!r}; there are {known}")

    def counts(self, scope: Scope = ALL) -> Confusion:
        """The confusion matrices of all, or of one magnification; DataError where there is none."""
        for matrix in self.confusion:
            if matrix.scope == scope:
                return matrix
        raise DataError(f"no confusion matrix of {scope!r} in this evaluation")

    def frame(self) -> pd.DataFrame:
        """A row a figure: metric, scope, value, low, high, n_images, n_patients, note.

        A figure or an interval that does not exist is NaN here, and its note says why.
        """
        return figure_frame(({}, each) for each in self.estimates)

    def __str__(self) -> str:
        area = "roc_auc" if self.has("roc_auc") else "macro_roc_auc"
        found = "; ".join(str(self.value(name)) for name in (area, "accuracy") if self.has(name))
        return f"{self.level} level, {self.provenance.protocol.name}: {found}"

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html, figure_rows

        return as_html(self, figure_rows(self._overall(), self.confidence), most=99)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Every overall figure that lies within -1 and 1, with its interval; a bar marks chance."""
        from eosin.artefacts.looks import draw_estimates

        rows = [(name, each) for name, each in self._overall() if GLOSSARY[each.metric].most <= 1]
        title = f"{self.level} level, {self.provenance.protocol.name}"
        return draw_estimates(rows, ax, title=title, confidence=self.confidence)

    def _overall(self) -> list[tuple[str, Estimate]]:
        return [(GLOSSARY[e.metric].title, e) for e in self.estimates if e.scope == ALL]

    def write(self, path: StrPath) -> None:
        """Write the evaluation as JSON."""
        write_artefact(self, Path(path))

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        require_figures(self.estimates, self.task, level=self.level)
        scored = self.images if self.level == "image" else self.patients
        totals = [sum(map(sum, m.predicted)) for m in self.confusion if m.scope == ALL]
        if totals != [scored]:
            raise DataError(f"confusion: counts {totals} of all for {scored} scored")
        for matrix in self.confusion:
            _require_shape(matrix, self.task)
        if self.patient_table and len({row.patient for row in self.patient_table}) != self.patients:
            raise DataError(f"patient_table: does not name {self.patients} patients once each")
        for row in self.patient_table:
            _require_classes(row, self.task)
        return self


def require_figures(estimates: tuple[Estimate, ...], task: Task, *, level: Level) -> None:
    """DataError where a figure stands twice, is of no class of the task, or cannot be so large."""
    known, met = {None, *task.classes}, set[tuple[str, Scope]]()
    for each in estimates:
        name = f"{each.metric}, {each.scope}"
        if (each.metric, each.scope) in met:
            raise DataError(f"estimates: {name} stands twice")
        if each.scope.class_name not in known:
            raise DataError(f"{name}: class_name is none of {list(task.classes)}")
        if each.level != level:
            raise DataError(f"{name}: level = {each.level!r}, but the level scored is {level!r}")
        meaning = GLOSSARY[each.metric]
        if not each.lies_within(meaning.least, meaning.most):
            raise DataError(
                f"{name}: value = {each.value}, low = {each.low}, high = {each.high} do not lie "
                "where this metric can"
            )
        met.add((each.metric, each.scope))


def _require_shape(matrix: Confusion, task: Task) -> None:
    classes = len(task.classes)
    if matrix.scope.class_name is not None or (matrix.decided is None) == task.binary:
        raise DataError(f"confusion, {matrix.scope}: scope or decided do not fit the task")
    for name, counts in (("predicted", matrix.predicted), ("decided", matrix.decided)):
        if counts is not None and {len(counts), *map(len, counts)} != {classes}:
            raise DataError(f"confusion, {matrix.scope}: {name} is not {classes} x {classes}")


def _require_classes(row: PatientRow, task: Task) -> None:
    chances = row.probabilities
    if not row.labels or not {*row.labels} <= {*task.classes}:
        raise DataError(f"patient_table, {row.patient}: labels = {list(row.labels)}")
    if len(chances) != len(task.classes) or min(chances) < 0 or abs(sum(chances) - 1) > _ROUNDING:
        raise DataError(f"patient_table, {row.patient}: probabilities = {list(chances)}")


def read_evaluation(path: StrPath) -> Evaluation:
    """Read what ``Evaluation.write`` wrote; DataError naming the file where it cannot be."""
    return read_artefact(Evaluation, Path(path), fix=_FIX, upgrade=_from_format_1)


def _from_format_1(fields: dict[str, Any]) -> Fields:
    """Format 1 named scopes by text and kept the counts of either choice apart, by that text."""
    predicted, decided = fields["confusion"], fields["decision_confusion"]
    if decided and decided.keys() != predicted.keys():
        raise KeyError("decision_confusion")
    steps = [name.removeprefix("magnification ") for name in predicted if name != str(ALL)]
    classes = fields["task"]["classes"]
    scopes = [Scope(name, step) for step in (None, *steps) for name in (None, *classes)]
    named = {str(scope): asdict(scope) for scope in scopes}
    if len(named) < len(scopes):
        raise KeyError("scope")
    kept = {key: fields[key] for key in fields if key not in ("metrics", "decision_confusion")}
    return {
        **kept,
        "estimates": [
            {"level": fields["level"], **row, "scope": named[row["scope"]]}
            for row in fields["metrics"]
        ],
        "confusion": [
            {"scope": named[name], "predicted": counts, "decided": decided.get(name)}
            for name, counts in predicted.items()
        ],
    }
