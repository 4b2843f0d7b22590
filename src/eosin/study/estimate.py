"""What a study would cost here: its plan, its weights looked at, and a forward pass timed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from eosin.errors import EosinError, ModelError
from eosin.pixels.reading import read_image
from eosin.study.plan import Cell, plan, trainings
from eosin.study.stains import BASELINE
from eosin.study.study import read_images
from eosin.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.manifest import Manifest
    from eosin.study.config import StudyFile

_IMAGES, _PASSES = 4, 5  # of a pass through a network, and how many are timed
_READ = 20  # images that are read, evenly taken
_BACKWARD = 3.0  # a training step costs about three forward passes: forward, and twice that back


@dataclass(frozen=True)
class Estimate:
    """A plan with its cost.

    Attributes:
        protocols: one row a protocol and stain step: its cells, trainings, hours.
        networks: one row a backbone: its input's side, where its weights come from, hours.
        faults: what would stop the cells of a backbone, by backbone.
        cells: how many.
        trainings: networks or heads to train.
        seconds: in all; reading of images, their stain steps and small heads left out.
    """

    protocols: pd.DataFrame
    networks: pd.DataFrame
    faults: dict[str, str]
    cells: int
    trainings: int
    seconds: float


def estimate_study(study: StudyFile, folder: Path) -> Estimate:
    """The plan, what would stop it, and what it would cost on this machine; trains nothing."""
    import pandas as pd

    cells = plan(study)
    images = len(read_images(study, folder).manifest)
    tried = {name: _try(study.training, name) for name in study.config.backbones}
    plain = [cell for cell in cells if not cell.vote and cell.stain == BASELINE]
    first = {cell.backbones[0]: cell for cell in reversed(plain)}  # whose features the others share
    rows = [
        {
            "protocol": cell.design.text,
            "stain": cell.stain,
            "backbone": "" if cell.vote else cell.backbones[0],
            "cells": 1,
            "trainings": 0 if cell.vote else cell.design.folds or 1,
            "hours": _passes(study, cell, new=cell is first.get(cell.backbones[0]))
            * images
            * tried[cell.backbones[0]].seconds
            / 3600,
        }
        for cell in cells
    ]
    frame = pd.DataFrame(rows)
    cost = frame.groupby("backbone")["hours"].sum()
    networks = pd.DataFrame(
        {"backbone": name, "pixels": each.pixels, "weights": each.weights, "hours": cost[name]}
        for name, each in tried.items()
    )
    return Estimate(
        frame.drop(columns="backbone")
        .groupby(["protocol", "stain"], sort=False)
        .sum()
        .reset_index(),
        networks,
        {name: each.fault for name, each in tried.items() if each.fault},
        len(cells),
        trainings(cells),
        3600 * float(frame["hours"].sum()),
    )


def _passes(study: StudyFile, cell: Cell, *, new: bool) -> float:
    """Forward passes an image takes. Frozen: one a backbone, or one a fold with a stain step."""
    if cell.vote:
        return 0
    folds = cell.design.folds or 1
    if not study.training.freeze:
        return study.training.epochs * folds * _BACKWARD
    if cell.stain != BASELINE:  # each fold has a target of its own
        return folds
    return 1 if new else 0


@dataclass(frozen=True, slots=True)
class _Tried:
    """A backbone as it would be used: seconds of one forward pass an image, and what is wrong."""

    seconds: float = 0.0
    pixels: str = ""
    weights: str = "missing"
    fault: str = ""


def time_scoring(
    manifest: Manifest, backbone: str, device: str, image_size: int | None = None
) -> float:
    """Seconds to read and score an image of the manifest here: the median of a few.

    Raises:
        DataError, ModelError: an image or the network cannot be used.
    """
    paths = manifest.paths[:: -(-len(manifest) // _READ)]
    read_image(paths[0])  # not counted: decoders are loaded
    reading = statistics.median(_timed(partial(read_image, path)) for path in paths)
    config = TrainingConfig(weights="none", device=device, image_size=image_size)
    tried = _try(config, backbone)
    if tried.fault:
        raise ModelError(tried.fault)
    return reading + tried.seconds


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _try(config: TrainingConfig, backbone: str) -> _Tried:
    """One forward pass at the settings' size, timed, and a look at where the weights come from."""
    import numpy as np

    from eosin.networks.classifier import build_classifier, require_size
    from eosin.networks.torch_engine import TorchEngine
    from eosin.networks.weights import require_weights
    from eosin.training.partial import require_part

    tried = _Tried()
    try:
        classifier = build_classifier(backbone, classes=2)
        require_part(classifier, config)
        size = classifier.spec.preprocessing(size=config.image_size).size
        engine = TorchEngine(classifier, device=config.device)
        require_size(classifier, size)
        batch = np.zeros((_IMAGES, 3, size, size), np.float32)
        engine.logits(batch)  # not counted: memory is taken, kernels are chosen
        seconds = statistics.median(_timed(partial(engine.logits, batch)) for _ in range(_PASSES))
        tried = _Tried(seconds / _IMAGES, f"{size}")
        return replace(tried, weights=require_weights(classifier, config.weights))
    except EosinError as error:
        return replace(tried, fault=str(error))
