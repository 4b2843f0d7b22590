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
from eosin.pixels.foreign import (
    DARK_VALUE,
    LOOK_PIXELS,
    Mask,
    brightest,
    darkest,
    even_stride,
    foreign_pixels,
    spread_pixels,
    with_edges,
)
from eosin.pixels.optical_density import (
    TISSUE_DENSITY,
    FloatArray,
    optical_density,
    require_rgb_bytes,
)
from eosin.pixels.reading import UInt8Image

Images: TypeAlias = UInt8Image | Iterable[UInt8Image]

SAMPLE_PIXELS: Final = 100_000  # of one image
_SHARE_PIXELS: Final = 20_000  # of each of several
_POOL_PIXELS: Final = 400_000  # of several images together

_FEWEST_PIXELS: Final = 256
_BLANK_SHARE: Final = 0.001
_NEARLY_BLANK_SHARE: Final = 0.05  # below, the 99th percentile of all pixels says little of tissue
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
        whole: whether no pixel was left out as black or ink.
    """

    pixels: UInt8Image
    density: FloatArray
    whole: bool

    def tissue(self) -> npt.NDArray[np.bool_]:
        """Which pixels absorb at least 0.15 on the mean of their channels; (n,)."""
        return _absorbs(self.density)


def sample_tissue(images: Images, *, most: int = SAMPLE_PIXELS) -> TissueSample:
    """Spread-out pixels of an image, or of all usable ones of several, without black and ink.

    Args:
        images: (height, width, 3) RGB bytes, or an iterable of such.
        most: about how many pixels to take of a single image.

    Raises:
        UnstainedError: no image shows stained tissue; carries the first image's reason.
        DataError: not RGB bytes, or no image at all.
    """
    if isinstance(images, np.ndarray):
        image = require_rgb_bytes(images)
        return sample_image(image, foreign_pixels(image), most=most)
    return _sample_of_all(images)


def sample_image(
    image: UInt8Image, foreign: Mask | None, *, most: int = SAMPLE_PIXELS
) -> TissueSample:
    """``sample_tissue`` of one image whose ``foreign_pixels`` are known."""
    return _sampled(_pixels_of_one(image, foreign, most=most), whole=foreign is None)


def unstained_reason(image: UInt8Image, foreign: Mask | None) -> Reason | None:
    """Why no stain can be estimated from one image's pixels; None where one can be tried."""
    if not image.size:
        return Reason.TOO_SMALL
    look = spread_pixels(image, most=LOOK_PIXELS)
    if _ranked(brightest(look), 0.99) < DARK_VALUE:
        return Reason.DARK
    left = image.size // 3
    if foreign is not None:
        look = _without_foreign(image, foreign, most=LOOK_PIXELS)
        left -= int(np.count_nonzero(foreign))
    reason = _reason_by_colour(look)
    return Reason.TOO_SMALL if reason is None and left < _FEWEST_PIXELS else reason


def _sampled(pixels: UInt8Image, *, whole: bool) -> TissueSample:
    return TissueSample(pixels=pixels, density=optical_density(pixels), whole=whole)


def _without_foreign(image: UInt8Image, foreign: Mask, *, most: int) -> UInt8Image:
    near = with_edges(foreign).reshape(-1)[:: even_stride(image, most=most)]
    return np.compress(~near, spread_pixels(image, most=most), axis=1)


def _pixels_of_one(image: UInt8Image, foreign: Mask | None, *, most: int) -> UInt8Image:
    reason = unstained_reason(image, foreign)
    if reason is not None:
        raise UnstainedError(reason)
    if foreign is None:
        return spread_pixels(image, most=most)
    pixels = _without_foreign(image, foreign, most=most)
    if not pixels.size:
        raise UnstainedError(Reason.BLANK)
    return pixels


def _sample_of_all(images: Iterable[UInt8Image]) -> TissueSample:
    samples: list[UInt8Image] = []
    reasons: list[Reason] = []
    whole = True
    for image in map(require_rgb_bytes, images):
        foreign = foreign_pixels(image)
        try:
            samples.append(_pixels_of_one(image, foreign, most=_SHARE_PIXELS))
            whole = whole and foreign is None
        except UnstainedError as error:
            reasons.append(error.reason)
    if samples:
        pool = np.concatenate(samples, axis=1)
        pool = np.ascontiguousarray(pool[:, :: math.ceil(pool.shape[1] / _POOL_PIXELS)])
        return _sampled(pool, whole=whole)
    if reasons:
        raise UnstainedError(reasons[0])
    raise DataError("no image to estimate a stain from; give at least one")


def _reason_by_colour(pixels: UInt8Image) -> Reason | None:
    count = pixels.shape[1]
    if not count:
        return Reason.BLANK
    tissue = np.compress(_absorbs(optical_density(pixels)), pixels, axis=1)
    found = tissue.shape[1]
    if found <= _BLANK_SHARE * count:
        return Reason.BLANK
    if all(_ranked(each, 0.99) - _ranked(each, 0.01) <= _SINGLE_COLOUR_SPREAD for each in tissue):
        return Reason.SINGLE_COLOUR
    if _ranked(brightest(tissue) - darkest(tissue), 0.99) <= _GREY_SPREAD:
        return Reason.GREY
    return Reason.NEARLY_BLANK if found < _NEARLY_BLANK_SHARE * count else None


def _ranked(values: UInt8Image, share: float) -> int:
    """The value that this share of all values stays below, as nearly as whole values can."""
    rank = round(share * (len(values) - 1))
    return int(np.partition(values, rank)[rank])


def _absorbs(density: FloatArray) -> npt.NDArray[np.bool_]:
    absorbs: npt.NDArray[np.bool_] = density[0] + density[1] + density[2] >= 3 * TISSUE_DENSITY
    return absorbs
