"""Predictions tables to a Comparison: the same images, the same resamples, every pair of models."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.comparison import (
    Comparison,
    Difference,
    PairTest,
    primary_metric_of,
    rank_models,
)
from eosin.artefacts.estimate import ALL
from eosin.artefacts.mistakes import Mistakes
from eosin.evaluation import sentences
from eosin.evaluation.alignment import Aligned, align, protocol_sentences
from eosin.evaluation.all_metrics import MetricKey, less, score_sample
from eosin.evaluation.evaluate import Resampled, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.paired_tests import holm, mcnemar_p, sign_flip_p
from eosin.evaluation.sample import Sample, image_sample
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import Bools, Floats
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.predictions import Predictions
    from eosin.artefacts.shared_ranks import Ranked
    from eosin.tasks import Task

    Scores = Mapping[MetricKey, Floats]


def compare_predictions(
    tables: Mapping[str, Predictions], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare models on the images that all of them scored.

    Every resample draws the same patients for every model, so the interval of a difference keeps
    what the models have in common: hard patients are hard for all. Tests and mistakes are about
    the most probable class.

    Args:
        tables: labelled predictions by the name of their model, two or more.
        resamples: bootstrap draws of patients for the 95 % intervals.
        seed: of the draws.

    Raises:
        DataError: an image has no label; tasks, labels or patients differ; or no image is in all.
        ConfigError: resamples are too few for the interval.
    """
    bootstrap = Bootstrap(resamples, seed)
    aligned = align(tables)
    first = next(iter(aligned.tables.values()))
    known = all(patients_known(table) for table in aligned.tables.values())
    samples = {name: image_sample(table) for name, table in aligned.tables.items()}
    one = next(iter(samples.values()))
    weights = Weights(one.patient, bootstrap.rows(one.patients))
    with one_blas_thread():
        scores = {
            name: score_sample(sample, first.task, weights, recognition=known)
            for name, sample in samples.items()
        }
    right = {name: sample.labels == sample.predicted for name, sample in samples.items()}
    estimates = {}
    for name, table in aligned.tables.items():
        at = sentences.of_threshold(table, by_patient=False)
        own = Resampled(samples[name], table.task, bootstrap, at=at)
        estimates[name] = own.estimates(scores[name])
    differences = _differences(scores, Resampled(one, first.task, bootstrap, caveats=False))
    return Comparison(
        task=first.task,
        provenance={name: t.provenance.in_valid_text() for name, t in aligned.tables.items()},
        left_out=aligned.left_out,
        resamples=resamples,
        seed=seed,
        confidence=bootstrap.confidence,
        images=len(one),
        patients=len(one.patients),
        patients_known=known,
        warnings=protocol_sentences(aligned.tables),
        notes=_notes(aligned, one, known=known),
        estimates=estimates,
        differences=differences,
        rankings=_rankings(estimates, differences, first.task),
        tests=_tests(right, one if known else None),
        mistakes=_mistakes(aligned.tables),
    )


def _differences(scores: Mapping[str, Scores], paired: Resampled) -> tuple[Difference, ...]:
    """Every figure of each pair of models, whose rows are the same resamples."""
    return tuple(
        Difference(first, second, each)
        for first, second in combinations(scores, 2)
        for each in paired.estimates(
            {key: less(rows, scores[second][key]) for key, rows in scores[first].items()}
        )
    )


def _rankings(
    estimates: Mapping[str, tuple[Estimate, ...]], differences: Sequence[Difference], task: Task
) -> dict[str, tuple[Ranked, ...]]:
    """By accuracy and by the primary metric, where it has a value."""
    own = next(iter(estimates.values()))
    known = {each.metric for each in own if each.scope == ALL and each.value is not None}
    return {
        metric: rank_models(estimates, differences, metric)
        for metric in ("accuracy", primary_metric_of(task))
        if metric in known
    }


def _tests(right: Mapping[str, Bools], sample: Sample | None) -> tuple[PairTest, ...]:
    """McNemar's test of each pair; then, given a sample with patients, the sign-flip test."""
    pairs = list(combinations(right, 2))
    alone = [_only(right[first], right[second]) for first, second in pairs]
    p = [mcnemar_p(*counts) for counts in alone]
    found = [
        PairTest(*pair, "image", *counts, raw, corrected)
        for pair, counts, raw, corrected in zip(pairs, alone, p, holm(p), strict=True)
    ]
    if sample is None:
        return tuple(found)
    gains = [
        np.bincount(sample.patient, right[first].astype(float) - right[second])
        for first, second in pairs
    ]
    p = [sign_flip_p(gain) for gain in gains]
    found += [
        PairTest(*pair, "patient", int((gain > 0).sum()), int((gain < 0).sum()), raw, corrected)
        for pair, gain, raw, corrected in zip(pairs, gains, p, holm(p), strict=True)
    ]
    return tuple(found)


def _only(first: Bools, second: Bools) -> tuple[int, int]:
    """Images that the first alone got right, and that the second alone did."""
    return int((first & ~second).sum()), int((second & ~first).sum())


def _mistakes(tables: Mapping[str, Predictions]) -> Mistakes:
    """Which images each model gets wrong, and how far their mistakes are the same ones."""
    frames = [table.frame for table in tables.values()]
    images = frames[0][["path", "patient", "magnification", "label"]].reset_index(drop=True)
    predicted = {
        f"predicted_{name}": list(table.frame["predicted"]) for name, table in tables.items()
    }
    wrong = np.stack([np.asarray(frame["predicted"] != frame["label"]) for frame in frames], 1)
    times = wrong.sum(axis=1)
    shared = wrong.T.astype(np.int64) @ wrong
    table = images.assign(models_wrong=times, **predicted)[times > 0]
    table = table.sort_values(["models_wrong", "path"], ascending=[False, True], kind="stable")
    found = Mistakes(
        wrong=tuple(shared.diagonal().tolist()),
        wrong_alone=tuple(wrong[times == 1].sum(axis=0).tolist()),
        wrong_shared=tuple(tuple(row) for row in shared.tolist()),
        images_all_get_wrong=int((times == len(tables)).sum()),
        images_any_gets_wrong=int((times > 0).sum()),
    )
    return found.naming(table.reset_index(drop=True))


def _notes(aligned: Aligned, sample: Sample, *, known: bool) -> tuple[str, ...]:
    """What the makers of the models said of them, images left out, and how many patients."""
    tables = aligned.tables
    said_of: dict[str, list[str]] = {}
    for name, table in tables.items():
        for sentence in table.provenance.notes:
            said_of.setdefault(sentence, []).append(name)
    found = [
        sentence if len(names) == len(tables) else f"{', '.join(names)}: {sentence}"
        for sentence, names in said_of.items()
    ]
    for name, count in aligned.left_out.items():
        if count:
            found.append(
                f"{name}: {count:,} of {count + len(sample):,} images left out, because not all "
                "other tables have them."
            )
    found += sentences.on_patients(next(iter(tables.values())), sample, known=known)
    return tuple(dict.fromkeys(found))
