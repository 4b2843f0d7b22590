"""Maps against true regions, with answers known by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eosin.errors import DataError
from eosin.explanation.localisation import localisation


def half() -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    return mask


def test_a_map_equal_to_the_mask_is_perfect() -> None:
    found = localisation(half().astype(float), half())
    assert found is not None
    assert (found.pointing, found.energy, found.auc, found.area) == (1.0, 2.0, 1.0, 0.5)


def test_a_map_of_the_outside_misses_everything() -> None:
    found = localisation((~half()).astype(float), half())
    assert found is not None
    assert (found.pointing, found.energy, found.auc) == (0.0, 0.0, 0.0)


def test_a_flat_map_reaches_what_chance_reaches() -> None:
    found = localisation(np.ones((2, 2)), half())
    assert found is not None
    assert (found.pointing, found.energy, found.auc) == (0.5, 1.0, 0.5)


def test_energy_counts_the_positive_part_only() -> None:
    heatmap = np.where(half(), 3.0, 1.0)
    heatmap[0, 7] = -100
    found = localisation(heatmap, half())
    assert found is not None
    assert found.energy == pytest.approx(96 / (96 + 31) / 0.5)


def test_a_map_without_a_positive_value_has_no_energy() -> None:
    found = localisation(np.zeros((8, 8)), half())
    assert found is not None
    assert found.energy is None


def test_the_area_under_the_curve_is_scikit_learns_ties_included() -> None:
    generator = np.random.default_rng(2)
    heatmap = generator.integers(0, 6, (30, 40)).astype(float)
    mask = generator.random((30, 40)) < 0.3
    found = localisation(heatmap, mask)
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(mask.ravel(), heatmap.ravel()))


def test_a_coarse_map_is_laid_over_the_image() -> None:
    found = localisation(np.array([[1.0, 0.0], [1.0, 0.0]]), half())
    assert found is not None
    assert (found.pointing, found.auc) == (1.0, 1.0)


@pytest.mark.parametrize("value", [True, False])
def test_nothing_is_told_where_the_region_is_everything_or_nothing(value: bool) -> None:
    assert localisation(np.eye(8), np.full((8, 8), value)) is None


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="finite heatmap"):
        localisation(np.full((4, 4), np.inf), half())
