"""What a slide leaves in every field cut from it: its stain, its light, its sharpness.

An image is described in quarters. What differs between quarters of one image cannot be the mark of
a slide, so differences are measured against it: a stain that hardly changes across a field counts
for much, the number of nuclei for little. No label, name or patient is needed to learn that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.data.field_overlap import close_up
from eosin.data.fingerprints import Fingerprint, fingerprint
from eosin.pixels.optical_density import TISSUE_DENSITY, optical_density

if TYPE_CHECKING:
    import numpy.typing as npt

    from eosin.arrays import Floats, Floats32
    from eosin.pixels.reading import UInt8Image

_LONGEST = 512  # pixels: enough for texture, and a bound on time
_STEPS = (5, 25, 50, 75, 95)  # percentiles
_FEWEST = 16  # pixels of tissue that say something of its stain
_RIDGE = 0.05  # share of a plain identity in the covariance inside images
_FAR = 8.0  # robust standard deviations; what lies farther is a blank quarter or an artefact


@dataclass(frozen=True, slots=True)
class Signature:
    """One image, as far as it can be told apart: some 30 kB.

    Attributes:
        quarters: colour, stain and texture of each quarter, shape (4, values).
        thumbnail: grey, at most 160 pixels long, to look for fields that overlap.
        fingerprint: to find copies.
    """

    quarters: Floats32
    thumbnail: UInt8Image
    fingerprint: Fingerprint


def signature(image: UInt8Image) -> Signature:
    """The signature of an RGB image (height, width, 3)."""
    small = _at_most(image, _LONGEST)
    middle, centre = (max(1, side // 2) for side in small.shape[:2])
    halves = (slice(None, middle), slice(-middle, None))
    sides = (slice(None, centre), slice(-centre, None))
    quarters = [_describe(small[rows, columns]) for rows in halves for columns in sides]
    return Signature(np.stack(quarters), close_up(image), fingerprint(image))


def slide_coordinates(quarters: Floats32) -> Floats:
    """Images (n, 4, values) in coordinates whose distances count what marks a slide, (n, values).

    The mean of an image's quarters, whitened by the covariance of quarters inside images
    (within-class covariance normalisation: Hatch et al. 2006, each image a class).
    """
    pooled = quarters.reshape(-1, quarters.shape[2]).astype(np.float64)
    middle = np.median(pooled, axis=0)
    spread = 1.4826 * np.median(np.abs(pooled - middle), axis=0)
    spread = np.where(spread > 1e-6, spread, pooled.std(axis=0) + 1e-6)
    scaled = np.clip((quarters - middle) / spread, -_FAR, _FAR)
    means = scaled.mean(axis=1)
    inside = (scaled - means[:, None]).reshape(-1, quarters.shape[2])
    covariance = inside.T @ inside / max(1, 3 * len(quarters))
    level = max(float(np.trace(covariance)) / len(covariance), 1e-6)
    covariance = (1 - _RIDGE) * covariance + _RIDGE * level * np.eye(len(covariance))
    whitened: Floats = means @ np.linalg.cholesky(np.linalg.inv(covariance))
    return whitened


def _at_most(image: UInt8Image, side: int) -> UInt8Image:
    import cv2

    scale = side / max(image.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = tuple(max(8, round(scale * length)) for length in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _describe(tile: UInt8Image) -> Floats32:
    """Light and colour, stain, and texture of a quarter, each in units that vary by a few."""
    import cv2

    tile = np.ascontiguousarray(tile)
    lab = cv2.cvtColor(tile, cv2.COLOR_RGB2LAB)
    colours = np.percentile(lab.reshape(-1, 3), _STEPS, axis=0).ravel()
    light = np.percentile(tile.reshape(-1, 3), (1, 99), axis=0).ravel()
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    textures = [_texture(channel) for channel in (grey, *lab[:, :, 1:].transpose(2, 0, 1))]
    return np.concatenate([colours, light, _stain(tile), *textures]).astype(np.float32)


def _stain(tile: UInt8Image) -> Floats:
    """Directions of the stains in optical density, and how far pixels spread along them."""
    density = optical_density(tile).reshape(-1, 3)
    tissue = density[density.sum(axis=1) > 3 * TISSUE_DENSITY]
    tissue = tissue if len(tissue) >= _FEWEST else density
    total = np.maximum(tissue.sum(axis=1, keepdims=True), 1e-3)
    hues = np.percentile(100 * tissue[:, :2] / total, _STEPS, axis=0).ravel()
    values, vectors = np.linalg.eigh(np.cov(tissue.T) + 1e-6 * np.eye(3))
    main = vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1.0)
    return np.concatenate([hues, 30 * main, 5 * np.log(np.maximum(values, 1e-6))])


def _texture(channel: npt.ArrayLike) -> Floats:
    """Log power of a channel in four bands, from the finest."""
    import cv2

    bands, fine = [], np.array(channel, np.float32)
    for step in range(4):
        coarse = np.asarray(cv2.GaussianBlur(fine, (0, 0), 2.0**step), np.float32)
        bands.append(10 * np.log(np.square(fine - coarse).mean() + 0.05))
        fine = coarse
    return np.array(bands)
