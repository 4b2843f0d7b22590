"""Reinhard's colour transfer: mean and spread of the tissue's colours in CIELAB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np

from eosin.arrays import Floats, Floats32
from eosin.pixels.optical_density import (
    TISSUE_DENSITY,
    as_bytes,
    as_floats,
    density_table,
    in_strips,
)
from eosin.pixels.reading import UInt8Image
from eosin.pixels.tissue_sample import Reason, TissueSample, UnstainedError

_LEAST_SPREAD: Final = 0.1  # CIELAB units


@dataclass(frozen=True, slots=True, eq=False)
class ColourStatistics:
    """The colours of an image's tissue."""

    mean: Floats  # (3,) mean L* (0 to 100), a* and b*
    spread: Floats  # (3,) their standard deviations


def reinhard_estimate(sample: TissueSample) -> ColourStatistics:
    """Mean and spread of a sample's tissue (Reinhard et al., IEEE CG&A 21(5), 2001, in CIELAB).

    Glass is left out: its share of an image says nothing about the stain.

    Raises:
        UnstainedError: the tissue has one lightness or one hue.
    """
    tissue = np.compress(sample.tissue(), sample.pixels, axis=1)
    mean, spread = cv2.meanStdDev(_to_lab(np.ascontiguousarray(tissue.T)[None]))
    if spread.min() < _LEAST_SPREAD:
        raise UnstainedError(Reason.SINGLE_COLOUR)
    return ColourStatistics(
        mean=mean.ravel().astype(np.float64), spread=spread.ravel().astype(np.float64)
    )


def median_statistics(statistics: Sequence[ColourStatistics]) -> ColourStatistics:
    """The channel by channel median."""
    return ColourStatistics(
        mean=np.median([each.mean for each in statistics], axis=0),
        spread=np.median([each.spread for each in statistics], axis=0),
    )


def repaint_colours(
    image: UInt8Image, source: ColourStatistics, target: ColourStatistics
) -> UInt8Image:
    """Give the image's tissue the target's mean and spread; same shape, white stays white.

    The change fades out from tissue to glass, in step with the grey value.
    """
    scale = target.spread / source.spread
    shift = target.mean - scale * source.mean
    affine = np.column_stack([np.diag(scale), shift]).astype(np.float32)
    return in_strips(image, lambda strip: _repaint_strip(strip, affine))


def _repaint_strip(strip: UInt8Image, affine: Floats32) -> UInt8Image:
    lab = cv2.transform(_to_lab(strip), affine)
    weight = cv2.LUT(cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY), _tissue_weight())
    change = as_floats(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)) * np.float32(255)
    change -= strip
    change *= as_floats(cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB))
    return as_bytes(cv2.add(change, strip, dtype=cv2.CV_8U))


def _to_lab(pixels: UInt8Image) -> Floats32:
    lab = cv2.cvtColor(pixels * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    return as_floats(lab)


@cache
def _tissue_weight() -> Floats32:
    """0 for glass to 1 for tissue, half at the density that parts them; (256,), by grey value."""
    return as_floats(np.clip(density_table() / TISSUE_DENSITY - 0.5, 0.0, 1.0))
