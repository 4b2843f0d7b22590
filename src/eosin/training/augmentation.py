"""What training does to an image: flips, turns, shifts, zoom and colour, each drawn anew.

Every draw is a pure function of (seed, epoch, index of the image), so that a training gives the
same images whatever the number of workers and wherever it was interrupted. Where a turn or a shift
uncovers the border, the image is mirrored there: no slide has the black corners that would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError
from eosin.pixels.stain import StainEstimate
from eosin.pixels.stain_jitter import (
    StainJitter,
    draw_other_patient,
    draw_stain_factors,
    restain,
    scale_stains,
)

if TYPE_CHECKING:
    from eosin.arrays import Floats, UInt8Image
    from eosin.training.config import TrainingConfig


_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
# RGB to luma and two chroma axes (YIQ, FCC 1953); a hue shift turns the chroma plane.
_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_GREY = 127.5


def draws(purpose: int, *, seed: int, epoch: int, index: int = 0) -> np.random.Generator:
    """The random numbers of one purpose (above 0), epoch and image; the same ones every time."""
    # The purpose comes first: numpy pads seeds with zeros, so lengths alone tell nothing apart.
    return np.random.default_rng((purpose, seed, epoch, index))


def augment(image: UInt8Image, config: TrainingConfig, random: np.random.Generator) -> UInt8Image:
    """A changed copy of a square RGB image (size, size, 3), as the settings allow."""
    import cv2

    motion = _motion(config, random, side=image.shape[0])
    colour = _colour(config, random)
    if not np.allclose(motion, np.eye(2, 3), rtol=0, atol=1e-9):
        image = cv2.warpAffine(
            image, motion, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        ).astype(np.uint8, copy=False)
    if not np.array_equal(colour, np.eye(3, 4)):
        image = cv2.transform(image, colour).astype(np.uint8, copy=False)  # rounds and saturates
    return image


def _motion(config: TrainingConfig, random: np.random.Generator, *, side: int) -> Floats:
    """An affine map (2, 3) of pixel positions about the centre of the image."""
    chance = random.random(2)
    spread = random.uniform(-1, 1, 4)
    angle = np.deg2rad(config.rotation_degrees * spread[0])
    zoom = 1 + config.scale * spread[1]
    mirror = np.diag(1.0 - 2.0 * (chance < (config.horizontal_flip, config.vertical_flip)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = zoom * turn @ mirror
    centre = np.full(2, (side - 1) / 2)
    shift = config.translation * side * spread[2:]
    return np.column_stack([linear, centre - linear @ centre + shift])


def _colour(config: TrainingConfig, random: np.random.Generator) -> Floats:
    """An affine map (3, 4) of RGB values in 0 to 255."""
    spread = random.uniform(-1, 1, 4)
    brightness, contrast, saturation = 1 + spread[:3] * (
        config.brightness,
        config.contrast,
        config.saturation,
    )
    if not (spread * (config.brightness, config.contrast, config.saturation, config.hue)).any():
        return np.eye(3, 4)
    angle = 2 * np.pi * config.hue * spread[3]
    chroma = np.eye(3)
    chroma[1:, 1:] = saturation * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = brightness * contrast * np.linalg.inv(_YIQ) @ chroma @ _YIQ
    return np.column_stack([linear, np.full(3, (1 - contrast) * _GREY)])


@dataclass(frozen=True)
class StainAugmentation:
    """Draws for training images by their index; the same generator state gives the same bytes."""

    # haematoxylin and eosin are multiplied by factors between 1 - jitter and 1 + jitter
    jitter: float
    exchange: float  # the probability that an image is given the stains of another training patient
    patients: tuple[str, ...]  # of each training image
    # of the training patients that show any, where they are exchanged
    stains: Mapping[str, StainEstimate]
    # the stains that every image has been brought to already, where they have
    target: StainEstimate | None = None

    def __post_init__(self) -> None:
        if self.exchange and len(self.stains) < 2:
            raise ConfigError(
                f"stain_exchange = {self.exchange}: of {len(set(self.patients))} training "
                f"patients {len(self.stains)} show stained tissue, and two are needed; set it to 0"
            )

    def __call__(self, image: UInt8Image, index: int, random: np.random.Generator) -> UInt8Image:
        """The training image at ``index`` (size, size, 3) in other stains; same shape.

        An image of a patient whose stains are not known keeps them and is only jittered.
        """
        own = self.stains.get(self.patients[index])
        exchanging = random.random() < self.exchange
        factors = draw_stain_factors(StainJitter(self.jitter, self.jitter), random)
        if exchanging and own is not None:
            other = draw_other_patient(self.patients[index], self.stains, random)
            amounts = other.max_concentration * np.array(factors)
            return restain(image, own, replace(other, max_concentration=amounts))
        if not self.jitter:
            return image
        return scale_stains(image, factors, source=own or self.target)
