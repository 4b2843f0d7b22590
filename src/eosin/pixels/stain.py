"""Stain normalisation: Reinhard, Macenko and Vahadane, each fitted once and applied to any image.

    normalizer = Vahadane().fit(target)
    normalised = normalizer.transform(image)
    normalised = normalizer.transform(image, source=normalizer.estimate(images_of_the_patient))

A fitted normalizer is safe to share between threads, gives the same bytes every time, and never
changes its input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeAlias

import numpy as np

from eosin.errors import ConfigError
from eosin.pixels.concentration import (
    StainEstimate,
    median_estimate,
    repaint_linear,
    repaint_nonnegative,
)
from eosin.pixels.macenko import macenko_estimate
from eosin.pixels.optical_density import TISSUE_DENSITY, Matrix, require_rgb_bytes
from eosin.pixels.reading import UInt8Image
from eosin.pixels.reinhard import (
    ColourStatistics,
    median_statistics,
    reinhard_estimate,
    repaint_colours,
)
from eosin.pixels.tissue_sample import (
    Images,
    Reason,
    TissueSample,
    UnstainedError,
    sample_tissue,
    unstained_reason,
)
from eosin.pixels.vahadane import vahadane_estimate

Source: TypeAlias = StainEstimate | ColourStatistics


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

    def estimate(self, images: Images) -> Source:
        """The stain of one image, or of all pixels of several together, such as a patient's.

        Raises:
            DataError: not RGB bytes, or no image shows stained tissue (``UnstainedError``).
        """
        return self._estimate(sample_tissue(images))

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
        try:
            known = self.estimate(image) if source is None else _require_stain(image, source)
        except UnstainedError as error:
            return StainResult(image=image.copy(), reason=error.reason)
        return StainResult(image=self._repaint(image, known, target), reason=None)

    def to_dict(self) -> dict[str, object]:
        """Method, settings and target as plain JSON values; ConfigError before ``fit``."""
        return {"method": self.method, **self.settings(), "target": self.target_.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """The fitted normalizer that ``to_dict`` wrote; ConfigError where it is not one."""
        target = fields.get("target")
        if fields.get("method") != cls.method or not isinstance(target, Mapping):
            raise ConfigError(f"not a fitted {cls.method} stain step: {dict(fields)}")
        normalizer = cls._from_settings(fields)
        normalizer._target = cls._read_target(target)
        return normalizer

    @abstractmethod
    def settings(self) -> dict[str, float]:
        """The constructor's keywords and their values."""

    @classmethod
    @abstractmethod
    def _from_settings(cls, fields: Mapping[str, object]) -> Self: ...

    @staticmethod
    @abstractmethod
    def _read_target(fields: Mapping[str, object]) -> Source: ...

    @staticmethod
    @abstractmethod
    def _median(estimates: Sequence[Source]) -> Source: ...

    @abstractmethod
    def _estimate(self, sample: TissueSample) -> Source: ...

    @staticmethod
    @abstractmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image: ...


class Reinhard(StainNormalizer):
    """Mean and spread of the tissue's colours in CIELAB (Reinhard et al. 2001)."""

    method = "reinhard"

    @property
    def mean_(self) -> Matrix:
        """(3,) mean L* a* b* of the target's tissue."""
        return _colours(self.target_).mean

    @property
    def spread_(self) -> Matrix:
        """(3,) standard deviations of the same."""
        return _colours(self.target_).spread

    def settings(self) -> dict[str, float]:
        """None: the method has nothing to set."""
        return {}

    @classmethod
    def _from_settings(cls, fields: Mapping[str, object]) -> Self:
        del fields  # nothing to read
        return cls()

    @staticmethod
    def _read_target(fields: Mapping[str, object]) -> Source:
        return ColourStatistics.from_dict(fields)

    @staticmethod
    def _median(estimates: Sequence[Source]) -> Source:
        return median_statistics([_colours(estimate) for estimate in estimates])

    def _estimate(self, sample: TissueSample) -> Source:
        return reinhard_estimate(sample)

    @staticmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image:
        return repaint_colours(image, _colours(source), _colours(target))


