"""How neighbours on the slide should count: how far, and by what filter.

    EOSIN_WEIGHTS=WEIGHTS python benchmarks/neighbours.py --idc FOLDER

IDC patches at 96 px, the network of configs/frozen.toml, frozen; five folds by patient, drawn five
times. All choices are made inside the training patients of a fold, on cross-validated logits.
Prints a Markdown table of means over the draws, differences paired by patient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.data.folder import read_folder
from eosin.data.neighbours import Neighbours, find_neighbours
from eosin.data.splits import hold_out, split_into_folds
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.draws import ScoredDraws, score_draws
from eosin.inference.context import joined
from eosin.reporting.wording import figure
from eosin.training.config import read_config
from eosin.training.frozen import FrozenImages, freeze_images
from eosin.training.heads import SampleWeighting
from eosin.training.probe import Labelled, ProbeOptions, fit_probe

Rows = tuple[FrozenImages, Manifest, np.ndarray, np.ndarray]  # rows to train on, rows held out


def main() -> None:
    """Score every filter under every draw and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--idc", type=Path, required=True, help="a folder 0 and a folder 1")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    manifest = read_folder(arguments.idc, patient=r"^(\d+)_", positive="1").manifest
    recipe = read_config("frozen")
    config = recipe.with_overrides({"image_size": 96, "committee": (), "device": "cpu"})
    images = freeze_images(manifest, config)
    filters: dict[str, Callable[[Rows], np.ndarray]] = {
        "none": lambda rows: by_mean(rows, window=None),
        "3 x 3 mean": lambda rows: by_mean(rows, window=3),
        "5 x 5 mean": lambda rows: by_mean(rows, window=5),
        "3 x 3 learned": by_filter,
    }
    tables: dict[str, list[Predictions]] = {name: [] for name in filters}
    for seed in range(arguments.draws):
        folds = split_into_folds(images.manifest, 5, by="patient", seed=seed)
        for name, made in out_of_fold(images, folds, filters).items():
            tables[name].append(made)
    scored = {name: score_draws(each) for name, each in tables.items()}
    print("| neighbours | AUC | AUC within patients | AUC, less none | AUC, less 3 x 3 mean |")
    print("| --- | --- | --- | --- | --- |")
    for name, own in scored.items():
        cells = [mean(own, "roc_auc"), mean(own, "within_roc_auc")]
        cells += [
            "" if name == other else mean(own.less(scored[other]), "roc_auc")
            for other in ("none", "3 x 3 mean")
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def mean(scored: ScoredDraws, metric: str) -> str:
    """A mean over draws by image, with its interval."""
    found = (f.mean for f in scored.figures if f.mean.level == "image" and f.mean.metric == metric)
    return figure(next(found))


def out_of_fold(
    images: FrozenImages, folds: Manifest, filters: dict[str, Callable[[Rows], np.ndarray]]
) -> dict[str, Predictions]:
    """What each filter says of every image by heads that had not met its patient."""
    chances = {name: np.zeros((len(folds), 2)) for name in filters}
    for fold in folds.folds:
        split = hold_out(folds, fold, validation=False)
        held = (split.frame["split"] == "test").to_numpy()
        for name, score in filters.items():
            chances[name][held] = score(
                (images, split, np.flatnonzero(~held), np.flatnonzero(held))
            )
    return {
        name: make_predictions(folds.frame, each, task=folds.task) for name, each in chances.items()
    }


def fitted(rows: Rows, *, near: Neighbours | None, window: int = 3):
    """The probe of the training rows, as `eosin train` fits it."""
    images, split, train, _ = rows
    patients = split.frame["patient"].to_numpy(str)[train]
    return fit_probe(
        Labelled(images.features[train], split.label_index[train], patients, near),
        classes=2,
        positive=1,
        blocks=images.classifier.widths,
        options=ProbeOptions(
            strengths=read_config("frozen").probe_c, window=5 if window == 5 else 3
        ),
    )


def by_mean(rows: Rows, *, window: int | None) -> np.ndarray:
    """The mean logit of a square of patches, weighed as `context = "neighbours"` does."""
    images, split, train, held = rows
    if window is None:
        probe = fitted(rows, near=None)
        return apply_temperature(probe.head.logits(images.features[held]), probe.temperature)
    probe = fitted(
        rows, near=find_neighbours(split.frame.iloc[train], window=window), window=window
    )
    around = find_neighbours(split.frame.iloc[held], window=window)
    assert probe.context is not None
    assert around is not None
    logits = joined(probe.head.logits(images.features[held]), around, probe.context.weight)
    return apply_temperature(logits, probe.temperature)


def by_filter(rows: Rows) -> np.ndarray:
    """A logistic regression on a patch's own logit, the mean beside it and that at its corners."""
    from sklearn.linear_model import LogisticRegression

    images, split, train, held = rows
    probe = fitted(rows, near=None)
    judged = train[probe.judged]
    truth = split.label_index[judged]
    share = SampleWeighting().weights(truth, split.frame["patient"].to_numpy(str)[judged])
    inner = margin(probe.probabilities)
    outer = margin(apply_temperature(probe.head.logits(images.features[held]), probe.temperature))
    model = LogisticRegression(C=1e3).fit(
        parts(split.frame.iloc[judged], inner), truth, sample_weight=share
    )
    return model.predict_proba(parts(split.frame.iloc[held], outer))


def margin(chances: np.ndarray) -> np.ndarray:
    """The log odds of the positive class."""
    low = np.clip(chances, 1e-12, None)
    return np.log(low[:, 1] / low[:, 0])


def parts(frame: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Of each patch its value and the means of those beside and at the corners; its own if none."""
    found = find_neighbours(frame)
    assert found is not None
    pairs = found.inside.tocoo()
    x, y = (frame[name].to_numpy(float) for name in "xy")
    steps = (x[pairs.row] != x[pairs.col]).astype(int) + (y[pairs.row] != y[pairs.col])
    columns = [values]
    for step in (1, 2):
        own = steps == step
        total = np.bincount(pairs.row[own], values[pairs.col[own]], len(values))
        count = np.bincount(pairs.row[own], minlength=len(values))
        columns.append(np.where(count > 0, total / np.maximum(count, 1), values))
    return np.stack(columns, axis=1)


if __name__ == "__main__":
    main()
