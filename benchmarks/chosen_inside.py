"""What a study's models reach when each fold chooses among them inside its own training patients.

    eosin study configs/study-new-patients.toml -o new-patients --data FOLDER_OF_IMAGES
    python benchmarks/chosen_inside.py new-patients

A fold takes the frozen network whose head had the least log loss in the cross-validation inside
that fold's training patients, as its Run recorded it, and scores the patients it held out with it.
Nothing is chosen by looking at held-out patients. Means over all seeds, intervals over patients.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd
from draws_table import print_means

from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.evaluation.draws import score_draws
from eosin.networks.run import Run, read_run


def main() -> None:
    """Choose in every fold of every seed and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "study", type=Path, help="the folder of a finished study of frozen networks"
    )
    folder = parser.parse_args().study / "cells"
    chosen: Counter[str] = Counter()
    draws: dict[str, list[Predictions]] = {}
    for seed in sorted(folder.glob("*/seed-*")):
        draws.setdefault(seed.parent.name, []).append(choose(seed, chosen))
    for protocol, tables in draws.items():
        print_means(
            score_draws(tables).figures,
            title=f"chosen inside training patients, {protocol}",
        )
    for name, folds in chosen.most_common():
        print(f"{folds:4d} folds chose {name}")


def choose(seed: Path, chosen: Counter[str]) -> Predictions:
    """Out-of-fold predictions of one seed, each fold by its own choice, counted in ``chosen``."""
    tables, losses = {}, {}
    for cell in sorted(seed.iterdir()):
        run = read_run(cell / "run")
        if run.record.kind != "folds" or run.record.vote:
            continue  # an ensemble chooses nothing
        tables[cell.name] = read_predictions(cell / "predictions.csv")
        losses[cell.name] = {fold.record.fold: inner_loss(fold) for fold in run.open_members()}
    first = next(iter(tables.values()))
    parts = []
    for fold in sorted({str(name) for name in first.frame["fold"]}, key=int):
        best = min(losses, key=lambda name: losses[name][int(fold)])
        chosen[best] += 1
        frame = tables[best].frame
        parts.append(frame[frame["fold"] == fold])
    return Predictions(pd.concat(parts, ignore_index=True), first.task, first.provenance)


def inner_loss(run: Run) -> float:
    """Log loss of the chosen strength in the cross-validation inside the training patients."""
    losses = run.record.choices["inner_log_loss"]
    strength = f"{float(str(run.record.choices['strength'])):g}"
    if not isinstance(losses, dict):
        raise SystemExit(f"{run.folder}: no inner losses; want a study of frozen networks")
    return float(losses[strength])


if __name__ == "__main__":
    main()
