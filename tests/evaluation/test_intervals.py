"""Patient-clustered intervals: their draws, their honesty, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import ConfigError, DataError
from eosin.evaluation.intervals import (
    Bootstrap,
    patient_columns,
    percentile_interval,
    resample_weights,
)
from eosin.evaluation.weights import Weights

PATIENTS = ["14-22549", "14-9146", "14-13412", "14-20636"]


def test_each_resample_draws_as_many_patients_as_there_are():
    weights = resample_weights(PATIENTS, resamples=500, seed=1)
    assert weights.shape == (500, 4)
    assert (weights.sum(axis=1) == 4).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(4), abs=0.15)


def test_two_tables_of_the_same_patients_get_the_same_resamples():
    one = resample_weights(PATIENTS, resamples=40, seed=9)
    np.testing.assert_array_equal(one, resample_weights(sorted(PATIENTS), resamples=40, seed=9))
    assert (one != resample_weights(PATIENTS, resamples=40, seed=10)).any()


def test_resampling_refuses_nobody_and_one_patient_named_twice():
    with pytest.raises(DataError, match="distinct patients"):
        resample_weights([])
    with pytest.raises(DataError, match="distinct patients"):
        resample_weights(["14-22549", "14-22549"])


def test_an_image_without_a_patient_is_a_patient_of_its_own():
    names, column = patient_columns(["14-9146", "", "14-9146", ""], ["a.png", "b.png", "c", "d"])
    assert names == ("14-9146", "image b.png", "image d")
    assert column.tolist() == [0, 1, 0, 2]


def test_the_interval_is_the_central_95_percent():
    interval = percentile_interval(np.arange(2001.0))
    assert (interval.low, interval.high) == (pytest.approx(50), pytest.approx(1950))
    assert interval.defined == 1.0


def test_undefined_resamples_are_left_out_and_their_share_is_told():
    values = np.where(np.arange(100) < 40, np.nan, 0.8)
    interval = percentile_interval(values)
    assert (interval.low, interval.high, interval.defined) == (0.8, 0.8, 0.6)


def test_there_is_no_interval_where_most_resamples_are_undefined():
    interval = percentile_interval(np.where(np.arange(100) < 51, np.nan, 0.8))
    assert (interval.low, interval.high) == (None, None)
    assert interval.defined == pytest.approx(0.49)


def test_too_few_resamples_for_the_tails_are_refused():
    with pytest.raises(ConfigError, match="at least 40"):
        Bootstrap(resamples=39)
    with pytest.raises(ConfigError, match="between 0 and 1, got 95"):
        Bootstrap(confidence=95)


def test_resampling_patients_covers_the_truth_and_resampling_images_does_not():
    # 40 patients of 25 images; a patient's own accuracy varies (beta 4:1, mean 0.8).
    draw = np.random.default_rng(20)
    patient = np.repeat(np.arange(40), 25)
    by_patient, by_image = 0, 0
    for trial in range(120):
        right = (draw.random(1000) < draw.beta(4, 1, 40)[patient]).astype(float)
        boot = Bootstrap(resamples=300, seed=trial)
        clustered = Weights(patient, boot.weights([str(p) for p in range(40)]))
        # Images drawn singly: their mean is binomial.
        singly = draw.binomial(1000, right.mean(), 300) / 1000
        honest, naive = boot.interval(clustered.mean(right)), boot.interval(singly)
        by_patient += honest.low <= 0.8 <= honest.high
        by_image += naive.low <= 0.8 <= naive.high
    assert by_patient / 120 > 0.88
    assert by_image / 120 < 0.70
