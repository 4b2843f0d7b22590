"""Slides of which a few tiles carry the label: attention against the mean of all tiles.

    python benchmarks/bags.py --features -o FOLDER
    python benchmarks/bags.py --weights WEIGHTS/tf_efficientnetv2_b0.safetensors -o FOLDER

With --features no image is drawn: 64 normal features a tile, a shift of each patient's own of 0.3,
and 5 more in four of the features of the 5 % of a positive slide's tiles that carry its label.
Without, draws tiles of 96 px at 400X, which show 56 microns: benign tissue, and in half of the
slides 5 % of the tiles tumour with plainly atypical nuclei, in the stain and the stroma of the same
patient. Architectures, scanners and stains of benign tissue are the same in both classes. Five
folds by patient, all choices inside the training patients. Prints Markdown tables: how well single
tiles could be told if their labels were known, slides' AUC, how well the attention finds the tiles
that carry the label, differences paired by patient, and the verdicts.
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
from eosin.data.breakhis import MAGNIFICATIONS
from eosin.data.splits import split_into_folds
from eosin.data.synthetic import SyntheticOptions, synthetic_patients
from eosin.data.tissue import draw
from eosin.evaluation.draws import score_draws
from eosin.explanation.bags import explain_slides
from eosin.inference.scoring import PredictOptions
from eosin.pixels.acquisition import ACQUISITION
from eosin.protocol import UNSPLIT
from eosin.reporting.wording import figure
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.embed import EmbedOptions
from eosin.training.embed import _open as open_network
from eosin.training.embeddings import (
    read_embeddings,
    tag,
    write_frames,
    write_made,
    write_measures,
)
from eosin.training.frozen import freeze_images
from eosin.training.heads import fit_head
from eosin.training.train import train

TASK = Task("drawn", ("benign", "malignant"), positive="malignant")
RULES = ("abmil", "mean", "topk", "max")
# nuclei of the tiles that carry the label, so plain that a pathologist would not hesitate
PLAIN = {"diameter": 11.0, "spread": 0.25, "vesicular": 0.8, "nucleoli": 0.8, "irregularity": 0.25}


def main() -> None:
    """Draw, train every rule on the same folds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--weights", default="none", help="of the backbone; random without")
    parser.add_argument("--backbone", default="efficientnetv2-b0@stride8")
    parser.add_argument("--patients", type=int, default=80, help="80 balance 4 times 5")
    parser.add_argument("--tiles", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the folds")
    parser.add_argument("--magnification", type=int, default=400, choices=MAGNIFICATIONS)
    parser.add_argument("--features", action="store_true", help="no images, drawn features")
    parser.add_argument("--rules", nargs="+", default=RULES, choices=RULES)
    parser.add_argument("-o", "--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    settings = {"backbone": arguments.backbone, "weights": arguments.weights, "image_size": 96}
    if arguments.features:
        rows = list(named(arguments.patients, arguments.tiles))
        settings = embedded(arguments.out / "e.h5ad", rows)
    else:
        rows = list(drawn(arguments))
    manifest = Manifest(pd.DataFrame(rows), TASK, "drawn", UNSPLIT)
    folds = split_into_folds(manifest, 5, by="patient", seed=arguments.seed)
    if not arguments.features:
        print(told(folds, TrainingConfig(freeze=True, device="cpu", **settings)), flush=True)
    tables = {}
    print("| rule | AUC of slides | AUC of tiles by attention | attention is | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for rule in arguments.rules:
        begun = time.perf_counter()
        config = TrainingConfig(freeze=True, bag="slide", aggregator=rule, device="cpu", **settings)
        trained = train(folds, arguments.out / rule, config, fold="all")
        assert trained.predictions is not None
        seconds = time.perf_counter() - begun
        tables[rule] = score_draws([trained.predictions])
        verdict = "not asked"
        if rule != "mean" and not arguments.features:
            verdict = explain_slides(trained.run, folds, PredictOptions(device="cpu")).verdict
        cells = [auc(tables[rule]), f"{found(trained.predictions):.3f}", verdict, f"{seconds:.0f}"]
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)
    if "mean" not in tables:
        return
    print("\n| AUC of slides, less that of the mean | |\n| --- | --- |")
    for rule in (each for each in tables if each != "mean"):
        print(f"| {rule} | {auc(tables[rule].less(tables['mean']))} |")


def drawn(arguments: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Draw the tiles and give their rows; the name of one that carries the label ends on -m."""
    patients, tiles, seed = arguments.patients, arguments.tiles, arguments.seed
    folder = (arguments.out / "tiles").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    kinds = synthetic_patients(
        SyntheticOptions(patients=2 * patients, images=2 * patients, seed=seed)
    )
    for number, (benign, malignant) in enumerate(zip(kinds[::2], kinds[1::2], strict=True)):
        positive = number // 4 % 2  # the four benign architectures come in turn: none tells it
        random = np.random.default_rng([seed, number])
        own = {"stain": benign.tissue.stain, "stroma": benign.tissue.stroma}
        nuclei = replace(malignant.tissue.nuclei, **PLAIN)
        tumour = replace(malignant.tissue, nuclei=nuclei, **own)
        carry = random.permutation(tiles) < round(0.05 * tiles) * positive
        for tile, found in enumerate(carry.tolist()):
            path = folder / f"S{number}_{tile:03d}{'-m' * found}.png"
            of = int(random.integers(2**32))
            if not path.exists():
                tissue = tumour if found else benign.tissue
                image = draw(tissue, size=96, seed=of, magnification=arguments.magnification).image
                cv2.imwrite(str(path), image[..., ::-1])
            yield row(path, number, positive)


def row(path: Path, number: int, positive: int) -> dict[str, str]:
    """A tile of the slide of this number in a manifest."""
    own = {"patient": f"P{number}", "slide": f"S{number}", "label": TASK.classes[positive]}
    return {"path": str(path), **own, **dict.fromkeys(("magnification", "split", "fold"), "")}


def named(patients: int, tiles: int) -> Iterator[dict[str, str]]:
    """Rows of tiles of which no image exists; the name of one that carries the label ends on -m."""
    for number in range(patients):
        random = np.random.default_rng(number)
        carry = random.permutation(tiles) < round(0.05 * tiles) * (number % 2)
        for tile, found in enumerate(carry.tolist()):
            path = Path(f"/drawn/S{number}_{tile:03d}{'-m' * found}.png")
            yield row(path, number, number % 2)


def embedded(path: Path, rows: list[dict[str, str]]) -> dict[str, object]:
    """Write drawn features of these tiles as `eosin embed` does; the settings that they settle."""
    import h5py

    network = open_network(EmbedOptions(backbone="test_vit", weights="none", device="cpu"))
    frame, random = pd.DataFrame(rows), np.random.default_rng(0)
    slides, number = np.unique(frame["slide"], return_inverse=True)
    features = random.normal(size=(len(frame), 64))
    features += 0.3 * random.normal(size=(len(slides), 64))[number]
    features[frame["path"].str.endswith("-m.png").to_numpy(), :4] += 5
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        tag(file.create_dataset("X", data=features.astype(np.float32)), "array")
        write_frames(file, frame, "test_vit", 64)
        write_measures(file, np.ones((len(features), len(ACQUISITION))))
        write_made(file, {**network.made, "skipped": "[]"})
    own = read_embeddings(path).settings
    return {name: value for name, value in own.items() if name != "freeze"}


def told(folds: Manifest, config: TrainingConfig) -> str:
    """What a linear head tells that learned the labels of single tiles, which no rule is given.

    Its AUC of tiles, and of slides by the mean margin of their best 5 %, all of patients unseen.
    """
    images = freeze_images(folds, config)
    frame, carry = images.manifest.frame, images.manifest.frame["path"].str.endswith("-m.png")
    margin, truth = np.empty(len(frame)), carry.to_numpy(np.int64)
    for fold in frame["fold"].unique():
        held, weights = (frame["fold"] == fold).to_numpy(), np.where(carry, carry.mean() ** -1, 1.0)
        learned = images.features[~held], truth[~held]
        head = fit_head(*learned, classes=2, strength=0.01, weights=weights[~held])
        margin[held] = np.diff(head.logits(images.features[held]))[:, 0]
    slides = frame.assign(margin=margin, truth=frame["label"] == TASK.positive).groupby("slide")
    best = slides["margin"].apply(lambda own: own.nlargest(round(0.05 * len(own))).mean())
    tiles, whole = roc_auc_score(truth, margin), roc_auc_score(slides["truth"].first(), best)
    return f"With the labels of tiles known: AUC of tiles {tiles:.3f}, of slides {whole:.3f}.\n"


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
