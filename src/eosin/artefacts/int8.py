"""What became of a graph in 8-bit integers: its figures beside those of FP32, and the verdict.

An exported Run keeps this whether the 8-bit graph was kept or not. No torch is needed to read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from eosin.artefacts.values import Count, Positive, Share


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the answers of one precision are.

    Attributes:
        accuracy: share of images whose decision, at the Run's locked threshold, is right.
        calibration_error: expected calibration error in [0, 1] (Guo et al. 2017).
    """

    accuracy: Share
    calibration_error: Share


@dataclass(frozen=True, slots=True)
class Speed:
    """Both precisions, timed in turns on one machine.

    Attributes:
        engine: what ran both.
        threads: that it computed with.
        batch: images a forward pass.
        turns: how often each precision had its turn.
        fp32: images/s, the median over turns.
        int8: the same.
        ratio: how many times as fast int8 is, the median over turns.
        low: of the ratio's interval, at least 95 %, over turns.
        high: of the same.
    """

    engine: str
    threads: Count
    batch: Count
    turns: Count
    fp32: Positive
    int8: Positive
    ratio: Positive
    low: Positive
    high: Positive


@dataclass(frozen=True, slots=True)
class Int8Trial:
    """A graph in 8-bit integers against the FP32 graph it was made from.

    Attributes:
        method: what made the integers, with its version.
        failed: a sentence with figures for each bar that failed; empty where int8 was kept.
        calibrated_on: the images that set the ranges of the integers, in words.
        judged_on: the images that the figures are of, in words.
        fp32: quality of the FP32 graph.
        int8: quality of the 8-bit graph.
        probabilities_mean: the mean difference of a calibrated probability.
        probabilities_most: the largest.
        feature_cosine: of the pooled features of both, the mean over images, in [-1, 1].
        speed: of both.
    """

    method: str
    failed: tuple[str, ...]
    calibrated_on: str
    judged_on: str
    fp32: Quality
    int8: Quality
    probabilities_mean: Share
    probabilities_most: Share
    feature_cosine: Annotated[float, Field(ge=-1.001, le=1.001)]
    speed: Speed

    @property
    def kept(self) -> bool:
        """Whether the 8-bit graph passed every bar and took the place of the FP32 one."""
        return not self.failed
