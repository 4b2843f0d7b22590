"""The Comparison: models on the same images, every difference with its paired interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from eosin.errors import DataError
from eosin.evaluation.glossary import GLOSSARY
from eosin.evaluation.rank_groups import Ranked, rank_in_groups
from eosin.files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.predictions import Provenance
    from eosin.evaluation.evaluation import Estimate
    from eosin.evaluation.mistakes import Mistakes
    from eosin.tasks import Task

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """The value of the first model minus that of the second, on the same images.

    Attributes:
        first, second: the models.
        metric, scope: of the figure; the scope is ``"all"`` or ``"class X"``.
        value: the difference in the metric's unit; None where the metric has no meaning here.
        low, high: its paired, patient-clustered interval; None where there is none.
        note: why something is missing, or empty.
    """

    first: str
    second: str
    metric: str
    scope: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def reversed(self) -> Difference:
        """The second model minus the first."""
        value, low, high = (
            None if x is None else 0.0 - x for x in (self.value, self.high, self.low)
        )
        return replace(self, first=self.second, second=self.first, value=value, low=low, high=high)


@dataclass(frozen=True, slots=True)
class PairTest:
    """An exact test of whether two models get the same share of images right.

    Attributes:
        first, second: the models.
        unit: what may differ by chance: ``"image"`` for McNemar's test, which takes images for
            independent, ``"patient"`` for the sign-flip test, which does not.
        first_better, second_better: images that one model alone got right; or patients of whom it
            got more images right.
        p: two-sided.
        p_holm: corrected for all pairs of models (Holm 1979).
    """

    first: str
    second: str
    unit: Literal["image", "patient"]
    first_better: int
    second_better: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Models on the same images.

    Attributes:
        task: the classes.
        provenance: where the predictions of each model come from, by name, in the order given.
        resamples, seed, confidence: of the intervals; all models share the same resamples.
        images, patients: how many all models were compared on.
        left_out: by model, how many of its images another table lacks.
        patients_known: whether images name patients; else each counts as its own, and there is no
            patient-level test.
        estimates: every figure by (model, metric, scope).
        differences: of each pair of models and figure, the model given first minus the other.
        tests: of each pair of models, by image and, where patients are known, by patient.
        mistakes: which images each model gets wrong.
        warnings: what must be said loudly, such as protocols that differ.
        notes: plain sentences on the whole.
    """

    task: Task
    provenance: Mapping[str, Provenance]
    resamples: int
    seed: int
    confidence: float
    images: int
    patients: int
    left_out: Mapping[str, int]
    patients_known: bool
    estimates: Mapping[tuple[str, str, str], Estimate]
    differences: tuple[Difference, ...]
    tests: tuple[PairTest, ...]
    mistakes: Mistakes
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order given."""
        return tuple(self.provenance)

    @property
    def primary_metric(self) -> str:
        """The figure to judge by beside accuracy.

        Quadratic-weighted kappa for grades, else balanced accuracy, which a model cannot raise by
        preferring the commonest class.
        """
        return "quadratic_kappa" if self.task.ordinal else "balanced_accuracy"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the whole (scope ``"all"``), in reading order."""
        return tuple(dict.fromkeys(name for _, name, scope in self.estimates if scope == "all"))

    def value(self, model: str, metric: str, scope: str = "all") -> Estimate:
        """One model's figure; DataError, naming what there is, where there is none."""
        if (model, metric, scope) in self.estimates:
            return self.estimates[model, metric, scope]
        if model not in self.provenance:
            raise DataError(f"no model {model!r} in this comparison; it has {list(self.models)}")
        scopes = dict.fromkeys(where for _, _, where in self.estimates)
        known = dict.fromkeys(name for _, name, where in self.estimates if where == scope)
        raise DataError(
            f"no metric {metric!r} for scope {scope!r}; scopes are {list(scopes)}, metrics of this "
            f"one {list(known)}"
        )

    def difference(
        self, first: str, second: str, metric: str = "accuracy", scope: str = "all"
    ) -> Difference:
        """``first`` minus ``second``, in either order; DataError where there is no such figure."""
        self.value(first, metric, scope)
        self.value(second, metric, scope)
        for found in self.differences:
            if (found.metric, found.scope) == (metric, scope):
                if (found.first, found.second) == (first, second):
                    return found
                if (found.second, found.first) == (first, second):
                    return found.reversed()
        raise DataError(f"a difference needs two models, got {first!r} twice")

    def ranking(self, metric: str = "accuracy", scope: str = "all") -> tuple[Ranked, ...]:
        """The models from best to worst; those that cannot be told apart from a best share a rank.

        The rule is that of ``eosin.evaluation.rank_groups.rank_in_groups``.

        Raises:
            DataError: there is no such metric, or it has no value on these images.
        """
        values = {}
        for model in self.models:
            found = self.value(model, metric, scope)
            if found.value is None:
                raise DataError(f"cannot rank by {metric!r}: {found.note}")
            values[model] = found.value
        return rank_in_groups(
            values,
            apart=lambda one, other: self.difference(one, other, metric, scope).excludes_zero,
            higher_is_better=GLOSSARY[metric].better == "higher",
        )

    def frame(self) -> pd.DataFrame:
        """A row a difference: first, second, metric, scope, difference, low, high, note."""
        import pandas as pd

        rows = [
            (d.first, d.second, d.metric, d.scope, d.value, d.low, d.high, d.note)
            for d in self.differences
        ]
        columns = ["first", "second", "metric", "scope", "difference", "low", "high", "note"]
        return pd.DataFrame(rows, columns=columns).astype(
            {"difference": float, "low": float, "high": float}
        )

    def model_frame(self) -> pd.DataFrame:
        """A row a figure of a model under its protocol.

        Columns: model, protocol, leaky, metric, scope, value, low, high, n_images, n_patients,
        note.
        """
        import pandas as pd

        rows = []
        for (model, metric, scope), e in self.estimates.items():
            protocol = self.provenance[model].protocol
            figure = (e.value, e.low, e.high, e.images, e.patients, e.note)
            rows.append((model, protocol.name, protocol.leaky, metric, scope, *figure))
        columns = ["model", "protocol", "leaky", "metric", "scope", "value", "low", "high"]
        columns += ["n_images", "n_patients", "note"]
        numbers = {"value": float, "low": float, "high": float}
        return pd.DataFrame(rows, columns=columns).astype(numbers)

    def test_frame(self) -> pd.DataFrame:
        """A row a test: first, second, unit, first_better, second_better, p, p_holm."""
        import pandas as pd

        return pd.DataFrame([asdict(test) for test in self.tests])

    def write(self, path: Path) -> None:
        """Write the comparison as JSON."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, object]:
        """The comparison as plain JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": "comparison",
            "task": self.task.to_dict(),
            "models": [
                {"name": name, "left_out": self.left_out[name], **provenance.to_dict()}
                for name, provenance in self.provenance.items()
            ],
            "resamples": self.resamples,
            "seed": self.seed,
            "confidence": self.confidence,
            "images": self.images,
            "patients": self.patients if self.patients_known else None,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "rankings": {
                metric: [asdict(place) for place in self.ranking(metric)]
                for metric in ("accuracy", self.primary_metric)
                if self.value(self.models[0], metric).value is not None
            },
            "metrics": [
                {"model": model, "metric": metric, "scope": scope, **asdict(estimate)}
                for (model, metric, scope), estimate in self.estimates.items()
            ],
            "differences": [asdict(difference) for difference in self.differences],
            "tests": [asdict(test) for test in self.tests],
            "mistakes": self.mistakes.to_dict(),
        }
