"""The whole main job on synthetic images: draw, split, train, predict, evaluate, report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.progress import SILENT, Progress
from eosin.reporting.report import write_report
from eosin.training.config import TrainingConfig
from eosin.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.artefacts.evaluation import Evaluation

IMAGES = SyntheticOptions(patients=400, images=400, size=128, seed=1, magnification=200)
# Random filters and a linear head: enough for drawn tissue, quick, and nothing to download.
SETTINGS = TrainingConfig(
    backbone="nf_resnet26@stride4", weights="none", image_size=128, freeze=True
)


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    evaluation: Evaluation  # image-level figures on test patients
    report: Path  # the HTML page


def run_demo(
    out: Path,
    *,
    progress: Progress = SILENT,
    settings: TrainingConfig = SETTINGS,
    images: SyntheticOptions = IMAGES,
) -> Demo:
    """Do the whole main job in ``out``, which must be empty or absent.

    Args:
        out: a folder for the images, the manifest, the Run and the report.
        progress: told of each step in words, and of files read.
        settings: of the training.
        images: what to draw.

    Raises:
        ConfigError: ``out`` holds a finished Run.
    """
    progress.note(f"drawing {images.images} synthetic images of {images.patients} patients")
    write_synthetic(out / "data", images)
    manifest = read_breakhis(out / "data" / "images").manifest
    divided = split_by_fractions(manifest, (0.60, 0.15, 0.25), by="patient", seed=7)
    divided.write(out / "manifest.csv")
    progress.note(f"split: {divided.protocol.name}; training a head on {settings.backbone}")
    trained = train(divided, out / "run", settings, progress=progress)
    predictions = trained.predictions
    assert predictions is not None  # there is a test split
    predictions.write(out / "predictions.csv")
    evaluation = evaluate_predictions(predictions)
    evaluation.write(out / "evaluation.json")
    progress.note("writing the report")
    report = write_report(trained.run, predictions, out / "report.html", evaluation=evaluation)
    return Demo(evaluation, report)
