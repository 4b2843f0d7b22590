"""What training does to an image's stains: more or less of each, or those of another patient."""

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
    from eosin.pixels.reading import UInt8Image


@dataclass(frozen=True)
class StainAugmentation:
    """Draws for training images by their place; the same generator state gives the same bytes.

    Attributes:
        jitter: haematoxylin and eosin are multiplied by factors between 1 - jitter and 1 + jitter.
        exchange: the probability that an image is given the stains of another training patient.
        patients: of each training image.
        stains: of the training patients that show any, where they are exchanged.
        target: the stains that every image has been brought to already, where they have.
    """

    jitter: float
    exchange: float
    patients: tuple[str, ...]
    stains: Mapping[str, StainEstimate]
    target: StainEstimate | None = None

    def __post_init__(self) -> None:
        if self.exchange and len(self.stains) < 2:
            raise ConfigError(
                f"stain_exchange = {self.exchange}: of {len(set(self.patients))} training "
                f"patients {len(self.stains)} show stained tissue, and two are needed; set it to 0"
            )

    def __call__(self, image: UInt8Image, place: int, random: np.random.Generator) -> UInt8Image:
        """The training image at ``place`` (size, size, 3) in other stains; same shape.

        An image of a patient whose stains are not known keeps them and is only jittered.
        """
        own = self.stains.get(self.patients[place])
        exchanging = random.random() < self.exchange
        factors = draw_stain_factors(StainJitter(self.jitter, self.jitter), random)
        if exchanging and own is not None:
            other = draw_other_patient(self.patients[place], self.stains, random)
            amounts = other.max_concentration * np.array(factors)
            return restain(image, own, replace(other, max_concentration=amounts))
        if not self.jitter:
            return image
        return scale_stains(image, factors, source=own or self.target)
