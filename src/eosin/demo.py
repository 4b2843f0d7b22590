"""The whole main job on synthetic images: draw, split, train, predict, evaluate, report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.inference.predict import predict
from eosin.reporting.report import write_report
from eosin.training.config import TrainingConfig
from eosin.training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eosin.artefacts.evaluation import Evaluation
    from eosin.training.progress import Progress

IMAGES = SyntheticOptions(patients=160, images=480, size=224, seed=1, magnification=400)
# A network small enough to learn from nothing on two cores: no weights to download.
SETTINGS = TrainingConfig(
    backbone="test_efficientnet",
    weights="none",
    image_size=128,
    epochs=14,
    batch_size=16,
    learning_rate=3e-3,
    head_learning_rate=3e-3,
    dropout=0.1,
    early_stopping_patience=6,
)


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        evaluation: image-level figures on test patients.
        report: the HTML page.

    """

    evaluation: Evaluation
    report: Path


def run_demo(
    out: Path,
    *,
    on_step: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    settings: TrainingConfig = SETTINGS,
    images: SyntheticOptions = IMAGES,
) -> Demo:
    """Do the whole main job in ``out``, which must be empty or absent.

    Args:
        out: a folder for the images, the manifest, the Run and the report.
        on_step: told of each step in words.
        progress: told of each epoch.
        settings: of the training.
        images: what to draw.

    Raises:
        ConfigError: ``out`` holds a finished Run.

    """
    on_step(f"drawing {images.images} synthetic images of {images.patients} patients")
    write_synthetic(out / "data", images)
    manifest = read_breakhis(out / "data" / "images").manifest
    divided = split_by_fractions(manifest, (0.60, 0.15, 0.25), by="patient", seed=7)
    divided.write(out / "manifest.csv")
    on_step(f"split: {divided.protocol.name}; training {settings.backbone} from scratch")
    trained = train(divided, out / "run", settings, progress=progress)
    on_step("scoring the test patients")
    predictions = predict(trained.run, divided).predictions
    predictions.write(out / "predictions.csv")
    evaluation = evaluate_predictions(predictions)
    evaluation.write(out / "evaluation.json")
    on_step("writing the report")
    report = write_report(trained.run, predictions, out / "report.html", evaluation=evaluation)
    return Demo(evaluation, report)
