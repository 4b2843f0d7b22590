"""The pixels that a stain is estimated from, and the reasons to estimate none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from eosin.errors import DataError
from eosin.pixels.optical_density import (
    TISSUE_DENSITY,
    FloatArray,
    optical_density,
    require_rgb_bytes,
)
from eosin.pixels.reading import UInt8Image

Images: TypeAlias = UInt8Image | Iterable[UInt8Image]

_SAMPLE_PIXELS: Final = 100_000  # of one image
_SHARE_PIXELS: Final = 20_000  # of each of several
_POOL_PIXELS: Final = 400_000  # of several images together
_LOOK_PIXELS: Final = 4_096  # enough to tell what an image is

_FEWEST_PIXELS: Final = 256
_BLANK_SHARE: Final = 0.001
_NEARLY_BLANK_SHARE: Final = 0.05  # below, the 99th percentile of all pixels says little of tissue
_DARK_VALUE: Final = 24
_SINGLE_COLOUR_SPREAD: Final = 4
_GREY_SPREAD: Final = 8


class Reason(StrEnum):
    """Why an image came back unchanged; the codes that manifests and predictions record."""

    TOO_SMALL = "too-small"
    DARK = "dark"
    BLANK = "blank"
    NEARLY_BLANK = "nearly-blank"
    SINGLE_COLOUR = "single-colour"
    GREY = "grey"
    SINGLE_STAIN = "single-stain"

    @property
    def holds_no_stain(self) -> bool:
        """Whether nothing in the image could be changed even with a known stain."""
        return self in {Reason.DARK, Reason.BLANK, Reason.SINGLE_COLOUR, Reason.GREY}


class UnstainedError(DataError):
    """No stain can be estimated from these pixels; ``reason`` is the code that says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(
            f"no stain to estimate: {reason.value}; give an image that shows stained tissue"
        )
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class TissueSample:
    """Pixels of one or more images, evenly spread.

    Attributes:
        pixels: (n, 3) RGB bytes.
        density: (n, 3) optical densities of ``pixels``, natural log.
    """

    pixels: UInt8Image
    density: FloatArray

    def tissue(self) -> npt.NDArray[np.bool_]:
        """Which pixels absorb at least 0.15 on the mean of their channels; (n,)."""
        return _absorbs(self.density)


def sample_tissue(images: Images) -> TissueSample:
    """Spread-out pixels of an image, or of all usable ones of several.

    Raises:
        UnstainedError: no image shows stained tissue; carries the first image's reason.
        DataError: not RGB bytes, or no image at all.
    """
    pixels = _pixels_of_one(images) if isinstance(images, np.ndarray) else _pixels_of_all(images)
    return TissueSample(pixels=pixels, density=optical_density(pixels))


def unstained_reason(image: UInt8Image) -> Reason | None:
    """Why no stain can be estimated from one image's pixels; None where one can be tried."""
    if image.shape[0] * image.shape[1] < _FEWEST_PIXELS:
        return _reason_by_colour(image.reshape(-1, 3)) or Reason.TOO_SMALL
    return _reason_by_colour(spread_pixels(image, most=_LOOK_PIXELS))


def spread_pixels(image: UInt8Image, *, most: int) -> UInt8Image:
    """About ``most`` pixels at an even stride through the image, (n, 3); the same every time."""
    pixels = image.reshape(-1, 3)
    stride = max(1, round(len(pixels) / most))
    # A stride that shares a factor with the width would see the same few columns only.
    while math.gcd(stride, image.shape[1]) > 1:
        stride += 1
    return pixels[::stride]


def _pixels_of_one(image: UInt8Image) -> UInt8Image:
    image = require_rgb_bytes(image)
    reason = unstained_reason(image)
    if reason is not None:
        raise UnstainedError(reason)
    return spread_pixels(image, most=_SAMPLE_PIXELS)


def _pixels_of_all(images: Iterable[UInt8Image]) -> UInt8Image:
    samples: list[UInt8Image] = []
    reasons: list[Reason] = []
    for image in map(require_rgb_bytes, images):
        reason = unstained_reason(image)
        if reason is None:
            samples.append(spread_pixels(image, most=_SHARE_PIXELS))
        else:
            reasons.append(reason)
    if samples:
        pool = np.concatenate(samples)
        return pool[:: math.ceil(len(pool) / _POOL_PIXELS)]
    if reasons:
        raise UnstainedError(reasons[0])
    raise DataError("no image to estimate a stain from; give at least one")


def _reason_by_colour(pixels: UInt8Image) -> Reason | None:
    if not len(pixels):
        return Reason.TOO_SMALL
    if np.percentile(pixels.max(axis=1), 99) < _DARK_VALUE:
        return Reason.DARK
    tissue = pixels[_absorbs(optical_density(pixels))]
    if len(tissue) < _BLANK_SHARE * len(pixels) or not len(tissue):
        return Reason.BLANK
    low, high = np.percentile(tissue, [1, 99], axis=0)
    if (high - low).max() <= _SINGLE_COLOUR_SPREAD:
        return Reason.SINGLE_COLOUR
    if np.percentile(np.ptp(tissue, axis=1), 99) <= _GREY_SPREAD:
        return Reason.GREY
    return Reason.NEARLY_BLANK if len(tissue) < _NEARLY_BLANK_SHARE * len(pixels) else None


def _absorbs(density: FloatArray) -> npt.NDArray[np.bool_]:
    total = density[:, 0] + density[:, 1] + density[:, 2]
    return total >= np.float32(3 * TISSUE_DENSITY)
