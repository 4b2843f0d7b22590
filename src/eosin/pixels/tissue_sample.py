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
    as_bytes,
    optical_density,
    require_rgb_bytes,
)
from eosin.pixels.reading import UInt8Image

Images: TypeAlias = UInt8Image | Iterable[UInt8Image]

SAMPLE_PIXELS: Final = 100_000  # of one image
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
    """Pixels of one or more images, evenly spread, channel by channel: three times faster so.

    Attributes:
        pixels: (3, n) bytes: red, green, blue.
        density: (3, n) optical densities of ``pixels``, natural log.
    """

    pixels: UInt8Image
    density: FloatArray

    def tissue(self) -> npt.NDArray[np.bool_]:
        """Which pixels absorb at least 0.15 on the mean of their channels; (n,)."""
        return _absorbs(self.density)


def sample_tissue(images: Images, *, most: int = SAMPLE_PIXELS) -> TissueSample:
    """Spread-out pixels of an image, or of all usable ones of several.

    Args:
        images: (height, width, 3) RGB bytes, or an iterable of such.
        most: about how many pixels to take of a single image.

    Raises:
        UnstainedError: no image shows stained tissue; carries the first image's reason.
        DataError: not RGB bytes, or no image at all.
    """
    if isinstance(images, np.ndarray):
        pixels = _pixels_of_one(images, most=most)
    else:
        pixels = _pixels_of_all(images)
    return TissueSample(pixels=pixels, density=optical_density(pixels))


def unstained_reason(image: UInt8Image) -> Reason | None:
    """Why no stain can be estimated from one image's pixels; None where one can be tried."""
    reason = _reason_by_colour(spread_pixels(image, most=_LOOK_PIXELS))
    too_small = image.shape[0] * image.shape[1] < _FEWEST_PIXELS
    return Reason.TOO_SMALL if reason is None and too_small else reason


def spread_pixels(image: UInt8Image, *, most: int) -> UInt8Image:
    """About ``most`` pixels at an even stride through the image, (3, n); the same every time."""
    pixels = image.reshape(-1, 3).T
    stride = max(1, round(pixels.shape[1] / most))
    # A stride that shares a factor with the width would see the same few columns only.
    while math.gcd(stride, image.shape[1]) > 1:
        stride += 1
    return np.ascontiguousarray(pixels[:, ::stride])


def _pixels_of_one(image: UInt8Image, *, most: int) -> UInt8Image:
    image = require_rgb_bytes(image)
    reason = unstained_reason(image)
    if reason is not None:
        raise UnstainedError(reason)
    return spread_pixels(image, most=most)


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
        pool = np.concatenate(samples, axis=1)
        return np.ascontiguousarray(pool[:, :: math.ceil(pool.shape[1] / _POOL_PIXELS)])
    if reasons:
        raise UnstainedError(reasons[0])
    raise DataError("no image to estimate a stain from; give at least one")


def _reason_by_colour(pixels: UInt8Image) -> Reason | None:
    count = pixels.shape[1]
    if not count:
        return Reason.TOO_SMALL
    if _ranked(_brightest(pixels), 0.99) < _DARK_VALUE:
        return Reason.DARK
    tissue = np.compress(_absorbs(optical_density(pixels)), pixels, axis=1)
    found = tissue.shape[1]
    if found <= _BLANK_SHARE * count:
        return Reason.BLANK
    if max(_ranked(each, 0.99) - _ranked(each, 0.01) for each in tissue) <= _SINGLE_COLOUR_SPREAD:
        return Reason.SINGLE_COLOUR
    if _ranked(_brightest(tissue) - _darkest(tissue), 0.99) <= _GREY_SPREAD:
        return Reason.GREY
    return Reason.NEARLY_BLANK if found < _NEARLY_BLANK_SHARE * count else None


def _ranked(values: UInt8Image, share: float) -> int:
    """The value that this share of all values stays below, as nearly as whole values can."""
    rank = round(share * (len(values) - 1))
    return int(np.partition(values, rank)[rank])


def _brightest(pixels: UInt8Image) -> UInt8Image:
    return as_bytes(np.maximum(np.maximum(pixels[0], pixels[1]), pixels[2]))


def _darkest(pixels: UInt8Image) -> UInt8Image:
    return as_bytes(np.minimum(np.minimum(pixels[0], pixels[1]), pixels[2]))


def _absorbs(density: FloatArray) -> npt.NDArray[np.bool_]:
    absorbs: npt.NDArray[np.bool_] = density[0] + density[1] + density[2] >= 3 * TISSUE_DENSITY
    return absorbs
