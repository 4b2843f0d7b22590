"""What a study would cost here: its plan, and a time measured on one forward pass a backbone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.study.plan import Cell, plan, trainings
from eosin.study.stains import BASELINE
from eosin.study.study import read_images

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from eosin.study.config import StudyFile

_IMAGES = 4
_BACKWARD = 3.0  # a training step costs about three forward passes: forward, and twice that back


@dataclass(frozen=True)
class Estimate:
    """A plan with its cost.

    Attributes:
        frame: one row a cell: its name, trainings, minutes.
        cells: how many.
        trainings: networks or heads to train.
        seconds: in all; reading of images, their stain steps and small heads left out.

    """

    frame: pd.DataFrame
    cells: int
    trainings: int
    seconds: float


def estimate_study(study: StudyFile, folder: Path) -> Estimate:
    """Print nothing, train nothing: the plan and what it would cost on this machine."""
    import pandas as pd

    cells = plan(study)
    images = len(read_images(study, folder).manifest)
    per_image = {name: _seconds_an_image(study, name) for name in study.config.backbones}
    paid: set[str] = set()
    costs = {
        cell.name: 0.0 if cell.vote else _seconds(study, cell, images, per_image, paid)
        for cell in cells
    }
    rows = [
        {
            "cell": cell.name,
            "trainings": 0 if cell.vote else cell.design.folds or 1,
            "minutes": f"{costs[cell.name] / 60:.1f}",
        }
        for cell in cells
    ]
    return Estimate(pd.DataFrame(rows), len(cells), trainings(cells), sum(costs.values()))


def _seconds(
    study: StudyFile,
    cell: Cell,
    images: int,
    per_image: dict[str, float],
    paid: set[str],
) -> float:
    """Frozen: each image once a backbone, or once a fold with a stain step. Else every epoch."""
    backbone, config = cell.backbones[0], study.training
    if config.freeze and cell.stain != BASELINE:  # each fold has a target of its own
        return per_image[backbone] * images * (cell.design.folds or 1)
    if config.freeze:
        first = backbone not in paid
        paid.add(backbone)
        return per_image[backbone] * images if first else 0.0
    steps = images * config.epochs * (cell.design.folds or 1)
    return per_image[backbone] * steps * _BACKWARD


def _seconds_an_image(study: StudyFile, backbone: str) -> float:
    """Seconds of one forward pass, measured on a random network of the same shape."""
    import numpy as np

    from eosin.networks.classifier import build_classifier
    from eosin.networks.torch_engine import TorchEngine

    classifier = build_classifier(backbone, classes=2)
    spec = classifier.spec.preprocessing(size=study.training.image_size)
    engine = TorchEngine(classifier, device=study.training.device)
    batch = np.zeros((_IMAGES, 3, spec.size, spec.size), np.float32)
    engine.logits(batch)
    began = time.perf_counter()
    engine.logits(batch)
    return (time.perf_counter() - began) / _IMAGES
