"""Removing and restoring tissue: known regions, known areas, tissue-like fills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eosin.errors import ConfigError, DataError
from eosin.explanation.blind_maps import centre_blob, smooth_random_map
from eosin.explanation.perturbation import (
    Curves,
    PerturbationOptions,
    filled,
    half_removed,
    on_grid,
    perturb,
)
from eosin.explanation.ranks import Floats, average_ranks
from eosin.pixels.reading import UInt8Image

STROMA, NUCLEI = (230, 180, 200), (90, 60, 130)
OPTIONS = PerturbationOptions(cells=8, steps=8, random_maps=4)


def tissue_with_nuclei() -> tuple[UInt8Image, Floats]:
    """A 64 x 64 field with dark nuclei in its upper left 16 x 16 pixels, and where they are."""
    image = np.full((64, 64, 3), STROMA, np.uint8)
    image[:16, :16] = NUCLEI
    region = np.zeros((8, 8))
    region[:2, :2] = 1
    return image, region


def nuclei_shown(images: Sequence[UInt8Image]) -> Floats:
    """A network that knows one thing: the share of the nuclei that it can see."""
    return np.array([(image[:16, :16, 0] == NUCLEI[0]).mean() for image in images])


def test_a_map_of_the_very_region_that_counts_deletes_at_once_and_inserts_at_once() -> None:
    image, region = tissue_with_nuclei()
    curves = perturb(image, region, nuclei_shown, options=OPTIONS).heatmap
    # 4 of 64 cells hold the nuclei; the first of 8 steps takes 8 cells, so all of them.
    assert curves.deletion.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert curves.insertion.tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert curves.deletion_auc == pytest.approx(1 / 16)
    assert curves.gap == pytest.approx(14 / 16)


def test_the_opposite_map_has_exactly_the_opposite_gap() -> None:
    image, region = tissue_with_nuclei()
    graded = region + np.linspace(0, 0.1, 64).reshape(8, 8)
    gap = perturb(image, graded, nuclei_shown, options=OPTIONS).heatmap.gap
    opposite = perturb(image, -graded, nuclei_shown, options=OPTIONS).heatmap.gap
    assert opposite == pytest.approx(-gap)


def test_random_maps_delete_halfway_on_average_and_their_gaps_balance() -> None:
    image, region = tissue_with_nuclei()
    options = PerturbationOptions(cells=8, steps=8, random_maps=30)
    result = perturb(image, region, nuclei_shown, options=options)
    assert result.random_auc == pytest.approx(0.5, abs=0.05)
    assert result.random_gaps.sum() == pytest.approx(0, abs=1e-12)
    assert result.random_as_good < 0.05


def test_the_network_is_asked_as_often_as_promised_in_batches_of_at_most_the_given_size() -> None:
    image, region = tissue_with_nuclei()
    asked: list[int] = []

    def count(images: Sequence[UInt8Image]) -> Floats:
        asked.append(len(images))
        return nuclei_shown(images)

    perturb(image, region, count, options=PerturbationOptions(cells=8, steps=8, batch_size=10))
    assert sum(asked) == 2 + 2 * 7 * (5 + 2)
    assert max(asked) == 10


def test_the_image_is_not_changed() -> None:
    image, region = tissue_with_nuclei()
    before = image.copy()
    perturb(image, region, nuclei_shown, options=OPTIONS)
    assert (image == before).all()


def test_the_fill_is_the_mean_density_of_the_tissue_and_ignores_the_glass() -> None:
    image = np.full((40, 40, 3), 240, np.uint8)  # glass
    image[:10], image[10:20] = (200, 150, 180), (100, 50, 90)
    # Beer-Lambert: the mean of densities is the geometric mean of the light plus one.
    expected = np.rint(np.sqrt(np.array([201, 151, 181]) * np.array([101, 51, 91])) - 1)
    fill = filled(image, "tissue")
    assert np.abs(fill[0, 0].astype(int) - expected).max() <= 1
    assert (fill == fill[0, 0]).all()


def test_a_black_border_and_ink_have_no_share_in_the_colour_of_removed_tissue() -> None:
    image = np.full((60, 60, 3), (190, 90, 150), np.uint8)
    image[:, :20], image[30:40, 30:50] = 0, (20, 120, 70)
    assert np.abs(filled(image, "tissue").astype(int) - (190, 90, 150)).max() < 2


def test_an_image_of_glass_alone_is_filled_with_glass() -> None:
    assert np.abs(filled(np.full((20, 20, 3), 238, np.uint8), "tissue").astype(int) - 238).max() < 2


def test_blur_keeps_where_tissue_is_and_loses_its_texture() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(60, 120, (80, 80, 3)).astype(np.uint8)
    image[:, 40:] += 100
    blurred = filled(image, "blur")
    assert blurred[:, 60:].mean() - blurred[:, :20].mean() > 90
    assert blurred[:, :20].std() < 0.2 * image[:, :20].std()


def test_halves_are_removed_one_at_a_time() -> None:
    image, _ = tissue_with_nuclei()
    whole, none, left, right, upper, lower = half_removed(image, "tissue")
    assert nuclei_shown([whole, none, left, right, upper, lower]).tolist() == [1, 0, 0, 1, 0, 1]


def test_random_maps_are_as_smooth_as_the_map_and_share_nothing_else_with_it() -> None:
    rows, columns = np.mgrid[0:14, 0:14]
    smooth = np.exp(-((rows - 4) ** 2 + (columns - 9) ** 2) / 18)
    generator = np.random.default_rng(1)
    fields = [smooth_random_map(smooth, generator) for _ in range(200)]
    roughness = np.mean([_roughness(field) for field in fields])
    own = _roughness(average_ranks(smooth).reshape(14, 14))
    assert 0.5 * own < roughness < 2 * own
    assert _roughness(generator.standard_normal((14, 14))) > 20 * own
    alike = [np.corrcoef(smooth.ravel(), field.ravel())[0, 1] for field in fields]
    assert abs(np.mean(alike)) < 0.08


def _roughness(field: Floats) -> float:
    """Mean squared step between neighbours over the variance: 2 for white noise."""
    return float((np.diff(field, axis=0) ** 2).mean() / field.var())


def test_the_blob_sits_in_the_middle() -> None:
    blob = centre_blob((7, 7))
    assert np.unravel_index(blob.argmax(), blob.shape) == (3, 3)
    assert blob[3, 3] == 1
    assert np.allclose(blob, blob[::-1].T)


def test_a_map_of_one_value_is_said_to_be_flat_at_any_size() -> None:
    image, _ = tissue_with_nuclei()
    assert perturb(image, np.full((5, 5), 0.3), nuclei_shown, options=OPTIONS).flat
    assert on_grid(np.full((5, 5), 0.3), 8).tolist() == np.full((8, 8), 0.3).tolist()


def test_a_large_map_is_averaged_onto_the_grid() -> None:
    heatmap = np.zeros((64, 64))
    heatmap[:8, 8:16] = 2.0
    grid = on_grid(heatmap, 8)
    assert grid[0, 1] == pytest.approx(2.0)
    assert grid.sum() == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [np.full((4, 4), np.nan), np.zeros(4), np.zeros((0, 4))])
def test_a_map_that_is_no_finite_matrix_is_refused(bad: Floats) -> None:
    image, _ = tissue_with_nuclei()
    with pytest.raises(DataError, match="finite matrix"):
        perturb(image, bad, nuclei_shown, options=OPTIONS)


def test_an_image_smaller_than_the_grid_is_refused() -> None:
    with pytest.raises(DataError, match="smaller than a grid of 8 cells"):
        perturb(np.zeros((6, 64, 3), np.uint8), np.eye(4), nuclei_shown, options=OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 1}, "outside 2 to 128"),
        ({"cells": 3, "steps": 10}, "want 2 to 9"),
        ({"random_maps": 0}, "at least 1"),
        ({"fill": "black"}, "'black' is unknown"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PerturbationOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_area_is_by_trapezoids_over_the_true_shares() -> None:
    share, falling = np.array([0.0, 0.25, 1.0]), np.array([1.0, 0.5, 0.0])
    curves = Curves(share, falling, falling[::-1])
    assert curves.deletion_auc == pytest.approx(0.75 * 0.25 + 0.25 * 0.75)
