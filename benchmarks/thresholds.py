"""What a locked threshold does to patients that took no part in choosing it.

    python benchmarks/thresholds.py --breakhis FOLDER --idc FOLDER [--weights FILE]

Nested: in each fold of each draw, the head, its temperature and its threshold come from the
training patients alone; the held-out patients are decided at one half, at the threshold of highest
balanced accuracy, and at the locked one, which leaves one half only for a cross-validated gain
above one standard error. Means over the draws; the difference to one half with its 95 % interval
resamples patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.splits import split_into_folds
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.weights import Weights
from eosin.training.config import TrainingConfig
from eosin.training.frozen import freeze_images
from eosin.training.probe import Labelled, ProbeOptions, fit_probe

RULES = ("one half", "highest on training patients", "locked")


def decided(
    manifest: Manifest, features: npt.NDArray[np.float64], *, folds: int, seed: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each image is called positive under each rule, and how many folds left one half."""
    fold = split_into_folds(manifest, folds, by="patient", seed=seed).frame["fold"].to_numpy()
    labels, positive = manifest.label_index, manifest.task.positive_index
    called = np.zeros((len(RULES), len(labels)), dtype=bool)
    moved = np.zeros(len(RULES), dtype=np.int64)
    for held in (fold == number for number in np.unique(fold)):
        images = Labelled(features[~held], labels[~held], manifest.kept_whole[~held])
        probe = fit_probe(images, classes=2, positive=positive, options=ProbeOptions(seed=seed))
        chances = apply_temperature(probe.head.logits(features[held]), probe.temperature)
        if probe.threshold is None:
            raise SystemExit("thresholds belong to two classes")
        for rule, at in enumerate((0.5, probe.threshold.candidate, probe.threshold.value)):
            moved[rule] += at != 0.5
            called[rule, held] = chances[:, positive] >= at
    return called, moved


def rows_of(manifest: Manifest, config: TrainingConfig, *, folds: int, draws: int) -> list[str]:
    """A line of the table for each rule."""
    images = freeze_images(manifest, config)
    labels = images.manifest.label_index == images.manifest.task.positive_index
    rights, moved = [], np.zeros(len(RULES), dtype=np.int64)
    for seed in range(draws):
        called, more = decided(images.manifest, images.features, folds=folds, seed=seed)
        rights.append(called == labels)
        moved += more
    right = np.mean(rights, axis=0)
    balanced = (right[:, labels].mean(axis=1) + right[:, ~labels].mean(axis=1)) / 2
    names = images.manifest.frame["patient"].tolist()
    patients, patient = patient_columns(names, names)
    drawn, bootstrap = Weights(patient, Bootstrap().weights(patients)), Bootstrap()
    lines = []
    for rule, name in enumerate(RULES):
        change = bootstrap.interval(drawn.mean(right[rule] - right[0]))
        lines.append(
            f"| {images.manifest.dataset}, {config.backbone} | {name} | "
            f"{moved[rule]} of {folds * draws} | {right[rule].mean():.3f} | {balanced[rule]:.3f} | "
            f"{(right[rule] - right[0]).mean():+.3f} [{change.low:+.3f}, {change.high:+.3f}] |"
        )
    return lines


def main() -> None:
    """Read the flags and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--breakhis", type=Path, help="a folder of BreakHis images")
    parser.add_argument("--idc", type=Path, help="a folder of IDC patches, a folder a class")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--backbones", nargs="+", default=["efficientnetv2-b0@stride8"])
    parser.add_argument("--draws", type=int, default=5)
    given = parser.parse_args()
    datasets = []
    if given.breakhis:
        datasets.append(read_breakhis(given.breakhis).manifest)
    if given.idc:
        datasets.append(read_folder(given.idc, patient=r"^(\d+)_").manifest)
    columns = ("dataset, network", "threshold", "folds off one half", "accuracy")
    columns += ("balanced accuracy", "accuracy minus that at one half")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for manifest in datasets:
        for backbone in given.backbones:
            config = TrainingConfig(backbone=backbone, weights=given.weights, freeze=True)
            lines = rows_of(manifest, config, folds=5, draws=given.draws)
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
