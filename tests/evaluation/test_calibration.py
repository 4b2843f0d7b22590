"""Temperature, threshold, reliability and calibration error, with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk

from eosin.errors import DataError
from eosin.evaluation.calibration import (
    TEMPERATURES,
    apply_temperature,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    lock_threshold,
    reliability,
)
from eosin.evaluation.weights import Weights


def overconfident(n: int = 4000, classes: int = 3, by: float = 2.5):
    """Logits that are right about their own uncertainty, then multiplied."""
    draw = np.random.default_rng(8)
    honest = draw.normal(size=(n, classes)) * 2
    labels = np.array([draw.choice(classes, p=p) for p in apply_temperature(honest, 1.0)])
    return honest * by, labels


def test_softmax_at_temperature_one_of_known_logits():
    probabilities = apply_temperature([[0.0, np.log(3.0)], [1000.0, 0.0]], 1.0)
    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_allclose(apply_temperature([[0.0, 2 * np.log(3.0)]], 2.0), [[0.25, 0.75]])


def test_the_fitted_temperature_undoes_a_known_overconfidence():
    logits, labels = overconfident(by=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.06)


def test_the_fitted_temperature_is_the_minimum_that_a_search_finds():
    logits, labels = overconfident(n=300)

    def loss(log_temperature: float) -> float:
        return sk.log_loss(labels, apply_temperature(logits, np.exp(log_temperature)))

    searched = minimize_scalar(loss, bounds=np.log(TEMPERATURES), options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(searched.x), rel=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 2)), []),
        (np.zeros((5, 2)), [0, 1, 0, 1, 1]),
        ([[3.0, -1.0], [-2.0, 0.5]], [0, 1]),
        ([[3.0, -1.0]], [0]),
    ],
    ids=["no image", "equal logits", "nothing wrong", "one image"],
)
def test_where_the_data_cannot_tell_the_temperature_is_one(logits, labels):
    assert fit_temperature(logits, labels) == 1.0


def test_a_model_that_is_worse_than_chance_gets_the_highest_temperature():
    assert fit_temperature([[5.0, 0.0], [0.0, 5.0]], [1, 0]) == pytest.approx(TEMPERATURES[1])


def test_a_temperature_of_broken_logits_is_refused():
    with pytest.raises(DataError, match="finite logits"):
        fit_temperature([[np.nan, 1.0]], [0])
    with pytest.raises(DataError, match="above 0"):
        apply_temperature([[1.0, 2.0]], 0.0)


def test_the_threshold_maximises_balanced_accuracy_over_every_candidate():
    draw = np.random.default_rng(2)
    labels = draw.random(200) < 0.2
    scores = np.round(1 / (1 + np.exp(-(draw.normal(size=200) + labels - 2))), 3)
    chosen = choose_threshold(scores, labels)
    every = [sk.balanced_accuracy_score(labels, scores >= t) for t in np.unique(scores)]
    assert sk.balanced_accuracy_score(labels, scores >= chosen) == pytest.approx(max(every))


def test_of_equally_good_thresholds_the_closest_to_one_half_wins():
    assert choose_threshold([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]) == 0.5
    assert choose_threshold([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]) == pytest.approx(0.25)
    # Between 0.2 and 0.3, and between 0.6 and 0.8, one of four is wrong: 0.7 is closer to 0.5.
    assert choose_threshold([0.2, 0.3, 0.6, 0.8], [0, 1, 0, 1]) == pytest.approx(0.7)


def test_weights_move_the_threshold_as_repeating_the_image_would():
    scores, labels, weights = [0.2, 0.3, 0.6, 0.8], [0, 1, 0, 1], [1, 5, 1, 1]
    repeated = choose_threshold(np.repeat(scores, weights), np.repeat(labels, weights))
    assert choose_threshold(scores, labels, weights) == repeated == pytest.approx(0.25)


def test_with_one_class_only_the_threshold_is_one_half():
    assert choose_threshold([0.1, 0.7], [1, 1]) == 0.5
    assert choose_threshold([], []) == 0.5


def patients_scored(shift: float, seed: int, patients: int = 24):
    """Ten images of each of several patients, whose scores have a tint a patient and a shift."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, 10)
    tint = np.repeat(draw.normal(size=patients), 10)
    margin = 2.0 * labels - 1.0 + tint + 0.5 * draw.normal(size=len(labels)) + shift
    names = [f"14-{index // 10}" for index in range(len(labels))]
    return 1 / (1 + np.exp(-margin)), labels, names


