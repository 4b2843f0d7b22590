"""The Comparison: models on the same images, every difference with its paired interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from eosin.artefacts.codec import Artefact, write_artefact
from eosin.artefacts.estimate import ALL, Estimate, Level, Scope, figure_frame
from eosin.artefacts.evaluation import Confidence, require_figures
from eosin.artefacts.glossary import GLOSSARY
from eosin.artefacts.mistakes import Mistakes
from eosin.artefacts.predictions import Provenance
from eosin.artefacts.shared_ranks import Ranked, rank_in_groups
from eosin.artefacts.values import Count, PositiveCount, Share
from eosin.errors import DataError
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from matplotlib.axes import Axes

    from eosin.files import StrPath


@dataclass(frozen=True, slots=True)
class Difference:
    """The figure of the first model minus that of the second, on the same images.

    Attributes:
        first, second: the models.
        estimate: the difference in the metric's unit, with its paired, patient-clustered interval.
    """

    first: str
    second: str
    estimate: Estimate


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
    unit: Level
    first_better: Count
    second_better: Count
    p: Share
    p_holm: Share


class Comparison(Artefact):
    """Models on the same images.

    Attributes:
        task: the classes.
        provenance: where the predictions of each model come from, by name, in the order given.
        left_out: by model, how many of its images another table lacks.
        resamples, seed, confidence: of the intervals; all models share the same resamples.
        images, patients: how many all models were compared on.
        patients_known: whether images name patients; else each counts as its own, and there is no
            patient-level test.
        warnings: what must be said loudly, such as protocols that differ.
        notes: plain sentences on the whole.
        estimates: every figure, by model.
        differences: of each pair of models and figure, the model given first minus the other.
        rankings: by accuracy and the primary metric, where these have a value.
        tests: of each pair of models, by image and, where patients are known, by patient.
        mistakes: how many images each model gets wrong, and which.
    """

    kind: Literal["comparison"] = "comparison"
    task: Task
    provenance: Mapping[str, Provenance]
    left_out: Mapping[str, Count]
    resamples: PositiveCount
    seed: int
    confidence: Confidence
    images: Count
    patients: Count
    patients_known: bool
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    estimates: Mapping[str, tuple[Estimate, ...]]
    differences: tuple[Difference, ...]
    rankings: Mapping[str, tuple[Ranked, ...]]
    tests: tuple[PairTest, ...]
    mistakes: Mistakes

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order given."""
        return tuple(self.provenance)

    @property
    def primary_metric(self) -> str:
        """The figure to judge by beside accuracy; see ``primary_metric_of``."""
        return primary_metric_of(self.task)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the whole, in reading order."""
        first = self.estimates[self.models[0]]
        return tuple(each.metric for each in first if each.scope == ALL)

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str, Scope], Estimate]:
        return {
            (model, each.metric, each.scope): each
            for model, own in self.estimates.items()
            for each in own
        }

    @cached_property
    def _by_pair(self) -> Mapping[tuple[str, str, str, Scope], Estimate]:
        """Differences of each pair either way round."""
        found = {}
        for each in self.differences:
            change = each.estimate
            found[each.first, each.second, change.metric, change.scope] = change
            found[each.second, each.first, change.metric, change.scope] = _negative(change)
        return found

    def value(self, model: str, metric: str, scope: Scope = ALL) -> Estimate:
        """One model's figure; DataError, naming what there is, where there is none."""
        if (model, metric, scope) in self._by_key:
            return self._by_key[model, metric, scope]
        if model not in self.provenance:
            raise DataError(f"no model {model!r} in this comparison; it has {list(self.models)}")
        own = self.estimates[model]
        raise DataError(
            f"no metric {metric!r} for scope {scope!r}; scopes are "
            f"{list(dict.fromkeys(each.scope for each in own))}, metrics of this one "
            f"{[each.metric for each in own if each.scope == scope]}"
        )

    def difference(
        self, first: str, second: str, metric: str = "accuracy", scope: Scope = ALL
    ) -> Estimate:
        """``first`` minus ``second``, in either order; DataError where there is no such figure."""
        self.value(first, metric, scope)
        self.value(second, metric, scope)
        if first == second:
            raise DataError(f"a difference needs two models, got {first!r} twice")
        return self._by_pair[first, second, metric, scope]

    def ranking(self, metric: str = "accuracy", scope: Scope = ALL) -> tuple[Ranked, ...]:
        """The models from best to worst; those that cannot be told apart from a best share a rank.

        The rule is that of ``eosin.artefacts.shared_ranks.rank_in_groups``.

        Raises:
            DataError: there is no such metric, or it has no value on these images.
        """
        for model in self.models:
            self.value(model, metric, scope)
        return rank_models(self.estimates, self.differences, metric, scope)

    def frame(self) -> pd.DataFrame:
        """A row a difference: first, second, metric, scope, difference, low, high, note."""
        pairs = [({"first": d.first, "second": d.second}, d.estimate) for d in self.differences]
        frame = figure_frame(pairs).drop(columns=["n_images", "n_patients"])
        return frame.rename(columns={"value": "difference"})

    def model_frame(self) -> pd.DataFrame:
        """A row a figure of a model under its protocol.

        Columns: model, protocol, leaky, metric, scope, value, low, high, n_images, n_patients,
        note.
        """
        beside = {
            name: {"model": name, "protocol": own.protocol.name, "leaky": own.protocol.leaky}
            for name, own in self.provenance.items()
        }
        return figure_frame(
            (beside[name], each) for name, own in self.estimates.items() for each in own
        )

    def test_frame(self) -> pd.DataFrame:
        """A row a test: first, second, unit, first_better, second_better, p, p_holm."""
        import pandas as pd

        return pd.DataFrame([asdict(test) for test in self.tests])

    def __str__(self) -> str:
        return f"{' against '.join(self.models)} on {self.images} images, {self.patients} patients"

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html, figure_rows

        return as_html(self, figure_rows(self._headline(), self.confidence), most=99)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The difference of each pair in accuracy and the primary metric, with its interval."""
        from eosin.artefacts.looks import draw_estimates

        rows, title = self._headline(), str(self)
        return draw_estimates(rows, ax, title=title, confidence=self.confidence, at=0.0)

    def _headline(self) -> list[tuple[str, Estimate]]:
        return [
            (f"{each.first} − {each.second}, {GLOSSARY[metric].name}", each.estimate)
            for metric in dict.fromkeys(("accuracy", self.primary_metric))
            for each in self.differences
            if (each.estimate.metric, each.estimate.scope) == (metric, ALL)
        ]

    def write(self, path: StrPath) -> None:
        """Write the comparison as JSON; of its mistakes the counts."""
        write_artefact(self, Path(path))

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        names = self.models
        if len(names) < 2 or any({*names} != {*by} for by in (self.left_out, self.estimates)):
            raise DataError("provenance, left_out and estimates: want the same two models or more")
        for own in self.estimates.values():
            require_figures(own, self.task, level="image")
        self._require_pairs()
        if len(self.mistakes.wrong) != len(names):
            raise DataError(f"mistakes: want counts of {len(names)} models")
        for metric, ranked in self.rankings.items():
            if ranked != self.ranking(metric):
                raise DataError(f"rankings: {metric} is not what the differences say")
        return self

    def _require_pairs(self) -> None:
        figures = {(metric, scope) for _, metric, scope in self._by_key}
        pairs = list(combinations(self.models, 2))
        if len(self._by_key) != len(figures) * len(self.models):
            raise DataError("estimates: not every model has the same figures")
        if len(self.differences) != len(pairs) * len(figures) or any(
            (*pair, *figure) not in self._by_pair for pair in pairs for figure in figures
        ):
            raise DataError("differences: want one of each pair of models and figure")
        for each in self.differences:
            span = GLOSSARY[each.estimate.metric].most - GLOSSARY[each.estimate.metric].least
            if not each.estimate.lies_within(-span, span):
                raise DataError(f"differences: {each} lies where no such difference can")
        units = ("image", "patient") if self.patients_known else ("image",)
        if [(t.unit, t.first, t.second) for t in self.tests] != [
            (unit, *pair) for unit in units for pair in pairs
        ]:
            raise DataError("tests: want one of each pair of models, by image, then by patient")


def primary_metric_of(task: Task) -> str:
    """Quadratic-weighted kappa for grades, else balanced accuracy.

    That one a model cannot raise by preferring the commonest class.
    """
    return "quadratic_kappa" if task.ordinal else "balanced_accuracy"


def rank_models(
    estimates: Mapping[str, Iterable[Estimate]],
    differences: Iterable[Difference],
    metric: str,
    scope: Scope = ALL,
) -> tuple[Ranked, ...]:
    """Rank by one figure of each model; DataError where it has no value on these images."""
    values = {}
    for model, own in estimates.items():
        found = next(each for each in own if (each.metric, each.scope) == (metric, scope))
        if found.value is None:
            raise DataError(f"cannot rank by {metric!r}: {found.note}")
        values[model] = found.value
    apart = {
        frozenset((each.first, each.second))
        for each in differences
        if (each.estimate.metric, each.estimate.scope) == (metric, scope)
        and each.estimate.excludes_zero
    }
    return rank_in_groups(
        values,
        apart=lambda one, other: frozenset((one, other)) in apart,
        higher_is_better=GLOSSARY[metric].better == "higher",
    )


def _negative(change: Estimate) -> Estimate:
    """The second model minus the first."""
    value, low, high = (
        None if x is None else 0.0 - x for x in (change.value, change.high, change.low)
    )
    return replace(change, value=value, low=low, high=high)
