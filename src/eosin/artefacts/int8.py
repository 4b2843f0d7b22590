"""What became of a graph in 8-bit integers: its figures beside those of FP32, and the verdict.

An exported Run keeps this whether the 8-bit graph was kept or not. No torch is needed to read it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from eosin.artefacts.tables import section, text_list


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the answers of one precision are.

    Attributes:
        accuracy: share of images whose decision, at the Run's locked threshold, is right.
        calibration_error: expected calibration error in [0, 1] (Guo et al. 2017).
    """

    accuracy: float
    calibration_error: float


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
    threads: int
    batch: int
    turns: int
    fp32: float
    int8: float
    ratio: float
    low: float
    high: float


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
    probabilities_mean: float
    probabilities_most: float
    feature_cosine: float
    speed: Speed

    @property
    def kept(self) -> bool:
        """Whether the 8-bit graph passed every bar and took the place of the FP32 one."""
        return not self.failed

    def to_dict(self) -> dict[str, object]:
        """The trial as plain JSON values."""
        return {**asdict(self), "failed": list(self.failed)}

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Int8Trial:
        """Read what ``to_dict`` wrote; KeyError or ValueError where it is no trial."""
        speed = section(fields, "speed")
        return cls(
            method=str(fields["method"]),
            failed=text_list(fields, "failed"),
            calibrated_on=str(fields["calibrated_on"]),
            judged_on=str(fields["judged_on"]),
            fp32=_quality(section(fields, "fp32")),
            int8=_quality(section(fields, "int8")),
            probabilities_mean=_number(fields, "probabilities_mean"),
            probabilities_most=_number(fields, "probabilities_most"),
            feature_cosine=_number(fields, "feature_cosine"),
            speed=Speed(
                engine=str(speed["engine"]),
                threads=int(_number(speed, "threads")),
                batch=int(_number(speed, "batch")),
                turns=int(_number(speed, "turns")),
                fp32=_number(speed, "fp32"),
                int8=_number(speed, "int8"),
                ratio=_number(speed, "ratio"),
                low=_number(speed, "low"),
                high=_number(speed, "high"),
            ),
        )


def _quality(fields: dict[str, object]) -> Quality:
    return Quality(_number(fields, "accuracy"), _number(fields, "calibration_error"))


def _number(fields: dict[str, object], name: str) -> float:
    return float(str(fields[name]))
