"""Predictions tables to a Comparison: the same images, the same resamples, every pair of models."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from eosin.evaluation import sentences
from eosin.evaluation.alignment import Aligned, align, protocol_sentences
from eosin.evaluation.comparison import Comparison, Difference, PairTest
from eosin.evaluation.evaluate import (
    AT_THRESHOLD,
    estimate_of,
    interval_around,
    one_blas_thread,
    patients_known,
)
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.mistakes import find_mistakes
from eosin.evaluation.paired_tests import holm, mcnemar_p, sign_flip_p
from eosin.evaluation.sample import Sample, image_sample
from eosin.evaluation.scoring import MetricKey, score_sample
from eosin.evaluation.weights import Bools, Floats, Weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.evaluation import Estimate
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
    return Comparison(
        task=first.task,
        provenance={name: table.provenance for name, table in aligned.tables.items()},
        resamples=resamples,
        seed=seed,
        confidence=bootstrap.confidence,
        images=len(one),
        patients=len(one.patients),
        left_out=aligned.left_out,
        patients_known=known,
        estimates=_estimates(aligned, samples, scores, bootstrap=bootstrap),
        differences=_differences(one, first.task, scores, bootstrap=bootstrap),
        tests=_tests(right, one if known else None),
        mistakes=find_mistakes(aligned.tables),
        warnings=protocol_sentences(aligned.tables),
        notes=_notes(aligned, one, known=known),
    )


def _estimates(
    aligned: Aligned,
    samples: Mapping[str, Sample],
    scores: Mapping[str, Scores],
    *,
    bootstrap: Bootstrap,
) -> dict[tuple[str, str, str], Estimate]:
    """Every figure of every model, with the notes that an Evaluation would give it."""
    found = {}
    for name, table in aligned.tables.items():
        at = sentences.of_threshold(table, by_patient=False)
        for key, scope in _in_reading_order(scores[name], table.task):
            rows = scores[name][key]
            estimate = estimate_of(key, rows, samples[name], table.task, bootstrap=bootstrap)
            if key in AT_THRESHOLD:
                estimate = replace(estimate, note="; ".join(filter(None, [at, estimate.note])))
            found[name, key.metric, scope] = estimate
    return found


def _differences(
    sample: Sample, task: Task, scores: Mapping[str, Scores], *, bootstrap: Bootstrap
) -> tuple[Difference, ...]:
    """Every figure's difference for each pair; the rows of scores are the same resamples."""
    found = []
    for first, second in combinations(scores, 2):
        for key, scope in _in_reading_order(scores[first], task):
            rows = scores[first][key] - scores[second][key]
            value, low, high, notes = interval_around(key, rows, sample, task, bootstrap=bootstrap)
            note = "; ".join(notes)
            found.append(Difference(first, second, key.metric, scope, value, low, high, note))
    return tuple(found)


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


def _in_reading_order(scores: Scores, task: Task) -> list[tuple[MetricKey, str]]:
    """Every figure and the name of its scope: the whole, then class by class."""
    places = [None, *range(len(task.classes))]
    return [
        (key, "all" if place is None else f"class {task.classes[place]}")
        for place in places
        for key in scores
        if key.class_index == place
    ]


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
