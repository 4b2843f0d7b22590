"""Stain normalisation: Reinhard, Macenko and Vahadane, each fitted once and applied to any image.

    normalizer = Vahadane().fit(target)
    normalised = normalizer.transform(image)
    normalised = normalizer.transform(image, source=normalizer.estimate(images_of_the_patient))

Black borders and ink are no part of a stain: they stay as they are, as glass does.

A fitted normalizer is safe to share between threads, gives the same bytes every time, and never
changes its input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self

import numpy as np

from eosin.artefacts.preprocessing import (
    ColourTarget,
    MacenkoStep,
    Per,
    ReinhardStep,
    StainStep,
    StainTarget,
    Triple,
    VahadaneStep,
)
from eosin.errors import ConfigError
from eosin.pixels.concentration import (
    StainEstimate,
    median_estimate,
    repaint_linear,
    repaint_nonnegative,
)
from eosin.pixels.macenko import macenko_estimate
from eosin.pixels.optical_density import TISSUE_DENSITY, Matrix
from eosin.pixels.reading import UInt8Image
from eosin.pixels.reinhard import (
    ColourStatistics,
    median_statistics,
    reinhard_estimate,
    repaint_colours,
)
from eosin.pixels.stain_normalizer import Source, StainNormalizer, StainResult
from eosin.pixels.tissue_sample import Reason, TissueSample, UnstainedError
from eosin.pixels.vahadane import vahadane_estimate

__all__ = [
    "NORMALIZERS",
    "ColourStatistics",
    "Macenko",
    "Reason",
    "Reinhard",
    "Source",
    "StainEstimate",
    "StainNormalizer",
    "StainResult",
    "UnstainedError",
    "Vahadane",
    "create_normalizer",
    "normalizer_of_step",
]


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

    def step(self, per: Per = "image") -> StainStep:
        """The target as a Run keeps it; ConfigError before ``fit``."""
        found = _colours(self.target_)
        return ReinhardStep(ColourTarget(_triple(found.mean), _triple(found.spread)), per)

    @classmethod
    def of_step(cls, step: StainStep) -> Self:
        """The fitted normalizer that ``step`` gave; ConfigError where it is of another method."""
        if not isinstance(step, ReinhardStep):
            raise ConfigError(f"not a step of {cls.method}: {step}")
        mean, spread = np.array(step.target.mean), np.array(step.target.spread)
        return cls().fit_target(ColourStatistics(mean=mean, spread=spread))

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

    def step(self, per: Per = "image") -> StainStep:
        """Settings and target as a Run keeps them; ConfigError before ``fit``."""
        return MacenkoStep(_target(self.target_), self.beta, self.alpha, per)

    @classmethod
    def of_step(cls, step: StainStep) -> Self:
        """The fitted normalizer that ``step`` gave; ConfigError where it is of another method."""
        if not isinstance(step, MacenkoStep):
            raise ConfigError(f"not a step of {cls.method}: {step}")
        return cls(beta=step.beta, alpha=step.alpha).fit_target(_estimate(step.target))

    def _estimate(self, sample: TissueSample) -> Source:
        return macenko_estimate(sample, beta=self.beta, alpha=self.alpha)

    @staticmethod
    def _repaint(image: UInt8Image, source: Source, target: Source) -> UInt8Image:
        return repaint_linear(image, _stains(source), _stains(target))


class Vahadane(_TwoStains):
    """Sparse non-negative factors of the optical densities (Vahadane et al. 2016).

    Args:
        penalty: lambda of the L1 term on the concentrations. The paper's 0.1 draws the two vectors
            towards each other, by 1 to 8 degrees where many pixels hold both stains; the default
            keeps the factors unique and the vectors in place.
    """

    method = "vahadane"
    sample_pixels = 50_000  # its factors bear fewer than Macenko's percentiles

    def __init__(self, *, penalty: float = 0.005) -> None:
        super().__init__()
        self.penalty = _between(penalty, 0.0, 1.0, name="penalty")

    def step(self, per: Per = "image") -> StainStep:
        """Settings and target as a Run keeps them; ConfigError before ``fit``."""
        return VahadaneStep(_target(self.target_), self.penalty, per)

    @classmethod
    def of_step(cls, step: StainStep) -> Self:
        """The fitted normalizer that ``step`` gave; ConfigError where it is of another method."""
        if not isinstance(step, VahadaneStep):
            raise ConfigError(f"not a step of {cls.method}: {step}")
        return cls(penalty=step.penalty).fit_target(_estimate(step.target))

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


def normalizer_of_step(step: StainStep) -> StainNormalizer:
    """The fitted normalizer that a Run's step stands for."""
    return _kind(step.method).of_step(step)


def _kind(method: object) -> type[StainNormalizer]:
    if not isinstance(method, str) or method not in NORMALIZERS:
        raise ConfigError(f"unknown stain method {method!r}; want one of {sorted(NORMALIZERS)}")
    return NORMALIZERS[method]


def _stains(source: Source) -> StainEstimate:
    if not isinstance(source, StainEstimate):
        raise ConfigError(f"Macenko and Vahadane take a StainEstimate, got {source!r}")
    return source


def _colours(source: Source) -> ColourStatistics:
    if not isinstance(source, ColourStatistics):
        raise ConfigError(f"Reinhard takes ColourStatistics, got {source!r}")
    return source


def _target(source: Source) -> StainTarget:
    found = _stains(source)
    haematoxylin, eosin = found.stain_matrix
    first, second = found.max_concentration.tolist()
    return StainTarget((_triple(haematoxylin), _triple(eosin)), (first, second))


def _estimate(target: StainTarget) -> StainEstimate:
    return StainEstimate(np.array(target.stain_matrix), np.array(target.max_concentration))


def _triple(values: Matrix) -> Triple:
    red, green, blue = values.tolist()
    return red, green, blue


def _between(value: float, low: float, high: float, *, name: str) -> float:
    if not low <= value <= high:
        raise ConfigError(f"stain setting {name} = {value} is outside {low} to {high}")
    return float(value)
