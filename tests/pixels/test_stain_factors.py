"""The closed-form sparse codes, and the dictionary that they lead to."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.pixels.stain_factors import sparse_codes, stain_factors
from eosin.pixels.tissue_sample import UnstainedError

STAINS = np.array([[0.6, 0.64, 0.48], [0.28, 0.90, 0.3352]])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)


def cost(codes, channels, penalty, stains=STAINS):
    rest = channels - stains.T @ codes
    return 0.5 * (rest**2).sum(axis=0) + penalty * codes.sum(axis=0)


def test_a_pixel_of_haematoxylin_alone_has_its_amount_less_the_penalty():
    pixel = 1.5 * STAINS[:1].T.astype(np.float32)
    assert sparse_codes(pixel, STAINS, 0.1).ravel() == pytest.approx([1.4, 0.0], abs=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 0.02, 0.1, 0.5])
def test_no_other_non_negative_codes_cost_less(penalty):
    generator = np.random.default_rng(0)
    channels = generator.normal(0.5, 0.6, (3, 400)).astype(np.float32)
    codes = sparse_codes(channels, STAINS, penalty).astype(np.float64)
    assert codes.min() >= 0
    best = cost(codes, channels, penalty)
    for scale in (1.0, 0.1, 0.001):
        for _ in range(200):
            other = np.maximum(0, codes + generator.normal(0, scale, codes.shape))
            assert (cost(other, channels, penalty) >= best - 1e-6).all()


def test_the_dictionary_of_sparse_pixels_is_the_one_that_made_them():
    generator = np.random.default_rng(1)
    held = generator.random((2, 4000)) < [[0.4], [0.7]]
    codes = generator.uniform(0.3, 1.5, (2, 4000)) * held
    channels = (STAINS.T @ codes).astype(np.float32)[:, codes.sum(axis=0) > 0]
    found = stain_factors(channels, penalty=0.005)
    assert np.degrees(np.arccos((found * STAINS).sum(axis=1))).max() < 1.0


def test_haematoxylin_absorbs_the_larger_share_of_red_whatever_the_order_of_pixels():
    generator = np.random.default_rng(2)
    codes = generator.exponential(0.5, (2, 3000))
    channels = (STAINS.T @ codes).astype(np.float32)
    forward = stain_factors(channels, penalty=0.01)
    backward = stain_factors(channels[:, ::-1], penalty=0.01)
    assert forward[0, 0] > forward[1, 0]
    assert forward == pytest.approx(backward, abs=1e-3)


def whole_cost(channels, stains, penalty):
    return cost(
        sparse_codes(channels, stains, penalty).astype(np.float64), channels, penalty, stains
    )


@pytest.mark.parametrize("pure", [0.02, 0.3, 0.9], ids="{} of pixels hold one stain".format)
def test_no_stains_near_by_cost_less(pure):
    generator = np.random.default_rng(3)
    alone = generator.random(3000) < pure
    codes = generator.gamma(2.0, 0.3, (2, 3000))
    codes[generator.integers(0, 2, 3000)[alone], alone.nonzero()[0]] = 0
    noise = generator.normal(0, 0.03, (3, 3000))
    channels = (STAINS.T @ codes + noise).astype(np.float32)
    found = stain_factors(channels, penalty=0.005)
    least = whole_cost(channels, found, 0.005).sum()
    for _ in range(200):
        other = np.maximum(0, found + generator.normal(0, 0.01, (2, 3)))
        other /= np.linalg.norm(other, axis=1, keepdims=True)
        assert whole_cost(channels, other, 0.005).sum() >= least * (1 - 1e-5)


def test_a_stain_that_would_absorb_less_than_nothing_of_red_ends_at_nothing():
    generator = np.random.default_rng(4)
    stains = np.array([[0.45, 0.80, 0.40], [-0.05, 0.97, 0.24]])
    codes = generator.gamma(2.0, 0.3, (2, 4000)) * (generator.random((2, 4000)) < 0.6)
    channels = (stains.T @ codes).astype(np.float32)[:, codes.sum(axis=0) > 0]
    found = stain_factors(channels, penalty=0.005)
    assert found[1, 0] == 0.0
    least = whole_cost(channels, found, 0.005).sum()
    for turn in np.linspace(-0.05, 0.05, 21):
        eosin = np.array([0.0, found[1, 1] + turn, found[1, 2] - turn])
        other = np.stack([found[0], eosin / np.linalg.norm(eosin)])
        assert whole_cost(channels, other, 0.005).sum() >= least * (1 - 1e-5)


def test_pixels_of_one_stain_have_no_two():
    amounts = np.linspace(0.3, 1.5, 500)
    with pytest.raises(UnstainedError, match="single-stain"):
        stain_factors(np.outer(STAINS[1], amounts).astype(np.float32), penalty=0.005)
