"""What of a slide is tissue: drawn slides whose areas are known, and the real ones."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eosin.arrays import UInt8Image
from eosin.errors import DataError
from eosin.pixels.tissue_mask import TISSUE, Area, find_tissue
from eosin.slides.opening import open_slide

Draw = Callable[[int], Any]


@pytest.fixture(scope="module")
def draw() -> Draw:
    """Draws the slide of a seed."""
    script = Path(__file__).with_name("drawn_slides.py")
    return runpy.run_path(str(script))["drawn_slide"]  # type: ignore[no-any-return]


def plain_slide(glass: tuple[int, int, int], *, noise: float = 0.0) -> UInt8Image:
    """300 x 400 pixels of glass with a pale eosin square of 100 x 100 at (100, 100)."""
    rng = np.random.default_rng(0)
    density = np.zeros((300, 400, 3))
    uneven = 0.13 * (1 + 0.3 * rng.normal(size=(100, 100, 1)))
    density[100:200, 100:200] = uneven * [0.14, 0.90, 0.41]
    light = np.array(glass) * np.exp(-density) + noise * rng.normal(size=density.shape)
    return np.rint(light).clip(0, 255).astype(np.uint8)


# Together: every glass but one, pens of every colour, black borders, all kinds of tissue.
@pytest.mark.parametrize("seed", [1, 8, 12])
def test_tissue_pen_and_black_of_a_drawn_slide_are_found(seed: int, draw: Draw) -> None:
    slide = draw(seed)
    found = find_tissue(slide.image, 8.0).labels
    true, said = np.isin(slide.areas, list(TISSUE)), np.isin(found, list(TISSUE))
    assert np.count_nonzero(true & said) / np.count_nonzero(true | said) >= 0.9
    for area in (Area.PEN, Area.BLACK):
        known = slide.areas == area
        if known.any():
            assert np.mean(found[known] == area) >= 0.95, area.name


@pytest.mark.parametrize(
    "glass", [(255, 255, 255), (244, 244, 245), (205, 204, 208), (245, 240, 205), (212, 236, 243)]
)
def test_hardly_stained_tissue_is_told_from_glass_of_any_tint(glass: tuple[int, int, int]) -> None:
    labels = find_tissue(plain_slide(glass, noise=1.5), 8.0).labels
    inside = np.zeros(labels.shape, bool)
    inside[100:200, 100:200] = True
    assert np.mean(labels[inside] == Area.TISSUE) > 0.97
    assert np.mean(labels[~inside] == Area.GLASS) > 0.99


def test_empty_glass_is_glass_whatever_its_tint_and_noise() -> None:
    for glass in ((255, 255, 255), (205, 204, 208), (245, 240, 205)):
        empty = plain_slide(glass, noise=3.0)[:90]
        assert find_tissue(empty, 8.0).share(Area.GLASS) > 0.999


def test_white_that_a_scanner_did_not_scan_does_not_make_tissue_of_grey_glass() -> None:
    image = plain_slide((205, 204, 208))
    image[:, 250:] = 255
    mask = find_tissue(image, 8.0)
    assert mask.share(Area.TISSUE) == pytest.approx(100 * 100 / (300 * 400), rel=0.03)
    assert mask.pieces(Area.TISSUE) == 1


def test_a_large_gap_in_tissue_is_a_hole_and_a_small_one_is_tissue() -> None:
    image = plain_slide((244, 244, 245))
    image[120:145, 120:145] = 244  # 40,000 um^2
    image[170:180, 170:180] = 244  # 6,400 um^2
    labels = find_tissue(image, 8.0).labels
    assert labels[132, 132] == Area.HOLE
    assert labels[175, 175] == Area.TISSUE
    assert np.count_nonzero(labels == Area.HOLE) == pytest.approx(625, rel=0.15)


def test_specks_and_grey_pieces_are_dust() -> None:
    image = plain_slide((244, 244, 245))
    image[20:30, 20:30] = (200, 120, 160)  # stained, but 80 um wide
    image[20:60, 300:360] = 150  # large, but grey
    labels = find_tissue(image, 8.0).labels
    assert labels[25, 25] == labels[40, 330] == Area.DUST
    assert find_tissue(image, 8.0).pieces(Area.TISSUE) == 1


@pytest.mark.parametrize(
    "ink", [(1.9, 0.7, 1.3), (1.75, 1.35, 0.4), (0.15, 1.9, 1.65), (2.3, 2.3, 2.2)]
)
def test_a_stroke_of_pen_is_pen_over_glass_and_over_tissue(ink: tuple[float, ...]) -> None:
    image = plain_slide((244, 244, 245)).astype(np.float64)
    image[140:165, 20:] *= np.exp(-np.array(ink))
    labels = find_tissue(np.rint(image).astype(np.uint8), 8.0).labels
    assert np.all(labels[140:165, 20:] == Area.PEN)
    assert np.count_nonzero(labels == Area.PEN) < 1.25 * 25 * 380
    assert labels[120, 150] == labels[190, 150] == Area.TISSUE


def test_a_black_border_is_black_and_a_black_stroke_that_runs_into_it_is_pen() -> None:
    image = plain_slide((244, 244, 245))
    image[280:] = 3
    image[220:280, 300:330] = 20
    labels = find_tissue(image, 8.0).labels
    assert np.all(labels[281:] == Area.BLACK)
    assert np.all(labels[225:270, 302:328] == Area.PEN)


def test_double_tissue_in_a_streak_is_a_fold_and_a_dark_round_piece_is_not() -> None:
    rng = np.random.default_rng(1)
    density = np.zeros((300, 400, 3))
    cells = rng.lognormal(0, 0.4, (200, 300, 1))
    density[50:250, 50:350] = 0.3 * cells * [0.14, 0.90, 0.41] + 0.2 * cells * [0.65, 0.70, 0.29]
    density[100:110, 100:190] *= 2  # 80 by 720 um
    density[160:190, 250:280] *= 2
    image = np.rint(244 * np.exp(-density)).astype(np.uint8)
    labels = find_tissue(image, 8.0).labels
    assert np.mean(labels[101:109, 102:188] == Area.FOLD) > 0.95
    assert np.count_nonzero(labels == Area.FOLD) < 1.5 * 10 * 90
    assert np.all(labels[160:190, 250:280] == Area.TISSUE)


@pytest.fixture(scope="module")
def carcinoma(real_data: Path) -> UInt8Image:
    """The overview of a real slide whose um/px is not stated; its cells look like 1 um/px."""
    slide = open_slide(real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs", mpp=1.0)
    return slide.overview(8.0)


def test_a_sharp_real_slide_is_in_focus_and_its_blurred_half_is_not(carcinoma: UInt8Image) -> None:
    half = len(carcinoma) // 2
    assert find_tissue(carcinoma, 8.0).share(Area.BLURRED) == 0
    blurred = carcinoma.copy()
    blurred[half:] = cv2.GaussianBlur(carcinoma, (0, 0), 2)[half:]
    mask = find_tissue(blurred, 8.0)
    tissue = np.isin(mask.labels, list(TISSUE))
    assert np.mean(mask.labels[half:][tissue[half:]] == Area.BLURRED) > 0.7
    assert np.mean(mask.labels[:half][tissue[:half]] == Area.BLURRED) < 0.01


def test_a_real_slide_is_one_piece_with_one_hole_on_two_kinds_of_glass(
    carcinoma: UInt8Image,
) -> None:
    mask = find_tissue(carcinoma, 8.0)
    assert mask.pieces(*TISSUE) == 1
    assert mask.pieces(Area.HOLE) == 1
    assert mask.share(Area.PEN) == mask.share(Area.BLACK) == 0
    # Corners that were not scanned, and scanned glass.
    assert mask.labels[5, 5] == mask.labels[80, 60] == mask.labels[430, 250] == Area.GLASS


def test_the_share_of_tissue_hardly_depends_on_the_resolution(real_data: Path) -> None:
    slide = open_slide(real_data / "slides" / "cmu-1-small-region.svs")
    shares = [
        sum(find_tissue(slide.overview(mpp), mpp).share(area) for area in TISSUE)
        for mpp in (4.0, 8.0, 16.0)
    ]
    assert max(shares) - min(shares) < 0.03


def test_a_resolution_that_the_limits_do_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"4 to 16 um/px, not at 0\.5"):
        find_tissue(plain_slide((244, 244, 245)), 0.5)
