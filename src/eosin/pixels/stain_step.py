"""The stain step of the preprocessing: made from a fitted normalizer, applied to images, noted."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, get_args

from eosin.artefacts.preprocessing import Per, StainStep
from eosin.errors import ConfigError
from eosin.pixels.stain import normalizer_of_step

if TYPE_CHECKING:
    from eosin.pixels.reading import UInt8Image
    from eosin.pixels.stain_normalizer import Source, StainNormalizer, StainResult

# Said of an image whose patient's stain is not known, and that was changed from its own instead.
OWN_STAIN: Final = "own-stain"


def step_of(normalizer: StainNormalizer, per: Per = "image") -> StainStep:
    """A fitted normalizer as a Run keeps it.

    Args:
        normalizer: fitted.
        per: ``"image"`` estimates the stain of every image by itself, ``"patient"`` that of all
            of a patient's images together.

    Raises:
        ConfigError: not fitted, or another ``per``.
    """
    if per not in get_args(Per):
        raise ConfigError(f"stain per {per!r} is unknown; want one of {get_args(Per)}")
    return normalizer.step(per)


@lru_cache(maxsize=64)
def normalizer_of(step: StainStep) -> StainNormalizer:
    """The fitted normalizer of a step; the same one each time."""
    return normalizer_of_step(step)


def apply_stain(step: StainStep, image: UInt8Image, *, source: Source | None = None) -> StainResult:
    """The image in the target's stain, or unchanged with the reason.

    Args:
        step: of the preprocessing.
        image: (height, width, 3) RGB bytes, at its original resolution.
        source: the stain of the image's patient; None takes the image's own.
    """
    return normalizer_of(step).transform_with_reason(image, source=source)


def stain_note(step: StainStep, result: StainResult, *, source: Source | None = None) -> str:
    """What a table records of ``apply_stain``: a reason code, ``"own-stain"``, or nothing."""
    if result.reason is not None:
        return result.reason.value
    return OWN_STAIN if step.per == "patient" and source is None else ""
