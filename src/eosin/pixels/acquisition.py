"""How an image was taken, from a few of its pixels: stain, sharpness, tissue, compression."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, BinaryIO, Final

import cv2
import numpy as np

from eosin.pixels.foreign import DARK_VALUE, brightest, darkest, spread_pixels
from eosin.pixels.macenko import macenko_estimate
from eosin.pixels.optical_density import TISSUE_DENSITY, as_bytes, optical_density
from eosin.pixels.tissue_sample import TissueSample, UnstainedError

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.arrays import Bools, Floats, UInt8Image

# In the order of the columns; NaN where one cannot be told.
ACQUISITION: Final = (
    "height",  # pixels
    "width",
    "tissue",  # share of the pixels that are coloured and absorb light
    "black",  # share of the pixels without light
    "sharpness",  # log of the energy of edges over that of all contrast
    *("haematoxylin_red", "haematoxylin_green", "haematoxylin_blue"),  # unit optical density
    *("eosin_red", "eosin_green", "eosin_blue"),
    *("haematoxylin_most", "eosin_most"),  # 99th percentiles of concentrations
    *("density_red", "density_green", "density_blue"),  # mean optical density of the tissue
    "jpeg_quality",  # 1 to 100, by the IJG's scale; NaN where the file is no JPEG
)
_PIXELS: Final = 4_096  # looked at for colours
_SIDE: Final = 256  # of the middle looked at for edges
_GREYEST: Final = 8  # bytes between the channels of ink, paper and pencil
_JPEG, _TABLES = b"\xff\xd8", 0xDB  # how a file begins; the marker of its tables
# The sum of the IJG's table for luminance, of which quality 50 is (ITU-T T.81, Annex K).
_TABLE_AT_50: Final = 3_688


def measure(image: UInt8Image, path: Path | None = None) -> Floats:
    """One value a name of ``ACQUISITION``; NaN where it cannot be told.

    Args:
        image: (height, width, 3) RGB bytes, as read.
        path: its file, for the quality of a JPEG.
    """
    pixels = spread_pixels(image, most=_PIXELS)
    density = optical_density(pixels)
    light = brightest(pixels)
    coloured = light - darkest(pixels) > _GREYEST
    tissue = coloured & (density.sum(axis=0) >= 3 * TISSUE_DENSITY) & (light >= DARK_VALUE)
    return np.array(
        [
            *image.shape[:2],
            tissue.mean(),
            (light < DARK_VALUE).mean(),
            _sharpness(image),
            *_stains(TissueSample(pixels, density, whole=True), tissue),
            jpeg_quality(path) if path is not None else math.nan,
        ],
        dtype=np.float64,
    )


def jpeg_quality(path: Path) -> float:
    """The quality, 1 to 100, whose luminance table is nearest to the file's; NaN for no JPEG."""
    try:
        with path.open("rb") as stream:
            kind, *table = _first_table(stream)
    except (OSError, ValueError):
        return math.nan
    if kind > 15 or len(table) < 64:  # above: 16-bit tables, rare
        return math.nan
    scale = 100 * sum(table) / _TABLE_AT_50
    return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))


def _first_table(stream: BinaryIO) -> bytes:
    """Kind and values of a JPEG's own first table, past thumbnails; empty where it has none."""
    found = stream.read(2) == _JPEG
    while found and len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        length = int.from_bytes(head[2:], "big") - 2
        if head[1] == _TABLES:
            return stream.read(min(length, 65))
        stream.seek(max(length, 0), 1)
    return b""


def _sharpness(image: UInt8Image) -> float:
    height, width = image.shape[:2]
    top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
    middle = np.ascontiguousarray(image[top : top + _SIDE, left : left + _SIDE])
    grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F).ravel()
    contrast = (cv2.norm(grey) ** 2) / grey.size - cv2.mean(grey)[0] ** 2
    return math.log((float(edges @ edges) / grey.size + 0.1) / (max(contrast, 0.0) + 1.0))


def _stains(sample: TissueSample, tissue: Bools) -> list[float]:
    """Both stain vectors, their concentrations, and the mean density of the tissue."""
    nothing = [math.nan] * 8
    mean = sample.density[:, tissue].mean(axis=1).tolist() if tissue.any() else [math.nan] * 3
    own = TissueSample(as_bytes(sample.pixels[:, tissue]), sample.density[:, tissue], whole=True)
    try:
        found = macenko_estimate(own, beta=TISSUE_DENSITY, alpha=1.0)
    except UnstainedError:
        return [*nothing, *mean]
    return [*found.stain_matrix.ravel().tolist(), *found.max_concentration.tolist(), *mean]
