"""Stability: maps that follow the tissue are steady, maps that follow the frame are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eosin.arrays import Floats
from eosin.explanation.perturbation import average_ranks, rank_correlation
from eosin.explanation.randomisation import altered_images, stability
from eosin.pixels.reading import UInt8Image


def field() -> UInt8Image:
    return np.random.default_rng(3).integers(60, 220, (32, 32, 3)).astype(np.uint8)


def darkness(images: Sequence[UInt8Image]) -> list[Floats]:
    return [255.0 - image.mean(axis=2, dtype=np.float64) for image in images]


def test_a_map_that_follows_the_tissue_is_steady() -> None:
    found = stability(field(), darkness([field()])[0], darkness, cells=8)
    assert found.flips == pytest.approx(1.0, abs=1e-3)
    assert found.stains > 0.95


def test_a_map_that_follows_the_frame_is_not_steady_under_flips() -> None:
    corner = np.add.outer(np.arange(8.0), np.arange(8.0))
    found = stability(field(), corner, lambda images: [corner] * len(images), cells=8)
    # Mirrored once it says nothing of itself, mirrored twice the opposite.
    assert found.flips == pytest.approx(-1 / 3, abs=0.01)
    assert found.stains == pytest.approx(1.0)


def test_a_map_that_follows_one_threshold_of_colour_is_not_steady_under_stain_shifts() -> None:
    plain = np.full((32, 32, 3), (150, 90, 150), np.uint8)
    plain[:, 16:] -= 2

    def edge(images: Sequence[UInt8Image]) -> list[Floats]:
        return [(image[:, :, 1] < 89).astype(float) for image in images]

    assert stability(plain, edge([plain])[0], edge, cells=8).stains < 0.1


def test_seven_copies_are_made_and_none_of_them_is_the_image() -> None:
    copies = altered_images(field())
    assert len(copies) == 7
    assert all((copy != field()).any() for copy in copies)
    assert (copies[0] == field()[:, ::-1]).all()


def test_ranks_share_ties() -> None:
    assert average_ranks([[3.0, 1.0], [3.0, 7.0]]).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    generator = np.random.default_rng(4)
    one = generator.integers(0, 9, 50)
    other = one + generator.integers(0, 9, 50)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)


def test_a_flat_map_resembles_nothing() -> None:
    assert rank_correlation(np.ones(5), np.arange(5)) == 0
