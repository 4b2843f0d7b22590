"""What every stain normalizer does: fit a target, estimate a source, transform, say why not."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

import numpy as np

from eosin.artefacts.preprocessing import Per, StainStep
from eosin.errors import ConfigError
from eosin.pixels.concentration import StainEstimate
from eosin.pixels.foreign import Mask, foreign_pixels, put_back
from eosin.pixels.optical_density import require_rgb_bytes
from eosin.pixels.reading import UInt8Image
from eosin.pixels.reinhard import ColourStatistics
from eosin.pixels.tissue_sample import (
    SAMPLE_PIXELS,
    Images,
    Reason,
    TissueSample,
    UnstainedError,
    sample_image,
    sample_tissue,
    unstained_reason,
)

Source: TypeAlias = StainEstimate | ColourStatistics


def source_key(source: Source | None) -> str:
    """What tells one source from another in the key of a cache; empty for an image's own stain."""
    if source is None:
        return ""
    arrays = [getattr(source, name) for name in source.__dataclass_fields__]
    return "+" + hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class StainResult:
    """A transformed image, and why it is unchanged where it is.

    Attributes:
        image: (height, width, 3) RGB bytes, never the caller's own array.
        reason: None when the stain was changed, else a ``Reason`` code such as ``"blank"``.
    """

    image: UInt8Image
    reason: Reason | None


class StainNormalizer(ABC):
    """Brings images to the look of a target; see ``Reinhard``, ``Macenko`` and ``Vahadane``."""

    method: ClassVar[str]
    sample_pixels: ClassVar[int] = SAMPLE_PIXELS  # of one image, to estimate its stain from

    def __init__(self) -> None:
        self._target: Source | None = None

    @property
    def target_(self) -> Source:
        """What images are brought to; ConfigError before ``fit``."""
        if self._target is None:
            raise ConfigError(f"{type(self).__name__} is not fitted; call fit(image) first")
        return self._target

    def fit(self, images: Images) -> Self:
        """Take one image, or the median of several, as the target.

        Args:
            images: (height, width, 3) RGB bytes, or an iterable of such. Of several, each has one
                vote, and those that show no stained tissue have none.

        Raises:
            DataError: not RGB bytes, or no image shows stained tissue (``UnstainedError``).
        """
        each = [images] if isinstance(images, np.ndarray) else images
        estimates: list[Source] = []
        unstained: list[UnstainedError] = []
        for image in each:
            try:
                estimates.append(self.estimate(image))
            except UnstainedError as error:
                unstained.append(error)
        if unstained and not estimates:
            raise unstained[0]
        return self.fit_estimates(estimates)

    def fit_estimates(self, estimates: Sequence[Source]) -> Self:
        """Take the median of what ``estimate`` gave as the target; ConfigError where empty."""
        if not estimates:
            raise ConfigError("no image to fit the stain target to; give at least one")
        self._target = self._median(estimates)
        return self

    def fit_target(self, target: Source) -> Self:
        """Take what ``estimate`` gave as the target."""
        self._target = target
        return self

    def estimate(self, images: Images) -> Source:
        """The stain of one image, or of all pixels of several together, such as a patient's.

        Raises:
            DataError: not RGB bytes, or no image shows stained tissue (``UnstainedError``).
        """
        return self._estimate(sample_tissue(images, most=self.sample_pixels))

    def transform(self, image: UInt8Image, *, source: Source | None = None) -> UInt8Image:
        """The image in the target's stain, same shape; a plain copy where it shows no stain.

        Args:
            image: (height, width, 3) RGB bytes.
            source: what ``estimate`` gave for the image's patient; by default the image's own.

        Raises:
            ConfigError: not fitted, or a source of another method.
            DataError: not RGB bytes.
        """
        return self.transform_with_reason(image, source=source).image

    def transform_with_reason(
        self, image: UInt8Image, *, source: Source | None = None
    ) -> StainResult:
        """``transform``, with the code that says why an image came back unchanged.

        With a ``source``, nothing need be estimated: small and nearly blank images are transformed.
        """
        target, image = self.target_, require_rgb_bytes(image)
        foreign = foreign_pixels(image)
        try:
            known = self._source_of(image, foreign, source)
        except UnstainedError as error:
            return StainResult(image=image.copy(), reason=error.reason)
        painted = self._repaint(image, known, target)
        return StainResult(image=put_back(image, foreign, painted), reason=None)

    def _source_of(self, image: UInt8Image, foreign: Mask | None, known: Source | None) -> Source:
        if known is None:
            return self._estimate(sample_image(image, foreign, most=self.sample_pixels))
        reason = unstained_reason(image, foreign)
        if reason is not None and reason.holds_no_stain:
            raise UnstainedError(reason)
        return known

    @abstractmethod
    def step(self, per: Per = "image") -> StainStep:
        """Method, settings and target as a Run keeps them; ConfigError before ``fit``."""

    @classmethod
    @abstractmethod
    def of_step(cls, step: StainStep) -> Self:
        """The fitted normalizer that ``step`` gave; ConfigError where it is of another method."""

    @staticmethod
    @abstractmethod
    def _median(estimates: Sequence[Source]) -> Source: ...

    @abstractmethod
    def _estimate(self, sample: TissueSample) -> Source: ...

    @staticmethod
    @abstractmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image: ...
