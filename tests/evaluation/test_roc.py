"""ROC AUC and average precision: exact with ties, weights, few patients and many."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from eosin.evaluation import roc
from eosin.evaluation.intervals import resample_weights
from eosin.evaluation.roc import average_precision, pooled_ranks, roc_auc, within_roc_auc
from eosin.evaluation.weights import Weights


def scored(n: int, *, decimals: int, seed: int = 3):
    draw = np.random.default_rng(seed)
    positive = draw.random(n) < 0.3
    return np.round(draw.normal(size=n) + positive, decimals), positive


@pytest.mark.parametrize("decimals", [12, 1, 0], ids=["no ties", "ties", "mostly ties"])
@pytest.mark.parametrize("n", [50, 700], ids=["few weights", "many weights"])
def test_ranking_equals_scikit_learn_plain_and_weighted(n, decimals):
    scores, positive = scored(n, decimals=decimals)
    weight = np.random.default_rng(1).integers(0, 4, n).astype(float)
    weights = Weights.per_image(np.stack([np.ones(n), weight]))
    for ours, theirs in [
        (roc_auc, sk.roc_auc_score),
        (average_precision, sk.average_precision_score),
    ]:
        values = ours(scores, positive, weights)
        assert values[0] == pytest.approx(theirs(positive, scores), abs=1e-12)
        expected = theirs(positive, scores, sample_weight=weight)
        assert values[1] == pytest.approx(expected, abs=1e-12)


def test_micro_auc_equals_scikit_learn():
    draw = np.random.default_rng(5)
    probabilities, labels = draw.dirichlet(np.ones(4), 200), draw.integers(0, 4, 200)
    expected = sk.roc_auc_score(np.eye(4)[labels], probabilities, average="micro")
    pooled = pooled_ranks(probabilities, labels, np.zeros(len(labels), np.int64))
    assert pooled.roc_auc(np.ones((1, 1)))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("patients", [17, 300], ids=["matrix product", "cumulative sums"])
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_resampling_patients_equals_repeating_their_rows(patients, metric):
    scores, positive = scored(900, decimals=2)
    patient = np.random.default_rng(2).integers(0, patients, 900)
    drawn = resample_weights([str(p) for p in range(patients)], resamples=25, seed=4)
    ours = {"roc_auc": roc_auc, "average_precision": average_precision}[metric]
    theirs = getattr(sk, f"{metric}_score")
    values = ours(scores, positive, Weights(patient, drawn))
    for row, value in zip(drawn, values, strict=True):
        rows = np.repeat(np.arange(900), row[patient].astype(int))
        assert value == pytest.approx(theirs(positive[rows], scores[rows]), abs=1e-10)


def test_both_ways_of_counting_agree(monkeypatch):
    scores, positive = scored(400, decimals=1)
    patient = np.random.default_rng(2).integers(0, 20, 400)
    weights = Weights(patient, resample_weights([str(p) for p in range(20)], resamples=50))
    by_pairs = roc_auc(scores, positive, weights)
    monkeypatch.setattr(roc, "_FEW_PATIENTS", 0)
    np.testing.assert_allclose(by_pairs, roc_auc(scores, positive, weights), rtol=0, atol=1e-12)


def test_grouped_levels_are_exact_for_the_sample_and_hardly_move_its_resamples(
    monkeypatch,
):
    scores, positive = scored(3000, decimals=12)
    patient = np.random.default_rng(2).integers(0, 300, 3000)
    rows = np.r_[np.ones((1, 300)), resample_weights([str(p) for p in range(300)], resamples=200)]
    full = _both_areas(roc.RankedScores(scores, positive, patient), rows)
    monkeypatch.setattr(roc, "LEVELS", 1000)
    coarse = _both_areas(roc.RankedScores(scores, positive, patient), rows)
    np.testing.assert_allclose(coarse[:, 0], full[:, 0], rtol=0, atol=1e-13)
    gaps = np.abs(coarse[:, 1:] - full[:, 1:]).max(axis=1)
    assert (gaps > 0).all()
    assert (gaps < 0.1 * full[:, 1:].std(axis=1)).all()


def _both_areas(ranks: roc.RankedScores, rows: np.ndarray) -> np.ndarray:
    return np.stack([ranks.roc_auc(rows), ranks.average_precision(rows)])


def test_equal_scores_rank_like_a_coin():
    positive = np.array([True, False, False, True, False])
    assert roc_auc(np.full(5, 0.3), positive)[0] == 0.5
    assert average_precision(np.full(5, 0.3), positive)[0] == pytest.approx(2 / 5)


def test_ranking_of_one_class_only_is_undefined():
    scores = np.array([0.1, 0.9])
    assert np.isnan(roc_auc(scores, np.array([True, True]))[0])
    assert np.isnan(roc_auc(scores, np.array([False, False]))[0])
    assert np.isnan(average_precision(scores, np.array([False, False]))[0])


def test_within_patients_a_score_that_merely_finds_the_patient_is_a_coin() -> None:
    patient = np.repeat([0, 1, 2], [40, 40, 20])
    positive = np.r_[np.arange(40) < 36, np.arange(40) < 4, np.ones(20, bool)]
    finds = np.array([0.9, 0.1, 0.95])[patient]
    weights = Weights(patient, np.ones((1, 3)))
    assert roc_auc(finds, positive)[0] > 0.9
    assert within_roc_auc(finds, positive, weights)[0] == 0.5


def test_within_patients_equals_the_mean_of_scikit_learns_areas_however_patients_weigh() -> None:
    rng = np.random.default_rng(3)
    patient, scores = np.repeat(np.arange(5), 30), rng.normal(size=150).round(1)
    positive = rng.random(150) < 0.4
    positive[patient == 4] = True
    areas = [sk.roc_auc_score(positive[patient == k], scores[patient == k]) for k in range(4)]
    rows = np.array([[1.0, 1, 1, 1, 1], [2, 0, 1, 0, 3], [0, 0, 0, 0, 2]])
    found = within_roc_auc(scores, positive, Weights(patient, rows))
    np.testing.assert_allclose(found[:2], [np.mean(areas), (2 * areas[0] + areas[2]) / 3])
    assert np.isnan(found[2])
