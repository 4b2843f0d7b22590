"""Which tiles of a slide are read: known squares of tissue on a known grid."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import ConfigError
from eosin.pixels.tissue_mask import Area, TissueMask
from eosin.pixels.tissue_tiles import tissue_tiles


def mask_of(rows: list[str], mpp: float = 8.0) -> TissueMask:
    """A mask drawn in digits of Area, a pixel each."""
    return TissueMask(np.array([[int(c) for c in row] for row in rows], np.uint8), mpp)


def test_the_share_of_a_square_is_exact_to_parts_of_a_pixel() -> None:
    mask = mask_of(["0011", "0011", "0000"])
    x, y = np.array([0, 24, 40, -16, 24]), np.array([0, 0, 0, 0, 16])
    # Sides of 16 px at 0.5 um/px are one pixel of the mask; x = 24 is a pixel and a half.
    shares = mask.shares(x, y, 16.0, slide_mpp=0.5)
    assert shares.tolist() == pytest.approx([0, 0.5, 1, 0, 0.25 + 0.25])


def test_what_lies_outside_the_slide_is_glass() -> None:
    mask = mask_of(["11", "11"])
    shares = mask.shares(np.array([0, 16, 24, 32]), np.array([0, 0, 24, 0]), 32.0, slide_mpp=0.5)
    assert shares.tolist() == pytest.approx([1, 0.5, 0.0625, 0])


def test_folds_and_blur_are_tissue_unless_left_out_and_pen_black_dust_and_holes_are_not() -> None:
    mask = mask_of(["01234567"])
    x = np.arange(8) * 16
    assert mask.shares(x, 0 * x, 16.0, slide_mpp=0.5).tolist() == [0, 1, 0, 0, 0, 0, 1, 1]
    sharp = mask.shares(x, 0 * x, 16.0, slide_mpp=0.5, areas={Area.TISSUE})
    assert sharp.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_pieces_that_touch_are_one_piece() -> None:
    mask = mask_of(["1016", "0100", "0003"])
    assert mask.pieces(Area.TISSUE) == 1
    assert mask.pieces(Area.TISSUE, Area.FOLD) == 1
    assert mask.pieces(Area.FOLD) == 1
    assert mask.pieces(Area.PEN) == 0
    assert mask.share(Area.TISSUE) == pytest.approx(3 / 12)


def test_the_grid_starts_at_the_corner_and_goes_row_by_row() -> None:
    mask = mask_of(["1" * 32] * 20)  # 512 x 320 pixels of level 0
    x, y, width = tissue_tiles(512, 320, mask, slide_mpp=0.5, size=128, mpp=0.5)
    assert width == 128
    assert x.tolist() == [0, 128, 256, 384] * 2 + [0, 128, 256, 384]
    assert y.tolist() == [0] * 4 + [128] * 4 + [256] * 4  # the last row overhangs by half


def test_a_tile_that_overhangs_counts_what_lies_outside_as_glass() -> None:
    mask = mask_of(["1" * 17] * 8)
    # A third column at 256 shows 16 of its 128 pixels: 12.5 %.
    assert tissue_tiles(272, 128, mask, slide_mpp=0.5, size=128, mpp=0.5)[0].tolist() == [0, 128]
    x, _, _ = tissue_tiles(272, 128, mask, slide_mpp=0.5, size=128, mpp=0.5, least=0.125)
    assert x.tolist() == [0, 128, 256]


def test_the_step_is_a_whole_number_of_pixels_and_tiles_abut() -> None:
    mask = mask_of(["1" * 100] * 4)
    x, _, width = tissue_tiles(1600, 64, mask, slide_mpp=0.27, size=224, mpp=0.5, overlap=24)
    assert x[:4].tolist() == [0, 370, 740, 1110]  # 200 px at 0.5 um/px are 370.37 of 0.27
    assert width == pytest.approx(370 * 224 / 200)
    x, _, width = tissue_tiles(1600, 64, mask, slide_mpp=0.499, size=224, mpp=0.5)
    assert width == 224  # read as it is: 0.2 % from the um/px asked for
    assert np.diff(x).tolist() == [224] * (len(x) - 1)


def test_only_tiles_with_enough_tissue_are_taken() -> None:
    mask = mask_of(["1100", "1000", "0000", "0001"])
    x, y, _ = tissue_tiles(64, 64, mask, slide_mpp=0.5, size=32, mpp=0.5, least=0.25)
    assert list(zip(x.tolist(), y.tolist(), strict=True)) == [(0, 0), (32, 32)]
    assert len(tissue_tiles(64, 64, mask, slide_mpp=0.5, size=32, mpp=0.5, least=0.26)[0]) == 1
    assert len(tissue_tiles(64, 64, mask, slide_mpp=0.5, size=32, mpp=0.5, least=0)[0]) == 4


@pytest.mark.parametrize(
    ("size", "mpp", "overlap"), [(224, 0.5, 224), (224, 0.0, 0), (0, 0.5, 0), (4, 0.1, 0)]
)
def test_a_grid_that_would_never_end_is_refused(size: int, mpp: float, overlap: int) -> None:
    with pytest.raises(ConfigError, match=f"tiles of {size} px at {mpp:g} um/px"):
        tissue_tiles(64, 64, mask_of(["11"]), slide_mpp=0.5, size=size, mpp=mpp, overlap=overlap)
