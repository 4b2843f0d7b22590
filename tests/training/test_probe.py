"""The linear head: known answers, and nothing chosen outside the training patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from eosin.errors import DataError
from eosin.training.heads import SampleWeighting, fit_head
from eosin.training.probe import Labelled, ProbeOptions, fit_probe


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
    head = fit_head(features, labels, classes=classes, strength=0.5)
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
    options = ProbeOptions(strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0))
    honest = fit_probe(Labelled(features, labels, patients), classes=2, options=options)
    leaky = fit_probe(Labelled(features, labels, images), classes=2, options=options)
    assert honest.losses[honest.strength[0]] > leaky.losses[leaky.strength[0]] + 0.05
    assert honest.temperature > leaky.temperature


def test_temperature_and_threshold_come_from_the_held_images_where_there_are_any() -> None:
    features, labels, patients = blobs(seed=3)
    shifted, truth, _ = blobs(seed=4)
    inner = fit_probe(Labelled(features, labels, patients), classes=2, positive=1)
    held = fit_probe(
        Labelled(features, labels, patients),
        classes=2,
        positive=1,
        held=Labelled(shifted - 2.0, truth, np.asarray(patients)),
    )
    assert held.strength == inner.strength
    assert held.threshold is not None
    assert inner.threshold is not None
    assert (
        held.threshold.value < inner.threshold.value == 0.5
    )  # everything looks less malignant there


def test_the_held_images_change_neither_the_head_nor_its_strength() -> None:
    features, labels, patients = blobs(seed=5)
    other = Labelled(np.zeros_like(features), 1 - labels, np.asarray(patients))
    with_held = fit_probe(Labelled(features, labels, patients), classes=2, held=other)
    without = fit_probe(Labelled(features, labels, patients), classes=2)
    np.testing.assert_array_equal(with_held.head.weight, without.head.weight)


def test_one_patient_is_too_few_to_choose_inside() -> None:
    features, labels, _ = blobs(patients=2)
    with pytest.raises(DataError, match="one patient"):
        fit_probe(Labelled(features, labels, ["14-1"] * len(labels)), classes=2)


def test_one_class_is_an_error_that_says_so() -> None:
    features, _, _ = blobs()
    with pytest.raises(DataError, match="one class only"):
        fit_head(features, np.zeros(len(features), np.int64), classes=2, strength=1.0)


def test_patients_of_a_class_count_alike_and_so_do_classes() -> None:
    labels = np.array([0] * 4 + [1] * 6)
    patients = np.array(["14-1"] * 3 + ["14-2"] + ["14-3"] * 6)
    weights = SampleWeighting().weights(labels, patients)
    np.testing.assert_allclose(weights, [5 / 6] * 3 + [5 / 2] + [5 / 6] * 6)
    by_class = SampleWeighting(groups=False).weights(labels, patients)
    np.testing.assert_allclose(by_class, [10 / 8] * 4 + [10 / 12] * 6)
    by_patient = SampleWeighting(classes=False).weights(labels, patients)
    np.testing.assert_allclose(by_patient, [2 / 3] * 3 + [2] + [1] * 6)
    np.testing.assert_allclose(
        SampleWeighting(classes=False, groups=False).weights(labels, patients), 1
    )


def test_half_a_weight_twice_is_the_image_once() -> None:
    features, labels, _ = blobs(patients=4)
    once = fit_head(features, labels, classes=2, strength=1.0)
    halves = fit_head(
        np.r_[features, features],
        np.r_[labels, labels],
        classes=2,
        strength=1.0,
        weights=np.full(2 * len(labels), 0.5),
    )
    np.testing.assert_allclose(once.weight, halves.weight, atol=1e-3)


def test_one_standard_error_prefers_the_stronger_regularisation_and_says_every_loss() -> None:
    features, labels, patients = blobs(nuisance=1.5, patients=10)
    careful, greedy = (
        fit_probe(
            Labelled(features, labels, patients),
            classes=2,
            options=ProbeOptions(strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), rule=rule),
        )
        for rule in ("one-se", "least-loss")
    )
    assert careful.losses == greedy.losses
    assert greedy.strength == (min(greedy.losses, key=lambda c: greedy.losses[c]),)
    assert careful.strength < greedy.strength
    assert careful.losses[careful.strength[0]] < greedy.losses[greedy.strength[0]] + 0.3


def test_a_patient_with_many_images_does_not_outvote_the_others() -> None:
    features, labels, patients = blobs(patients=6, nuisance=0.5)
    odd = np.tile([-1.0, 0, 0, 0, 0, 0], (200, 1))  # one patient of class 1 who looks like class 0
    features, labels = np.r_[features, odd], np.r_[labels, np.ones(200, np.int64)]
    names = np.array([*patients, *["14-99"] * 200])
    alike = fit_head(
        features, labels, classes=2, strength=1.0, weights=SampleWeighting().weights(labels, names)
    )
    by_image = fit_head(
        features,
        labels,
        classes=2,
        strength=1.0,
        weights=SampleWeighting(groups=False).weights(labels, names),
    )
    first = slice(0, 60)
    right = [
        float((head.logits(features[first]).argmax(axis=1) == labels[first]).mean())
        for head in (alike, by_image)
    ]
    assert right[0] > right[1] + 0.05


def pilot(*, patients: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One image a patient, as many patients in each of two classes."""
    labels = np.arange(2 * patients) % 2
    features = np.random.default_rng(0).normal(size=(2 * patients, 4)) + 3.0 * labels[:, None]
    return features, labels.astype(np.int64), [f"14-{n}" for n in range(2 * patients)]


