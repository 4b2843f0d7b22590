"""The linear head: known answers, and nothing chosen outside the training patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eosin.errors import DataError
from eosin.training.probe import fit_head, fit_probe


def blobs(
    *, patients: int = 12, images: int = 10, nuisance: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of patients of two classes: two informative columns, and a tint a patient."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, images)
    tint = nuisance * rng.normal(size=(patients, 6)).repeat(images, axis=0)
    signal = np.c_[labels * 2.0 - 1, labels * 1.0, np.zeros((len(labels), 4))]
    features = signal + tint + rng.normal(size=(len(labels), 6))
    groups = [f"14-{n}" for n in range(patients) for _ in range(images)]
    return features, labels.astype(np.int64), groups


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_equals_scikit_learns_on_standardised_features(classes: int) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(3.0, 5.0, size=(90, 7))
    labels = np.arange(90) % classes
    head = fit_head(features, labels, classes=classes, strength=0.5, balanced=False)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=0.5, max_iter=500, tol=1e-8).fit(
        scaler.transform(features), labels
    )
    ours = np.exp(head.logits(features))
    ours /= ours.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, model.predict_proba(scaler.transform(features)), atol=1e-3)


def test_a_class_without_training_images_is_never_probable() -> None:
    features, labels, _ = blobs()
    logits = fit_head(features, labels, classes=4, strength=1.0).logits(features)
    assert (logits.argmax(axis=1) < 2).all()
    assert np.isfinite(logits).all()


def test_patient_tints_are_met_with_a_stronger_regularisation_when_patients_are_kept_whole() -> (
    None
):
    features, labels, patients = blobs(nuisance=3.0, patients=10)
    images = [str(row) for row in range(len(labels))]
    strengths = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    honest = fit_probe(features, labels, patients, classes=2, strengths=strengths)
    leaky = fit_probe(features, labels, images, classes=2, strengths=strengths)
    assert honest.losses[honest.strength] > leaky.losses[leaky.strength] + 0.05
    assert honest.temperature > leaky.temperature


def test_temperature_and_threshold_come_from_the_held_images_where_there_are_any() -> None:
    features, labels, patients = blobs(seed=3)
    shifted, truth, _ = blobs(seed=4)
    inner = fit_probe(features, labels, patients, classes=2, positive=1)
    held = fit_probe(features, labels, patients, classes=2, positive=1, held=(shifted - 2.0, truth))
    assert held.strength == inner.strength
    assert held.threshold is not None
    assert inner.threshold is not None
    assert held.threshold < inner.threshold  # everything looks less malignant there


def test_the_held_images_change_neither_the_head_nor_its_strength() -> None:
    features, labels, patients = blobs(seed=5)
    other = (np.zeros_like(features), 1 - labels)
    with_held = fit_probe(features, labels, patients, classes=2, held=other)
    without = fit_probe(features, labels, patients, classes=2)
    np.testing.assert_array_equal(with_held.head.weight, without.head.weight)


def test_one_patient_is_too_few_to_choose_inside() -> None:
    features, labels, _ = blobs(patients=2)
    with pytest.raises(DataError, match="one patient"):
        fit_probe(features, labels, ["14-1"] * len(labels), classes=2)


def test_one_class_is_an_error_that_says_so() -> None:
    features, _, _ = blobs()
    with pytest.raises(DataError, match="one class only"):
        fit_head(features, np.zeros(len(features), np.int64), classes=2, strength=1.0)