def test_a_threshold_that_only_fits_its_own_patients_is_given_up_for_one_half():
    found = lock_threshold(*patients_scored(shift=0.0, seed=1))
    assert found.candidate != 0.5
    assert found.gain <= found.standard_error
    assert found.value == 0.5
    assert found.groups == 24


def test_a_threshold_that_all_patients_agree_on_is_locked():
    found = lock_threshold(*patients_scored(shift=-3.0, seed=1))
    assert found.value == found.candidate < 0.3
    assert found.gain > found.standard_error > 0


def test_over_many_draws_a_locked_threshold_never_costs_new_patients_more_than_chance():
    losses = []
    for seed in range(20):
        found = lock_threshold(*patients_scored(shift=0.0, seed=seed))
        scores, labels, _ = patients_scored(shift=0.0, seed=1000 + seed, patients=200)
        at = [
            sk.balanced_accuracy_score(labels, scores >= threshold)
            for threshold in (found.value, found.candidate, 0.5)
        ]
        losses.append([at[2] - at[0], at[2] - at[1]])
    locked, greedy = np.mean(losses, axis=0)
    assert locked < 0.5 * greedy
    assert locked < 0.01


def test_one_patient_or_one_class_locks_one_half():
    assert lock_threshold([0.2, 0.4], [0, 1], ["14-1", "14-1"]).value == 0.5
    assert lock_threshold([0.2, 0.4], [1, 1], ["14-1", "14-2"]).value == 0.5


def test_calibration_error_of_a_worked_example():
    # Bins of 1/15: 0.95 (two images, one right) and 0.65 (two images, both right).
    p = np.array([0.95, 0.95, 0.65, 0.65])
    probabilities, labels = np.stack([p, 1 - p], axis=1), np.array([0, 1, 0, 0])
    expected = 0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    assert expected_calibration_error(probabilities, labels)[0] == pytest.approx(expected)


def test_calibration_error_of_weighted_images_is_that_of_repeated_ones():
    draw = np.random.default_rng(6)
    probabilities, labels = draw.dirichlet(np.ones(3), 150), draw.integers(0, 3, 150)
    weight = draw.integers(0, 3, 150)
    rows = np.repeat(np.arange(150), weight)
    expected = expected_calibration_error(probabilities[rows], labels[rows])[0]
    value = expected_calibration_error(probabilities, labels, Weights.per_image(weight))[0]
    assert value == pytest.approx(expected, abs=1e-12)


def test_reliability_lists_the_bins_that_hold_images():
    p = np.array([1.0, 0.9, 0.9, 0.55])
    table = reliability(np.stack([p, 1 - p], axis=1), np.array([0, 0, 1, 1]), bins=10)
    assert table["images"].tolist() == [1, 2, 1]
    assert table["accuracy"].tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(table["confidence"], [0.55, 0.9, 1.0])
    np.testing.assert_allclose(table["high"], [0.6, 0.9, 1.0])


def test_the_reliability_table_holds_the_calibration_error():
    draw = np.random.default_rng(6)
    probabilities, labels = draw.dirichlet(np.ones(3), 500), draw.integers(0, 3, 500)
    table = reliability(probabilities, labels)
    gap = (table["accuracy"] - table["confidence"]).abs() * table["images"] / 500
    assert expected_calibration_error(probabilities, labels)[0] == pytest.approx(gap.sum())


def test_an_image_that_weighs_double_moves_the_temperature_as_two_images_do():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(60, 3)) * 3
    labels = np.where(rng.random(60) < 0.7, logits.argmax(axis=1), rng.integers(0, 3, 60))
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    doubled = fit_temperature(np.r_[logits, logits[:20]], np.r_[labels, labels[:20]])
    assert fit_temperature(logits, labels, weights) == pytest.approx(doubled, abs=1e-9)
    assert fit_temperature(logits, labels) != pytest.approx(doubled, abs=1e-3)


def test_tiny_logits_of_a_strongly_regularised_head_are_calibrated_as_well():
    rng = np.random.default_rng(7)
    margin = rng.normal(size=4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    tiny = np.c_[np.zeros(4000), 0.02 * margin]
    assert fit_temperature(tiny, labels) == pytest.approx(0.02, rel=0.1)
