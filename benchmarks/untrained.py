"""A Run that nobody trained: a backbone's weights and a random head, whose speed is that of any."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.run import TrainedRun
from eosin.export.export import export_run
from eosin.machine import software_versions
from eosin.networks.classifier import build_classifier, save_classifier
from eosin.networks.run import WEIGHTS_NAME, Run, weights_digest, write_run
from eosin.networks.weights import initialise
from eosin.pixels.preprocessing import prepare
from eosin.pixels.reading import read_image
from eosin.protocol import Protocol
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def untrained_run(folder: Path, backbone: str, *, weights: str = "none", size: int = 224) -> Run:
    """Write a Run of a backbone with the weights of a safetensors file, or random ones."""
    classifier = build_classifier(backbone, classes=len(TASK.classes)).eval()
    report = initialise(classifier, weights)
    folder.mkdir(parents=True)
    save_classifier(classifier, folder / WEIGHTS_NAME)
    record = TrainedRun(
        task=TASK,
        dataset="none",
        backbone=backbone,
        preprocessing=Preprocessing(size=size),
        protocol=Protocol(),
        fingerprint="",
        fold=None,
        train_patients=("nobody",),
        val_patients=(),
        patient_pattern="",
        temperature=1.0,
        threshold=0.5,
        seed=0,
        training={},
        choices={},
        initial_weights=report.source,
        versions=software_versions(),
        notes=(),
        weights_sha256=weights_digest(folder),
        context=None,
        scale=None,
        bag=None,
        reference=None,
    )
    return write_run(folder, record)


def find_weights(folder: Path | None, backbone: str) -> str:
    """The file of a backbone in a folder of weights; ``"none"`` where there is none."""
    path = None if folder is None else folder / f"{backbone}.safetensors"
    return str(path) if path is not None and path.is_file() else "none"


def prepared(folder: Path, count: int, spec: Preprocessing) -> npt.NDArray[np.float32]:
    """Network input (count, 3, size, size) of the PNG images of a folder, in turn."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise SystemExit(f"no PNG images in {folder}: give a folder of H&E images")
    rows = [prepare(read_image(path), spec) for path in paths[:count]]
    return np.stack([rows[row % len(rows)] for row in range(count)])


def main() -> None:
    """Write such a Run and export it, for benchmarks that take one on their command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the export; must be new")
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0")
    parser.add_argument("--weights", type=Path, help="a folder of <backbone>.safetensors files")
    options = parser.parse_args()
    weights = find_weights(options.weights, options.backbone)
    with tempfile.TemporaryDirectory() as folder:
        run = untrained_run(Path(folder) / "run", options.backbone, weights=weights)
        export_run(run, options.folder)
    print(f"{options.backbone}, {run.record.initial_weights}, exported: {options.folder}")


if __name__ == "__main__":
    main()
