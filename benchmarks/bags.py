"""Slides of which a few tiles carry the label: attention against the mean of all tiles.

    python benchmarks/bags.py --weights WEIGHTS/tf_efficientnetv2_b0.safetensors -o FOLDER

Draws one slide of each of 48 patients, 60 tiles of 96 px at 200X: benign tissue, and in every other
slide 5 % of the tiles (3) malignant, in the stain of the same patient. Five folds by patient, all
choices inside the training patients. Prints Markdown tables: slides' AUC, how well the attention
finds the malignant tiles of positive slides, differences paired by patient, and the verdicts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions
from eosin.data.splits import split_into_folds
from eosin.data.synthetic import SyntheticOptions, synthetic_patients
from eosin.data.tissue import draw
from eosin.evaluation.draws import score_draws
from eosin.explanation.bags import explain_slides
from eosin.inference.scoring import PredictOptions
from eosin.protocol import UNSPLIT
from eosin.reporting.wording import figure
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.train import train

TASK = Task("drawn", ("benign", "malignant"), positive="malignant")
RULES = ("abmil", "topk", "max", "mean")


def main() -> None:
    """Draw, train every rule on the same folds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--weights", default="none", help="of the backbone; random without")
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0")
    parser.add_argument("--patients", type=int, default=48)
    parser.add_argument("--tiles", type=int, default=60)
    parser.add_argument("-o", "--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    rows = list(drawn(arguments.out / "tiles", arguments.patients, arguments.tiles))
    manifest = Manifest(pd.DataFrame(rows), TASK, "drawn", UNSPLIT)
    folds = split_into_folds(manifest, 5, by="patient", seed=0)
    tables = {}
    print("| rule | AUC of slides | AUC of tiles by attention | attention is | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for rule in RULES:
        begun = time.perf_counter()
        settings = {"backbone": arguments.backbone, "weights": arguments.weights, "image_size": 96}
        config = TrainingConfig(freeze=True, bag="slide", aggregator=rule, device="cpu", **settings)
        trained = train(folds, arguments.out / rule, config, fold="all")
        assert trained.predictions is not None
        seconds = time.perf_counter() - begun
        tables[rule] = score_draws([trained.predictions])
        verdict = explain_slides(trained.run, folds, PredictOptions(device="cpu")).verdict
        cells = [auc(tables[rule]), f"{found(trained.predictions):.3f}", verdict, f"{seconds:.0f}"]
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)
    print("\n| AUC of slides, less that of the mean | |\n| --- | --- |")
    for rule in RULES[:-1]:
        print(f"| {rule} | {auc(tables[rule].less(tables['mean']))} |")


def drawn(folder: Path, patients: int, tiles: int) -> Iterator[dict[str, str]]:
    """Draw the tiles and give their rows; the name of one that carries the label ends on -m."""
    kinds = synthetic_patients(SyntheticOptions(patients=2 * patients, images=2 * patients))
    folder.mkdir(parents=True, exist_ok=True)
    for number, (benign, malignant) in enumerate(zip(kinds[::2], kinds[1::2], strict=True)):
        positive = number // 4 % 2  # the four benign architectures come in turn: none tells it
        label, random = TASK.classes[positive], np.random.default_rng(number)
        carry = random.permutation(tiles) < round(0.05 * tiles) * positive
        for tile in range(tiles):
            tissue = benign.tissue
            if carry[tile]:
                tissue = replace(malignant.tissue, stain=benign.tissue.stain)
            image = draw(tissue, size=96, seed=number * tiles + tile, magnification=200).image
            path = folder / f"S{number}_{tile:03d}{'-m' * int(carry[tile])}.png"
            cv2.imwrite(str(path), image[..., ::-1])
            blank = dict.fromkeys(("magnification", "split", "fold"), "")
            named = {"patient": f"P{number}", "slide": f"S{number}", "label": label}
            yield {"path": str(path.absolute()), **named, **blank}


def found(predictions: Predictions) -> float:
    """Mean over positive slides of the AUC with which attention finds the tiles that carry it."""
    table = predictions.attention
    assert table is not None
    truth = table["path"].str.endswith("-m.png")
    return float(
        np.mean(
            [
                roc_auc_score(truth[own.index], own["attention"])
                for _, own in table.groupby("slide")
                if truth[own.index].any()
            ]
        )
    )


def auc(scored) -> str:
    """The AUC of slides with its interval."""
    own = (f.mean for f in scored.figures if f.mean.level == "image" and f.mean.metric == "roc_auc")
    return figure(next(own))


if __name__ == "__main__":
    main()