@pytest.mark.parametrize("patients", [2, 3, 4, 7])
def test_a_pilot_of_one_image_a_patient_is_fitted(patients: int) -> None:
    features, labels, groups = pilot(patients=patients)
    probe = fit_probe(Labelled(features, labels, groups), classes=2, positive=1)
    assert (probe.head.logits(features).argmax(axis=1) == labels).all()
    assert probe.threshold is not None
    assert probe.threshold.value == 0.5  # nobody was wrong at one half


def test_no_more_inner_folds_than_the_largest_class_has_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    real = StratifiedGroupKFold

    def counting(folds: int, **options: object) -> StratifiedGroupKFold:
        counts.append(folds)
        return real(folds, **options)

    monkeypatch.setattr("sklearn.model_selection.StratifiedGroupKFold", counting)
    for patients in (3, 9):
        features, labels, groups = pilot(patients=patients)
        fit_probe(Labelled(features, labels, groups), classes=2)
    assert counts == [3, 5]


def test_a_class_with_few_images_beside_a_large_one_is_fitted_without_a_warning() -> None:
    features, labels, groups = blobs(patients=8)
    few = np.flatnonzero(labels == 0)[::20]  # two images of two patients
    rows = np.r_[few, np.flatnonzero(labels == 1)]
    probe = fit_probe(Labelled(features[rows], labels[rows], np.array(groups)[rows]), classes=2)
    assert np.isfinite(probe.head.weight).all()


def test_too_few_patients_to_choose_a_strength_are_told_how_many_are_wanted() -> None:
    features, labels, groups = pilot(patients=1)
    with pytest.raises(
        DataError, match=r"2 training images of 2 patients.*two or more patients in"
    ):
        fit_probe(Labelled(features, labels, groups), classes=2)
    many, truth, _ = blobs(patients=2)
    with pytest.raises(DataError, match=r"20 training images of 2 patients.*two or more patients"):
        fit_probe(Labelled(many, truth, [f"14-{label}" for label in truth]), classes=2)


def test_several_blocks_answer_with_the_mean_of_their_calibrated_logits() -> None:
    features, labels, patients = blobs(seed=7)
    both = fit_probe(Labelled(features, labels, patients), classes=2, positive=1, blocks=[2, 4])
    alone = [
        fit_probe(Labelled(part, labels, patients), classes=2, positive=1)
        for part in (features[:, :2], features[:, 2:])
    ]
    assert both.strength == alone[0].strength + alone[1].strength
    parts = (features[:, :2], features[:, 2:])
    mean = np.mean(
        [p.head.logits(x) / p.temperature for p, x in zip(alone, parts, strict=True)], axis=0
    )
    np.testing.assert_allclose(both.head.logits(features), mean, atol=1e-9)
