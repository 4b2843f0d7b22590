"""Pseudo-patients against the truth: where their threshold comes from, and what a split loses.

    python benchmarks/pseudo_patients.py --breakhis FOLDER --idc FOLDER --weights FILE -o OUT

The likeness that a group needs is chosen on fields stitched of IDC patches, whose patients are
known. It is then tried on BreakHis images copied under names that say nothing: pair precision and
recall, and the AUC of the same frozen network under each split.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.pseudo_patients import find_pseudo_patients, pair_agreement
from eosin.data.splits import split_into_folds
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.pixels.reading import read_image
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.frozen import freeze_images
from eosin.training.train import train

SIDE, PATCH, MOST = 3, 50, 40  # patches a side, pixels of one, fields a patient
LEAST = (0.05, 0.10, 0.15, 0.20, 0.25)
FOLDS, SEEDS = 5, (7, 8, 9)
_NAME = re.compile(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])\.png")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--breakhis", type=Path, required=True, help="BreakHis-named images")
    parser.add_argument("--idc", type=Path, help="IDC patches; without them no threshold is shown")
    parser.add_argument("--weights", type=Path, required=True, help="tf_efficientnetv2_b0 file")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ["EOSIN_CACHE"] = str(arguments.out / "cache")
    if arguments.idc:
        choose(stitch(arguments.idc, arguments.out / "fields"), arguments.weights)
    check(arguments.breakhis, arguments.weights, arguments.out)


def stitch(idc: Path, out: Path) -> Manifest:
    """Fields of 3 x 3 neighbouring patches, at most 40 a patient, written as PNG."""
    import cv2

    patches: dict[str, dict[tuple[int, int], tuple[Path, int]]] = {}
    for path in sorted(idc.rglob("*.png")):
        found = _NAME.fullmatch(path.name)
        if found:
            key = int(found[2]) // PATCH, int(found[3]) // PATCH
            patches.setdefault(found[1], {})[key] = path, int(found[4])
    rows = []
    for patient, own in sorted(patches.items()):
        whole = [
            [(x + i, y + j) for j in range(SIDE) for i in range(SIDE)]
            for x, y in sorted(own)
            if x % SIDE == 0 and y % SIDE == 0
        ]
        whole = [cells for cells in whole if all(cell in own for cell in cells)]
        for index in np.random.default_rng(0).permutation(len(whole))[:MOST]:
            cells = [own[cell] for cell in whole[index]]
            tiles = [read_image(path) for path, _ in cells]
            if any(tile.shape[:2] != (PATCH, PATCH) for tile in tiles):
                continue
            field = np.vstack([np.hstack(tiles[SIDE * j : SIDE * (j + 1)]) for j in range(SIDE)])
            target = out / f"{patient}_{index:03d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), field[:, :, ::-1])
            label = str(int(sum(positive for _, positive in cells) > len(cells) / 2))
            row = {"path": str(target.resolve()), "label": label, "patient": patient}
            rows.append({**dict.fromkeys(COLUMNS, ""), **row})
    return Manifest(pd.DataFrame(rows), Task("idc", ("0", "1"), positive="1"), "idc fields")


def choose(fields: Manifest, weights: Path) -> None:
    """Print pair precision and recall on the fields by the likeness that a group needs."""
    settings = TrainingConfig(backbone="tf_efficientnetv2_b0", weights=str(weights), freeze=True)
    features = freeze_images(fields, settings).features
    print(f"\nIDC: {len(fields)} fields of {len(fields.patients)} patients\n")
    print(
        "| least likeness | pixels: precision | recall | groups | with features: precision |",
        end="",
    )
    print(" recall | groups |\n| --- | --- | --- | --- | --- | --- | --- |")
    for least in LEAST:
        cells = []
        for values in (None, features):
            found = find_pseudo_patients(fields, features=values, least=least)
            assert found.agreement is not None
            cells += [f"{share:.2f}" for share in found.agreement]
            cells.append(str(len(found.manifest.patients)))
        print(f"| {least:.2f} | {' | '.join(cells)} |", flush=True)


def check(breakhis: Path, weights: Path, out: Path) -> None:
    """Hide the names of BreakHis, group, and compare with the accession numbers."""
    truth = read_breakhis(breakhis).manifest
    patient = hide(truth, out / "hidden")
    images = read_folder(out / "hidden", positive="malignant").manifest
    settings = TrainingConfig(backbone="tf_efficientnetv2_b0", weights=str(weights), freeze=True)
    print(f"\nBreakHis: {len(truth)} images of {len(truth.patients)} accession numbers\n")
    heads = (f"AUC, seed {seed}" for seed in SEEDS)
    print(f"| split by | groups | pair precision | pair recall | {' | '.join(heads)} |")
    print("| --- " * (4 + len(SEEDS)) + "|", flush=True)
    pixels = find_pseudo_patients(images).manifest
    both = find_pseudo_patients(images, features=freeze_images(images, settings).features).manifest
    for name, grouped, by in (
        ("image", images, "image"),
        ("pseudo-patient, pixels", pixels, "patient"),
        ("pseudo-patient, with features", both, "patient"),
        ("accession number", truth, "patient"),
    ):
        shown = ["", "", ""]
        if grouped.protocol.pseudo:
            named = [patient[path.name] for path in grouped.paths]
            shares = pair_agreement(list(grouped.frame["patient"]), named)
            shown = [str(len(grouped.patients)), *(f"{share:.3f}" for share in shares)]
        for seed in SEEDS:
            folds = split_into_folds(grouped, FOLDS, by=by, seed=seed)
            run = out / "runs" / f"{name}-{seed}"
            table = train(folds, run, settings, fold="all").predictions
            assert table is not None
            shown.append(f"{evaluate_predictions(table, resamples=100).value('roc_auc').value:.3f}")
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


def hide(images: Manifest, folder: Path) -> dict[str, str]:
    """Copy the images under names that say nothing; the patient of each new name."""
    shutil.rmtree(folder, ignore_errors=True)
    found = {}
    for number, index in enumerate(np.random.default_rng(0).permutation(len(images))):
        row = images.frame.iloc[index]
        target = folder / row["label"] / f"img{number:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row["path"], target)
        found[target.name] = row["patient"]
    return found


if __name__ == "__main__":
    main()
