"""Whether a graph in 8-bit integers may take the place of the FP32 one: three bars, measured."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.int8 import Int8Trial, Quality, Speed
from eosin.artefacts.predictions import make_predictions
from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature, expected_calibration_error
from eosin.export.int8_images import calibration_pixels, prepared
from eosin.export.quantise import method_of, quantise
from eosin.machine import available_cores
from eosin.networks.graphs import GraphEngine, choose_runtime, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Ints, Pixels
    from eosin.artefacts.graph import GraphFormat
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.run import RunRecord
    from eosin.export.int8_images import Int8Images


ACCURACY_BAR = 0.005
CALIBRATION_BAR = 0.01
SPEED_BAR = 1.05
BATCH = 16
_TURNS = 15
_OUTER = 3  # of 15 turns: all but the 3 least and 3 most span the median with 96 % (binomial)
_ROUNDING = 1e-9  # of a difference of two shares


@dataclass(frozen=True)
class _Answers:
    """What both precisions say of the same images."""

    rows: Ints
    fp32: Floats
    int8: Floats
    cosine: float
    first: Pixels


def try_int8(
    record: RunRecord,
    files: Sequence[Path],
    form: GraphFormat,
    *,
    outputs: Sequence[str],
    images: Int8Images,
) -> Int8Trial:
    """Make an 8-bit graph, judge it, and put it in the place of the FP32 one if it passes.

    Args:
        record: of the Run whose graph it is.
        files: of the FP32 graph, the one to open first.
        form: of the graph.
        outputs: what it gives.
        images: to calibrate with and to judge by.

    Raises:
        ModelError: no 8-bit graph can be made of this network.
        DataError: no image can be read.
    """
    folder = files[0].parent / "int8"
    folder.mkdir()
    target = folder / files[0].name
    quantise(files[0], target, form, calibration_pixels(images, record.preprocessing))
    runtime, size = choose_runtime(target, form), record.preprocessing.size
    fp32, int8 = (
        GraphEngine(open_session(path, runtime), outputs=outputs, size=size)
        for path in (files[0], target)
    )
    trial = judge(record, images, fp32=fp32, int8=int8, method=method_of(form))
    del fp32, int8  # an open file cannot be replaced everywhere
    if trial.kept:
        for file in files:
            (folder / file.name).replace(file)
    shutil.rmtree(folder)
    return trial


def judge(
    record: RunRecord, images: Int8Images, *, fp32: GraphEngine, int8: GraphEngine, method: str
) -> Int8Trial:
    """The figures of both graphs on the images to judge by, and the bars that int8 failed."""
    answers = _ask(record, images.judging, fp32=fp32, int8=int8)
    before, after = (
        _quality(record, images.judging, answers.rows, chances)
        for chances in (answers.fp32, answers.int8)
    )
    speed = measure_speed(fp32, int8, np.resize(answers.first, (BATCH, *answers.first.shape[1:])))
    away = np.abs(answers.int8 - answers.fp32)
    return Int8Trial(
        method=method,
        failed=failed_bars(before, after, speed),
        calibrated_on=images.calibrated_on,
        judged_on=images.judged_on,
        fp32=before,
        int8=after,
        probabilities_mean=float(away.mean()),
        probabilities_most=float(away.max()),
        feature_cosine=answers.cosine,
        speed=speed,
    )


def failed_bars(fp32: Quality, int8: Quality, speed: Speed) -> tuple[str, ...]:
    """A sentence with its figures for each bar that int8 fails; what is no number fails."""
    failed = []
    if not fp32.accuracy - int8.accuracy <= ACCURACY_BAR + _ROUNDING:
        failed.append(
            f"accuracy falls by {100 * (fp32.accuracy - int8.accuracy):.1f} points, from "
            f"{fp32.accuracy:.3f} to {int8.accuracy:.3f} (at most {100 * ACCURACY_BAR:g})"
        )
    worse = int8.calibration_error - fp32.calibration_error
    if not worse <= CALIBRATION_BAR + _ROUNDING:
        failed.append(
            f"calibration error rises by {worse:.3f}, from {fp32.calibration_error:.3f} to "
            f"{int8.calibration_error:.3f} (at most {CALIBRATION_BAR:g})"
        )
    if not (speed.ratio >= SPEED_BAR and speed.low > 1):
        failed.append(
            f"it is {speed.ratio:.2f} times as fast here, {speed.low:.2f} to {speed.high:.2f} "
            f"(at least {SPEED_BAR:g}, and all of the interval above 1)"
        )
    return tuple(failed)


def measure_speed(fp32: GraphEngine, int8: GraphEngine, batch: Pixels) -> Speed:
    """Time both on one batch, each in its turn, so that a busy machine slows both alike.

    The interval is that of the median over turns, from order statistics: at least 95 %, whatever
    the distribution.
    """
    engines = (fp32, int8)
    for engine in engines:
        engine.logits(batch)
    taken = np.array([[_seconds(engine, batch) for engine in engines] for _ in range(_TURNS)])
    ratios = np.sort(taken[:, 0] / taken[:, 1])
    rates = len(batch) / np.median(taken, axis=0)
    return Speed(
        engine=fp32.name,
        threads=available_cores(),
        batch=len(batch),
        turns=_TURNS,
        fp32=float(rates[0]),
        int8=float(rates[1]),
        ratio=float(np.median(ratios)),
        low=float(ratios[_OUTER]),
        high=float(ratios[-1 - _OUTER]),
    )


def _seconds(engine: GraphEngine, batch: Pixels) -> float:
    start = time.perf_counter()
    engine.logits(batch)
    return time.perf_counter() - start


def _ask(record: RunRecord, images: Manifest, *, fp32: GraphEngine, int8: GraphEngine) -> _Answers:
    rows, said, cosines = [], [], []
    first: Pixels | None = None
    for batch in prepared(images, record.preprocessing):
        if not len(batch.indices):
            continue
        first = batch.pixels if first is None else first
        rows.append(batch.indices)
        logits = [engine.logits(batch.pixels) for engine in (fp32, int8)]
        said.append([apply_temperature(each, record.temperature) for each in logits])
        cosines.append(_cosines(*(engine.features(batch.pixels) for engine in (fp32, int8))))
    if first is None:
        raise DataError(f"{images.paths[0]}: cannot be read, nor can any other image to judge by")
    before, after = (np.concatenate(parts) for parts in zip(*said, strict=True))
    cosine = float(np.concatenate(cosines).mean())
    return _Answers(np.concatenate(rows), before, after, cosine, first)


def _cosines(one: Floats, other: Floats) -> Floats:
    """Of each row of both, shape (n,)."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: Floats = (one * other).sum(axis=1) / np.maximum(lengths, np.finfo(float).tiny)
    return result


def _quality(record: RunRecord, images: Manifest, rows: Ints, chances: Floats) -> Quality:
    found = make_predictions(
        images.frame.iloc[rows], chances, task=record.task, threshold=record.threshold
    )
    right = found.decision_index == found.label_index
    error = expected_calibration_error(found.probabilities, found.label_index)
    return Quality(float(right.mean()), float(error[0]))
