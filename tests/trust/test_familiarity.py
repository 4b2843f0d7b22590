"""Familiarity is a p-value for images of new patients, and small for what is strange."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eosin.pixels.acquisition import ACQUISITION
from eosin.trust.familiarity import (
    calibrate,
    fit_space,
    left_out_strangeness,
    numbered,
    patient_weights,
)

Floats = NDArray[np.float64]


def draw(rng: np.random.Generator, patients: int, images: int = 12) -> tuple[Floats, Floats]:
    """Features of patients, each with a shift of its own, and the number of each one's patient."""
    shift = rng.normal(0, 1.0, (patients, 1, 24)) * np.linspace(2, 0.2, 24)
    noise = rng.normal(0, 0.5, (patients, images, 24))
    features = (shift + noise + 5).reshape(-1, 24)
    return features, np.repeat(np.arange(patients), images)


def alike(features: Floats) -> Floats:
    """Measures of images that all look the same."""
    return np.ones((len(features), len(ACQUISITION)))


def familiarity(seed: int, patients: int, new: int) -> Floats:
    rng = np.random.default_rng(seed)
    features, patient = draw(rng, patients)
    shares = calibrate(
        left_out_strangeness(features, alike(features), patient, np.ones(len(patient), bool)),
        patient,
    )
    others, _ = draw(rng, new)
    return shares.familiarity(
        fit_space(features, alike(features), patient).strangeness(others, alike(others))
    )


@pytest.mark.parametrize("patients", [12, 30])
def test_of_new_patients_the_share_that_it_says_is_at_least_as_strange(patients: int) -> None:
    found = np.concatenate([familiarity(seed, patients, 40) for seed in range(20)])
    for level in (0.05, 0.1, 0.5):
        assert np.mean(found < level) == pytest.approx(level, abs=0.02 + 0.15 * level)


def test_what_leaves_the_space_of_the_known_is_strange_however_near_its_mean() -> None:
    rng = np.random.default_rng(1)
    features, patient = draw(rng, 20)
    features[:, 20:] = 5.0  # nobody varies here
    space = fit_space(features, alike(features), patient)
    inside, outside = features[:1].copy(), features[:1].copy()
    inside[:, 0] += 2
    outside[:, 22] += 2
    one = alike(inside)
    assert space.strangeness(outside, one) > space.strangeness(inside, one) + 0.7


def test_a_patient_with_many_images_weighs_no_more_than_one_with_few() -> None:
    weights = patient_weights(np.array([0] * 8 + [1] * 2))
    assert weights[:8].sum() == pytest.approx(weights[8:].sum()) == pytest.approx(0.5)
    strangeness = np.concatenate([np.full(80, 9.0), np.arange(9.0)])
    shares = calibrate(strangeness, np.array([0] * 80 + list(range(1, 10))))
    assert shares.familiarity(np.array([8.5]))[0] == pytest.approx(0.1, abs=0.06)


def test_it_falls_without_a_step_so_that_another_engine_s_last_digits_change_nothing() -> None:
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(15), 6)
    shares = calibrate(rng.normal(size=len(patient)), patient)
    line = np.linspace(-4, 6, 20_001)
    steps = np.diff(shares.familiarity(line))
    assert (steps <= 1e-12).all()
    assert abs(steps).max() < 0.01
    assert shares.familiarity(np.array([50.0]))[0] < 1e-3


def test_few_patients_are_less_sure_of_their_tail_than_many() -> None:
    strangeness = np.random.default_rng(3).normal(size=200)
    few = calibrate(strangeness, np.repeat(np.arange(2), 100))
    many = calibrate(strangeness, np.repeat(np.arange(100), 2))
    far = np.array([strangeness.max() + 2])
    assert few.familiarity(far)[0] > many.familiarity(far)[0]


def test_a_patient_is_never_part_of_the_space_it_is_scored_in() -> None:
    """One patient far from all others is strange when left out, whatever it has itself."""
    rng = np.random.default_rng(4)
    features, patient = draw(rng, 10)
    features[patient == 3, :12] -= 9
    found = left_out_strangeness(features, alike(features), patient, np.ones(len(patient), bool))
    assert found[patient == 3].min() > found[patient != 3].max()


def test_names_become_numbers_whatever_they_are() -> None:
    assert numbered(np.array(["b", "a", "b"])).tolist() == [1, 0, 1]


def test_another_stain_is_strange_where_features_are_the_same() -> None:
    rng = np.random.default_rng(5)
    features, patient = draw(rng, 20)
    measures = 1 + rng.uniform(0, 0.2, (len(features), len(ACQUISITION)))
    space = fit_space(features, measures, patient)
    other, unknown = measures[:1].copy(), measures[:1].copy()
    other[:, ACQUISITION.index("eosin_blue")] += 1
    unknown[:, ACQUISITION.index("eosin_blue")] = np.nan
    own = space.strangeness(features[:1], measures[:1])
    assert space.strangeness(features[:1], other) > own + 1
    assert np.isfinite(space.strangeness(features[:1], unknown)).all()
