"""What a Run knows of its own patients: the part of ``run.json`` that tells the unfamiliar.

Its arrays lie beside the record in ``reference.safetensors``: the space of familiar features, the
shares of new patients' images at each strangeness, and the answers that calibrate sets.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias, get_args

from pydantic import model_validator

from eosin.artefacts.codec import Strict
from eosin.artefacts.values import Count, Positive, PositiveCount, Sha256, Share

REFERENCE_NAME: Final = "reference.safetensors"
MOST_REFERENCE_BYTES: Final = 5_000_000
Flag: TypeAlias = Literal[
    "unfamiliar", "no-tissue", "blurred", "stain", "other-magnification", "other-size"
]
FLAGS: Final[tuple[Flag, ...]] = get_args(Flag)
ABSTAIN: Final = "abstain"


class Familiarity(Strict):
    """How strange images of patients are that did not take part in the fit."""

    channels: PositiveCount  # of the features
    patients: PositiveCount  # that the shares are of: each left out when scored
    images: PositiveCount  # of those
    tail: float  # the strangeness that a tenth of them reach: from there on shares are extrapolated
    tail_scale: Positive  # the mean of what they exceed it by


class Range(Strict):
    """Between which values a measure of an image is nothing out of the common."""

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} lies above high = {self.high}")
        return self


class Acquisition(Strict):
    """How the training and validation images were taken."""

    magnifications: tuple[str, ...]  # as the manifest named them; none where it named none
    mpp: Range | None  # micrometres a pixel of the manifest, with a fifth to either side
    short_side: Range  # pixels
    long_side: Range
    # of measures of pixels, by their name; those that no image had are left out
    measures: dict[str, Range]


class SetCalibration(Strict):
    """Whose answers calibrate the sets."""

    patients: PositiveCount
    images: PositiveCount
    source: Literal["validation", "cross-validation", "out-of-fold"]


class Reference(Strict):
    """What a Run knows of its own patients; a part is None where it could not be learnt."""

    sha256: Sha256  # of ``reference.safetensors``
    weights_sha256: Sha256 | None  # of the network; None of a Run that has other Runs inside
    familiarity: Familiarity | None
    acquisition: Acquisition | None
    calibration: SetCalibration | None


class Trust(Strict):
    """How the columns ``familiarity, flags, set, answer`` of a predictions table were made."""

    unfamiliar_below: Share  # the familiarity below which an image is flagged
    familiar_patients: Count | None  # that familiarity is calibrated on; None where it cannot be
    coverage: Share  # of the sets
    sets: Literal["lac", "aps"]
    by_class: bool
    calibration_patients: Count  # of the sets; of folds the fewest
    patients_needed: Count  # below which a set is everything
