"""What is scored: weights over patients, parts of a sample, patients averaged, and their notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eosin.artefacts.predictions import Predictions
from eosin.errors import DataError
from eosin.evaluation.all_metrics import MetricKey, score_sample
from eosin.evaluation.intervals import Bootstrap, Interval, patient_columns
from eosin.evaluation.roc import roc_auc
from eosin.evaluation.sample import (
    Sample,
    image_sample,
    mixed_patients,
    patient_sample,
    patients_of_one_label,
)
from eosin.evaluation.sentences import about_interval
from eosin.evaluation.weights import Weights, ratio
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
Table = Callable[..., Predictions]
ROWS = [
    ("14-2", "malignant", 0.9, "400"),
    ("14-10", "benign", 0.4, "40"),
    ("14-2", "malignant", 0.3, ""),
    ("8863", "benign", 0.6, "100"),
    ("8863", "malignant", 0.7, "40"),
]


@pytest.fixture
def sample(small_table: Table) -> Sample:
    return image_sample(small_table(ROWS))


def test_weights_of_a_wrong_shape_or_of_patients_that_are_not_there_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(R, patients\), got \(3,\)"):
        Weights(np.zeros(2, np.int64), np.ones(3))
    for columns in ([0, 3], [-1, 0]):
        with pytest.raises(DataError, match=r"must lie in 0\.\.2"):
            Weights(np.array(columns), np.ones((1, 3)))


def test_sums_and_means_are_those_of_the_weighted_images() -> None:
    weights = Weights(np.array([0, 1, 1]), np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]))
    values = np.array([1.0, 2.0, 4.0])
    assert weights.sums(values).tolist() == [7.0, 2.0, 0.0]
    assert weights.sums(np.stack([values, -values], 1)).tolist() == [[7, -7], [2, -2], [0, 0]]
    np.testing.assert_array_equal(weights.mean(values), [7 / 3, 1.0, np.nan])
    assert weights.per_patient(values[:, None]).tolist() == [[1.0], [6.0]]
    assert weights.of(np.array([2, 0])).tolist() == [[1, 1], [0, 2], [0, 0]]
    assert len(weights) == 3
    assert Weights.plain(3).sums(values).tolist() == [7.0]
    assert Weights.per_image([0, 1, 3]).sums(values).tolist() == [14.0]
    assert ratio(np.array([1.0, 0.0]), np.array([0.0, 0.0]), empty=7.0).tolist() == [7.0, 7.0]


def test_a_part_of_a_sample_keeps_its_patients_alone(sample: Sample) -> None:
    assert sample.patients == ("14-10", "14-2", "8863")
    part = sample.where(np.array([True, False, True, False, True]))
    assert part.patients == ("14-2", "8863")
    assert part.patient.tolist() == [0, 0, 1]
    assert part.probabilities[:, 1].tolist() == [0.9, 0.3, 0.7]
    assert part.magnification == ("400", "", "40")
    assert (part.class_images.tolist(), part.class_patients.tolist()) == ([0, 3], [0, 2])
    assert part.present.tolist() == [False, True]


def test_magnifications_rise_as_numbers_and_the_unknown_is_none(
    sample: Sample, small_table: Table
) -> None:
    assert sample.magnifications() == ("40", "100", "400")
    assert sample.magnified("40").labels.tolist() == [0, 1]
    same = image_sample(small_table([(who, label, p) for who, label, p, _ in ROWS]))
    assert same.magnifications() == ()  # one for all is the whole
    named = replace(sample, magnification=("20x", "5", "20x", "5", "100"))
    assert named.magnifications() == ("5", "100", "20x")
    halves = replace(sample, magnification=("10", "5", "2.5", "5", "1.25"))
    assert halves.magnifications() == ("1.25", "2.5", "5", "10")


def test_labels_of_patients_tell_who_has_several_and_which_images_are_theirs(
    sample: Sample,
) -> None:
    assert sample.labels_of_patients() == [[0], [1], [0, 1]]
    assert mixed_patients(sample) == ("8863",)
    assert sample.both_classes.tolist() == [False, False, False, True, True]
    with pytest.raises(DataError, match="patient 8863 has images of several labels"):
        patient_sample(sample, positive=1, threshold=None)


@pytest.mark.parametrize(
    ("threshold", "decided"), [(None, [0, 1]), (0.6, [0, 1]), (0.61, [0, 0]), (0.4, [1, 1])]
)
def test_a_patient_is_positive_from_the_threshold_on_its_mean(
    threshold: float | None, decided: list[int], sample: Sample
) -> None:
    whole = sample.where(np.arange(5) < 3)
    found = patient_sample(whole, positive=1, threshold=threshold)
    assert found.probabilities[:, 1].tolist() == pytest.approx([0.4, 0.6])
    assert found.decided.tolist() == decided
    assert (found.predicted.tolist(), found.images.tolist()) == ([0, 1], [1, 2])
    assert (found.level, found.labels.tolist()) == ("patient", [0, 1])


def test_patients_of_one_label_leave_the_others_out_or_are_none(sample: Sample) -> None:
    found = patients_of_one_label(sample, BINARY)
    assert found is not None
    assert found.patients == ("14-10", "14-2")
    assert patients_of_one_label(sample.where(sample.both_classes), BINARY) is None


@pytest.mark.parametrize(
    ("metric", "index", "rows"),
    [
        ("accuracy", None, [0, 1, 2, 3, 4]),
        ("recall", 1, [0, 2, 4]),
        ("sensitivity", 1, [0, 2, 4]),
        ("specificity", 1, [1, 3]),
        ("precision", 1, [0, 3, 4]),
        ("precision", 0, [1, 2]),
        ("f1", 1, [0, 2, 3, 4]),
        ("roc_auc", 1, [0, 1, 2, 3, 4]),
        ("within_roc_auc", None, [3, 4]),
    ],
)
def test_a_figure_stands_on_the_images_that_it_speaks_of(
    metric: str, index: int | None, rows: list[int], sample: Sample
) -> None:
    assert np.flatnonzero(sample.behind(metric, index)).tolist() == rows


def test_the_parts_of_a_bootstrap_are_its_rows_and_an_image_without_a_patient_is_its_own() -> None:
    bootstrap = Bootstrap(50, seed=4)
    patients = [f"p{n}" for n in range(7)]
    np.testing.assert_array_equal(
        np.concatenate(list(bootstrap.parts(patients))), bootstrap.rows(patients)
    )
    assert Bootstrap(confidence=0.9).tails == pytest.approx((0.05, 0.95))
    names, index = patient_columns(["", "b", ""], ["caf\udce9.png", "x", "y"])
    assert names == ("b", "image caf\\xe9.png", "image y")
    assert index.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("interval", "value", "said"),
    [
        (Interval(0.2, 0.8, 1.0), 0.5, []),
        (
            Interval(0.5, 0.5, 1.0),
            0.5,
            ["every resample gives the same value: the interval shows no uncertainty"],
        ),
        (
            Interval(0.2, 0.4, 1.0),
            0.1,
            ["resampling biases this metric, so that its value lies outside its interval"],
        ),
        (
            Interval(None, None, 0.25),
            0.5,
            ["undefined in 75.0% of resamples (a class is absent there): no interval"],
        ),
        (
            Interval(0.2, 0.8, 0.876),
            0.5,
            ["undefined in 12.4% of resamples (a class is absent there), left out"],
        ),
    ],
)
def test_what_must_be_known_of_an_interval_is_said(
    interval: Interval, value: float, said: list[str]
) -> None:
    assert about_interval(interval, value) == said


def figures(rows: list[tuple[int, int, int]]) -> dict[MetricKey, float]:
    """Every figure of images of five patients: the patient of each, its label and its score."""
    patient, labels, score = np.array(rows).T
    chances = np.stack([score + 1, 21 - score, np.full(len(rows), 9)], axis=1) / 31
    sample = Sample(
        labels=labels,
        predicted=chances.argmax(axis=1),
        decided=chances.argmax(axis=1),
        probabilities=chances,
        images=np.ones(len(rows), np.int64),
        patients=tuple("abcde"),
        patient=patient,
        magnification=("",) * len(rows),
    )
    task = Task("her2", ("0", "1+", "2+"), ordinal=True)
    values = score_sample(sample, task, Weights(patient, np.ones((1, 5))))
    return {key: float(found[0]) for key, found in values.items()}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 20)), min_size=3, max_size=40
    ),
    st.permutations(range(5)),
)
def test_no_figure_depends_on_the_order_of_images_or_on_the_names_of_patients(
    rows: list[tuple[int, int, int]], names: list[int]
) -> None:
    turned = [(names[patient], label, score) for patient, label, score in reversed(rows)]
    assert figures(turned) == pytest.approx(figures(rows), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=40))
def test_an_area_is_the_same_under_any_rising_change_of_the_scores(
    rows: list[tuple[int, bool]],
) -> None:
    scores = np.array([score for score, _ in rows], float)
    positive = np.array([is_positive for _, is_positive in rows])
    area = roc_auc(scores, positive)[0]
    np.testing.assert_equal(roc_auc(np.exp(scores / 10) - 3, positive)[0], area)
    if positive.any() and not positive.all():
        assert roc_auc(-scores, positive)[0] == pytest.approx(1 - area)
        assert roc_auc(scores, ~positive)[0] == pytest.approx(1 - area)
