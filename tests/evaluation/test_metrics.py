"""Metrics against hand-worked numbers and against scikit-learn, plain and weighted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from eosin.evaluation import metrics
from eosin.evaluation.weights import Weights

CLASSES = 5


@pytest.fixture(params=["plain", "weighted"])
def sample(request):
    """Labels, choices, probabilities and one weight an image."""
    draw = np.random.default_rng(11)
    probabilities = draw.dirichlet(np.ones(CLASSES), 300)
    labels = draw.integers(0, CLASSES, 300)
    weight = np.ones(300) if request.param == "plain" else draw.integers(0, 4, 300).astype(float)
    return labels, probabilities.argmax(axis=1), probabilities, weight


def counts_of(sample):
    labels, chosen, _, weight = sample
    weights = Weights.per_image(weight)
    return metrics.confusion_counts(labels, chosen, classes=CLASSES, weights=weights)


def test_confusion_counts_have_the_truth_in_rows(sample):
    labels, chosen, _, weight = sample
    expected = sk.confusion_matrix(labels, chosen, sample_weight=weight)
    np.testing.assert_array_equal(counts_of(sample)[0], expected)


def test_decision_metrics_equal_scikit_learn(sample):
    labels, chosen, _, weight = sample
    counts = counts_of(sample)
    per_class = sk.precision_recall_fscore_support(labels, chosen, sample_weight=weight)
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(metrics.precision(counts)[0], per_class[0], **close)
    np.testing.assert_allclose(metrics.recall(counts)[0], per_class[1], **close)
    np.testing.assert_allclose(metrics.f1(counts)[0], per_class[2], **close)
    expected = {
        metrics.accuracy: sk.accuracy_score(labels, chosen, sample_weight=weight),
        metrics.matthews: sk.matthews_corrcoef(labels, chosen, sample_weight=weight),
        metrics.quadratic_kappa: sk.cohen_kappa_score(
            labels, chosen, weights="quadratic", sample_weight=weight
        ),
    }
    for metric, value in expected.items():
        assert metric(counts)[0] == pytest.approx(value, abs=1e-12), metric.__name__
    everyone = np.ones(CLASSES, dtype=bool)
    balanced = metrics.macro(metrics.recall(counts), everyone)[0]
    expected_balanced = sk.balanced_accuracy_score(labels, chosen, sample_weight=weight)
    assert balanced == pytest.approx(expected_balanced, abs=1e-12)


def test_specificity_of_a_class_is_the_recall_of_all_others(sample):
    labels, chosen, _, weight = sample
    specificity = metrics.specificity(counts_of(sample))[0]
    for index in range(CLASSES):
        expected = sk.recall_score(labels != index, chosen != index, sample_weight=weight)
        assert specificity[index] == pytest.approx(expected, abs=1e-12)


def test_probability_metrics_equal_scikit_learn(sample):
    labels, _, probabilities, weight = sample
    weights = Weights.per_image(weight)
    loss = sk.log_loss(labels, probabilities, sample_weight=weight)
    brier = sk.brier_score_loss(
        labels, probabilities, sample_weight=weight, scale_by_half=False, labels=range(CLASSES)
    )
    assert metrics.log_loss(probabilities, labels, weights)[0] == pytest.approx(loss, abs=1e-12)
    assert metrics.brier_score(probabilities, labels, weights)[0] == pytest.approx(brier, abs=1e-12)


def test_a_certain_mistake_costs_a_finite_log_loss_as_in_scikit_learn():
    probabilities = np.array([[1.0, 0.0], [0.2, 0.8]])
    labels = np.array([1, 1])
    expected = sk.log_loss(labels, probabilities, labels=[0, 1])
    assert metrics.log_loss(probabilities, labels)[0] == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx((36.0436533891 - np.log(0.8)) / 2)


def test_brier_of_two_classes_is_twice_the_one_column_form():
    probabilities = np.array([[0.7, 0.3], [0.1, 0.9]])
    value = metrics.brier_score(probabilities, np.array([0, 0]))[0]
    assert value == pytest.approx(2 * (0.3**2 + 0.9**2) / 2)


def test_kappa_of_a_worked_example():
    counts = np.array([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    # Of four images one is two grades off: a penalty of 4. Truth has 2, 1, 1 images a grade and
    # the choices 1, 1, 2, so chance gives (2*1*1 + 2*2*4 + 1*1*1 + 1*2*1 + 1*1*4 + 1*1*1) / 4.
    assert metrics.quadratic_kappa(counts)[0] == pytest.approx(1 - 4 / (26 / 4))


def test_kappa_has_no_value_where_labels_and_choices_are_one_class():
    assert np.isnan(metrics.quadratic_kappa(np.diag([5.0, 0.0, 0.0])[None])[0])


def test_adjacent_and_distant_errors_divide_all_errors_by_their_distance():
    counts = np.array([[[5.0, 2.0, 1.0], [1.0, 4.0, 1.0], [3.0, 0.0, 3.0]]])
    assert metrics.adjacent_error(counts)[0] == pytest.approx(4 / 20)
    assert metrics.distant_error(counts)[0] == pytest.approx(4 / 20)
    assert metrics.accuracy(counts)[0] == pytest.approx(12 / 20)


def test_recognition_rate_counts_patients_not_images():
    # Spanhol et al. 2016: the patient with nine images weighs as much as the one with one.
    right = np.array([True] * 9 + [False])
    weights = Weights(np.array([0] * 9 + [1]), np.array([[1.0, 1.0], [3.0, 1.0], [0.0, 2.0]]))
    rates = metrics.patient_recognition_rate(right, weights)
    np.testing.assert_allclose(rates, [0.5, 0.75, 0.0])


def test_a_class_that_no_image_has_is_undefined_and_not_zero():
    counts = np.array([[[3.0, 1.0], [0.0, 0.0]]])
    for metric in (metrics.recall, metrics.precision, metrics.f1):
        assert np.isnan(metric(counts)[0, 1]), metric.__name__
    assert np.isnan(metrics.specificity(counts)[0, 0])


def test_a_class_that_was_never_chosen_has_precision_zero():
    counts = np.array([[[3.0, 0.0], [2.0, 0.0]]])
    assert metrics.precision(counts)[0, 1] == 0.0
    assert metrics.matthews(counts)[0] == 0.0


def test_a_macro_average_misses_no_class_silently():
    per_class = np.array([[0.5, 1.0, np.nan], [0.5, np.nan, np.nan]])
    values = metrics.macro(per_class, np.array([True, True, False]))
    assert values[0] == 0.75
    assert np.isnan(values[1])
