"""Stain augmentation: other amounts of haematoxylin and eosin, or another patient's stains.

Every draw comes from the caller's generator: one for each image varies images, one seeded by the
patient varies patients and keeps all images of a patient alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from eosin.errors import ConfigError
from eosin.pixels.concentration import StainEstimate, least_squares, repaint_nonnegative
from eosin.pixels.foreign import foreign_pixels, put_back
from eosin.pixels.optical_density import (
    Matrix,
    change_density_linearly,
    require_rgb_bytes,
)
from eosin.pixels.reading import UInt8Image

# Haematoxylin and eosin of Ruifrok & Johnston (2001), for images whose own stains are not known.
GENERAL_STAINS: Final = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105))


@dataclass(frozen=True, slots=True)
class StainJitter:
    """How far stains may wander.

    Attributes:
        haematoxylin: its amount is multiplied by a factor between 1 - h and 1 + h.
        eosin: the same for eosin.
    """

    haematoxylin: float = 0.25
    eosin: float = 0.25

    def __post_init__(self) -> None:
        for name, value in (("haematoxylin", self.haematoxylin), ("eosin", self.eosin)):
            if not 0 <= value < 1:
                raise ConfigError(f"stain jitter {name} = {value} is outside 0 to 1 (excluded)")


def draw_stain_factors(jitter: StainJitter, generator: np.random.Generator) -> tuple[float, float]:
    """Factors for haematoxylin and eosin, uniform within ``jitter``; (1, 1) changes nothing."""
    haematoxylin, eosin = generator.uniform(-1.0, 1.0, size=2)
    return 1 + jitter.haematoxylin * float(haematoxylin), 1 + jitter.eosin * float(eosin)


def scale_stains(
    image: UInt8Image, factors: tuple[float, float], *, source: StainEstimate | None = None
) -> UInt8Image:
    """Multiply an image's haematoxylin and eosin by two factors; same shape, white stays white.

    In concentration space as in Tellez et al. (IEEE TMI 37(9), 2018), by factors only: a shift
    would stain the glass too. What is neither stain keeps its colour; black and ink stay.

    Args:
        image: (height, width, 3) RGB bytes.
        factors: for haematoxylin and eosin; 1 leaves a stain as it is, 0 takes it away.
        source: the stains of the image or its patient; by default the ``GENERAL_STAINS``.
    """
    gain = np.eye(3) + _change_of(_matrix(source), np.subtract(factors, 1.0))
    image = require_rgb_bytes(image)
    return put_back(image, foreign_pixels(image), change_density_linearly(image, gain))


def jitter_stains(
    image: UInt8Image,
    generator: np.random.Generator,
    *,
    jitter: StainJitter | None = None,
    source: StainEstimate | None = None,
) -> UInt8Image:
    """Draw two factors and ``scale_stains`` by them."""
    factors = draw_stain_factors(jitter or StainJitter(), generator)
    return scale_stains(image, factors, source=source)


def draw_other_patient(
    patient: str, stains: Mapping[str, StainEstimate], generator: np.random.Generator
) -> StainEstimate:
    """The stains of a random patient other than ``patient``; ConfigError where there is none."""
    others = sorted(set(stains) - {patient})
    if not others:
        raise ConfigError(f"no patient other than {patient!r} to take stains from")
    return stains[others[int(generator.integers(len(others)))]]


def restain(image: UInt8Image, source: StainEstimate, target: StainEstimate) -> UInt8Image:
    """Give an image of the stains ``source`` those of ``target``; same shape, white stays white."""
    image = require_rgb_bytes(image)
    return put_back(image, foreign_pixels(image), repaint_nonnegative(image, source, target))


def _matrix(source: StainEstimate | None) -> Matrix:
    if source is not None:
        return source.stain_matrix
    general = np.array(GENERAL_STAINS)
    lengths: Matrix = np.linalg.norm(general, axis=1, keepdims=True)
    return general / lengths


def _change_of(stain_matrix: Matrix, changes: Matrix) -> Matrix:
    change: Matrix = (least_squares(stain_matrix) * changes) @ stain_matrix
    return change