class _TwoStains(StainNormalizer):
    """What Macenko and Vahadane share: a haematoxylin and an eosin vector."""

    @property
    def stain_matrix_(self) -> Matrix:
        """(2, 3) unit optical density of the target's haematoxylin, then eosin, in RGB."""
        return _stains(self.target_).stain_matrix

    @property
    def max_concentration_(self) -> Matrix:
        """(2,) 99th percentile of the target's concentrations."""
        return _stains(self.target_).max_concentration

    @staticmethod
    def _read_target(fields: Mapping[str, object]) -> Source:
        return StainEstimate.from_dict(fields)

    @staticmethod
    def _median(estimates: Sequence[Source]) -> Source:
        return median_estimate([_stains(estimate) for estimate in estimates])


class Macenko(_TwoStains):
    """Edges of the cloud of optical densities (Macenko et al. 2009).

    Args:
        beta: least optical density, in every channel, of the pixels that set the stain vectors.
        alpha: percentile of the angles, from either end, at which the vectors are taken.
    """

    method = "macenko"

    def __init__(self, *, beta: float = TISSUE_DENSITY, alpha: float = 1.0) -> None:
        super().__init__()
        self.beta = _between(beta, 0.0, 1.0, name="beta")
        self.alpha = _between(alpha, 0.0, 25.0, name="alpha")

    def settings(self) -> dict[str, float]:
        """The constructor's keywords and their values."""
        return {"beta": self.beta, "alpha": self.alpha}

    @classmethod
    def _from_settings(cls, fields: Mapping[str, object]) -> Self:
        return cls(beta=_number(fields, "beta"), alpha=_number(fields, "alpha"))

    def _estimate(self, sample: TissueSample) -> Source:
        return macenko_estimate(sample, beta=self.beta, alpha=self.alpha)

    @staticmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image:
        return repaint_linear(image, _stains(source), _stains(target))


class Vahadane(_TwoStains):
    """Sparse non-negative factors of the optical densities (Vahadane et al. 2016).

    Args:
        penalty: lambda of the L1 term on the concentrations. The paper's 0.1 draws the two vectors
            towards each other, by 2 to 8 degrees where most pixels hold both stains; the default
            keeps the factors unique and the vectors in place.
    """

    method = "vahadane"

    def __init__(self, *, penalty: float = 0.005) -> None:
        super().__init__()
        self.penalty = _between(penalty, 0.0, 1.0, name="penalty")

    def settings(self) -> dict[str, float]:
        """The constructor's keywords and their values."""
        return {"penalty": self.penalty}

    @classmethod
    def _from_settings(cls, fields: Mapping[str, object]) -> Self:
        return cls(penalty=_number(fields, "penalty"))

    def _estimate(self, sample: TissueSample) -> Source:
        return vahadane_estimate(sample, penalty=self.penalty)

    @staticmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image:
        return repaint_nonnegative(image, _stains(source), _stains(target))


NORMALIZERS: Final[Mapping[str, type[StainNormalizer]]] = {
    kind.method: kind for kind in (Reinhard, Macenko, Vahadane)
}


def create_normalizer(method: str) -> StainNormalizer:
    """An unfitted normalizer: ``"reinhard"``, ``"macenko"`` or ``"vahadane"``; else ConfigError."""
    return _kind(method)()


def normalizer_from_dict(fields: Mapping[str, object]) -> StainNormalizer:
    """The fitted normalizer of any method that ``to_dict`` wrote; ConfigError where it is none."""
    return _kind(fields.get("method")).from_dict(fields)


def _kind(method: object) -> type[StainNormalizer]:
    if not isinstance(method, str) or method not in NORMALIZERS:
        raise ConfigError(f"unknown stain method {method!r}; want one of {sorted(NORMALIZERS)}")
    return NORMALIZERS[method]


def _require_stain(image: UInt8Image, source: Source) -> Source:
    reason = unstained_reason(image)
    if reason is not None and reason.holds_no_stain:
        raise UnstainedError(reason)
    return source


def _stains(source: Source) -> StainEstimate:
    if not isinstance(source, StainEstimate):
        raise ConfigError(f"Macenko and Vahadane take a StainEstimate, got {source!r}")
    return source


def _colours(source: Source) -> ColourStatistics:
    if not isinstance(source, ColourStatistics):
        raise ConfigError(f"Reinhard takes ColourStatistics, got {source!r}")
    return source


def _number(fields: Mapping[str, object], key: str) -> float:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"stain setting {key!r} must be a number, got {value!r}")
    return float(value)


def _between(value: float, low: float, high: float, *, name: str) -> float:
    if not low <= value <= high:
        raise ConfigError(f"stain setting {name} = {value} is outside {low} to {high}")
    return float(value)
