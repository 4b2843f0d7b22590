"""How far plain colour goes: a linear head on fifteen colour statistics, on patients it never met.

    python benchmarks/colour_baseline.py breakhis FOLDER [--seeds 0 1 2 3 4]
    python benchmarks/colour_baseline.py idc FOLDER_WITH_0_AND_1

The statistics are the mean, the standard deviation and three percentiles of each channel's optical
density; head, folds, inner choices and intervals are those of ``eosin train --freeze``. What a
network adds is what it gains over this.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from draws_table import print_means

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.splits import hold_out, split_into_folds
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.draws import score_draws
from eosin.pixels.reading import read_image
from eosin.training.probe import Labelled, ProbeOptions, fit_probe

Floats = npt.NDArray[np.float64]
PERCENTILES = (10, 50, 90)
FOLDS = 5


def main() -> None:
    """Score both levels over all draws of the folds and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("breakhis", "idc"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    if options.data == "breakhis":
        manifest = read_breakhis(options.folder, magnifications=[100]).manifest
    else:
        manifest = read_folder(options.folder, patient=r"^(\d+)_", positive="1").manifest
    features = np.stack([statistics(path) for path in manifest.paths])
    draws = [scored(manifest, features, seed) for seed in options.seeds]
    print_means(
        score_draws(draws).figures,
        title=f"{options.data}: {len(manifest)} images, {features.shape[1]} statistics",
    )


def statistics(path: Path) -> Floats:
    """Mean, standard deviation and percentiles of the optical density of each channel, (15,)."""
    pixels = read_image(path).reshape(-1, 3).astype(np.float64)
    density = -np.log((pixels + 1) / 256)
    middle = np.percentile(density, PERCENTILES, axis=0)
    return np.concatenate([density.mean(axis=0), density.std(axis=0), middle.ravel()])


def scored(manifest: Manifest, features: Floats, seed: int) -> Predictions:
    """Out-of-fold predictions under one draw of patient-level folds."""
    folds = split_into_folds(manifest, FOLDS, by="patient", seed=seed)
    row_of = {path: row for row, path in enumerate(manifest.frame["path"])}
    rows = np.array([row_of[path] for path in folds.frame["path"]])
    values, chances = features[rows], np.zeros((len(rows), len(manifest.task.classes)))
    for fold in range(1, FOLDS + 1):
        held = hold_out(folds, fold)
        inside = (held.frame["split"] == "train").to_numpy()
        patients = held.frame["patient"].to_numpy(str)[inside]
        probe = fit_probe(
            Labelled(values[inside], held.label_index[inside], patients),
            classes=len(manifest.task.classes),
            options=ProbeOptions(strengths=(0.001, 0.01, 0.1, 1.0, 10.0), seed=seed),
        )
        logits = probe.head.logits(values[~inside])
        chances[~inside] = apply_temperature(logits, probe.temperature)
    known = Provenance(protocol=folds.protocol, split="out-of-fold", model="colour statistics")
    return make_predictions(folds.frame, chances, task=manifest.task, provenance=known)


if __name__ == "__main__":
    main()
