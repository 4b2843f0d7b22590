"""Sets that hold the truth as often as they say, for a new image of a new patient."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eosin.errors import ConfigError
from eosin.trust.conformal import (
    Calibration,
    Method,
    SetOptions,
    conformal_sets,
    nonconformity,
    patient_quantile,
)


def draw(
    seed: int, *, patients: int, images: int = 20, classes: int = 4, effect: float = 3.0
) -> Calibration:
    """Patients whose images share a strong effect on the logits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=(patients, images))
    grades = np.arange(classes)
    signal = -np.abs(grades - labels[..., None]) * 1.5
    shared = rng.normal(0, effect, (patients, 1, classes))
    logits = signal + shared + rng.normal(0, 1, (patients, images, classes))
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    patient = np.repeat(np.arange(patients), images)
    return Calibration(chances.reshape(-1, classes), labels.ravel(), patient)


def covered(sets: NDArray[np.bool_], drawn: Calibration) -> float:
    return float(sets[np.arange(len(sets)), drawn.labels].mean())


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0])
def test_sets_cover_new_patients_as_they_say_whatever_the_patient_effect(
    method: Method, effect: float
) -> None:
    found = []
    for seed in range(60):
        known = draw(seed, patients=20, effect=effect)
        new = draw(1000 + seed, patients=100, effect=effect)
        sets = conformal_sets(new.probabilities, known, SetOptions(0.9, method), ordinal=True)
        found.append(covered(sets, new))
    assert np.mean(found) == pytest.approx(0.90, abs=0.02)


def test_images_that_are_copies_count_as_one_a_patient() -> None:
    """Twenty patients with one score each: the 19th of 20, as 20 independent images give it."""
    scores = np.repeat(np.arange(1.0, 21.0), 20)
    patient = np.repeat(np.arange(20), 20)
    assert patient_quantile(scores, patient, SetOptions(0.9)) == 19.0


def test_independent_images_count_as_many_as_they_are() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 401.0))
    patient = np.repeat(np.arange(20), 20)
    assert patient_quantile(scores, patient, SetOptions(0.9)) == pytest.approx(361, abs=1)


def test_a_patient_with_many_images_weighs_no_more_than_one_with_few() -> None:
    many, few = np.full(1000, 0.9), np.full(19, 0.1)
    scores, patient = np.concatenate([many, few]), np.array([0] * 1000 + list(range(1, 20)))
    assert patient_quantile(scores, patient, SetOptions(0.8)) == pytest.approx(0.1)


@pytest.mark.parametrize(("coverage", "needed"), [(0.9, 9), (0.95, 19), (0.8, 4), (0.99, 99)])
def test_too_few_patients_rule_nothing_out_and_the_number_needed_is_said(
    coverage: float, needed: int
) -> None:
    options = SetOptions(coverage)
    assert options.patients_needed == needed
    few, new = draw(1, patients=needed - 1), draw(2, patients=3)
    assert conformal_sets(new.probabilities, few, options, ordinal=False).all()
    enough = draw(1, patients=needed, effect=0.0)
    assert not conformal_sets(new.probabilities, enough, options, ordinal=False).all()


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("by_class", [False, True])
def test_no_set_of_grades_skips_a_grade(method: Method, by_class: bool) -> None:
    known, new = draw(3, patients=30), draw(4, patients=200)
    options = SetOptions(0.8, method, by_class)
    sets = conformal_sets(new.probabilities, known, options, ordinal=True)
    steps = np.diff(sets.astype(int), axis=1, prepend=0, append=0)
    assert ((steps == 1).sum(axis=1) == 1).all()
    plain = conformal_sets(new.probabilities, known, options, ordinal=False)
    gaps = (np.diff(plain.astype(int), axis=1, prepend=0, append=0) == 1).sum(axis=1) > 1
    assert gaps.mean() > 0.1  # the plain sets of the same images do skip


def test_each_class_is_covered_on_request() -> None:
    rng = np.random.default_rng(5)

    def lopsided(seed: int, patients: int) -> Calibration:
        drawn = draw(seed, patients=patients, classes=2, effect=0.5)
        tilt = np.array([0.3, 0.7]) * drawn.probabilities
        return Calibration(tilt / tilt.sum(1, keepdims=True), drawn.labels, drawn.patient)

    found: dict[bool, list[float]] = {False: [], True: []}
    for by_class, shares in found.items():
        for seed in rng.integers(1000, size=30):
            known, new = lopsided(int(seed), 30), lopsided(int(seed) + 5000, 60)
            options = SetOptions(0.9, by_class=by_class)
            sets = conformal_sets(new.probabilities, known, options, ordinal=False)
            shares.append(float(sets[new.labels == 0, 0].mean()))
    assert np.mean(found[False]) < 0.87
    assert np.mean(found[True]) == pytest.approx(0.90, abs=0.02)


def test_a_set_is_never_empty() -> None:
    known = Calibration(np.tile([0.99, 0.01], (20, 1)), np.zeros(20, np.int64), np.arange(20))
    sets = conformal_sets(np.array([[0.6, 0.4]]), known, SetOptions(0.9), ordinal=False)
    assert sets.tolist() == [[True, False]]


def test_scores_of_grades_by_hand() -> None:
    """Grade 0 is likelier than grade 1 on the way to it: it may not come in before it."""
    chances = np.array([[0.25, 0.05, 0.6, 0.1]])
    assert nonconformity(chances, "lac", ordinal=False)[0] == pytest.approx([0.75, 0.95, 0.4, 0.9])
    assert nonconformity(chances, "lac", ordinal=True)[0] == pytest.approx([0.95, 0.95, 0.4, 0.9])
    assert nonconformity(chances, "aps", ordinal=False)[0] == pytest.approx([0.6, 0.95, 0, 0.85])
    assert nonconformity(chances, "aps", ordinal=True)[0] == pytest.approx([0.75, 0.7, 0, 0.6])


@pytest.mark.parametrize("coverage", [0.0, 0.4, 1.0, 90.0, float("nan")])
def test_a_coverage_that_is_no_level_is_refused(coverage: float) -> None:
    with pytest.raises(ConfigError, match="coverage"):
        SetOptions(coverage)
