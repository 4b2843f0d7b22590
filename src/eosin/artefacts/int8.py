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
    """How good the answers of one precision are."""

    accuracy: Share  # share of images whose decision, at the Run's locked threshold, is right
    # expected calibration error in [0, 1] (Guo et al. 2017)
    calibration_error: Share


@dataclass(frozen=True, slots=True)
class Speed:
    """Both precisions, timed in turns on one machine."""

    engine: str  # what ran both
    threads: Count  # that it computed with
    batch: Count  # images a forward pass
    turns: Count  # how often each precision had its turn
    fp32: Positive  # images/s, the median over turns
    int8: Positive  # the same
    ratio: Positive  # how many times as fast int8 is, the median over turns
    low: Positive  # of the ratio's interval, at least 95 %, over turns
    high: Positive  # of the same


@dataclass(frozen=True, slots=True)
class Int8Trial:
    """A graph in 8-bit integers against the FP32 graph it was made from."""

    method: str  # what made the integers, with its version
    # a sentence with figures for each bar that failed; empty where int8 was kept
    failed: tuple[str, ...]
    calibrated_on: str  # the images that set the ranges of the integers, in words
    judged_on: str  # the images that the figures are of, in words
    fp32: Quality  # quality of the FP32 graph
    int8: Quality  # quality of the 8-bit graph
    probabilities_mean: Share  # the mean difference of a calibrated probability
    probabilities_most: Share  # the largest
    # of the pooled features of both, the mean over images, in [-1, 1]
    feature_cosine: Annotated[float, Field(ge=-1.001, le=1.001)]
    speed: Speed  # of both

    @property
    def kept(self) -> bool:
        """Whether the 8-bit graph passed every bar and replaced the FP32 one."""
        return not self.failed
