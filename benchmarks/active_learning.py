"""How many labels by doubt, against by chance, reach the same AUC.

    EOSIN_WEIGHTS=WEIGHTS python benchmarks/active_learning.py --idc FOLDER

IDC patches at 96 px, features once by the network of configs/frozen.toml; five folds by patient,
drawn five times. Simulated readers give the true label. Of the patients of four folds a first lot
of patches is labelled at random; then a head is fitted, the patches without a label are ordered as
the worklist of a review orders them, and the first of them are labelled, until the next number of
labels is reached. The patients of the fifth fold are scored. Prints Markdown tables of means over
the draws; intervals resample patients, the same for both orders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.data.folder import read_folder
from eosin.data.splits import hold_out, split_into_folds
from eosin.evaluation.all_metrics import MetricKey
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.draws import ScoredDraws, score_draws
from eosin.reporting.wording import figure
from eosin.server.record import Listing, Ordering
from eosin.server.worklist import make_worklist
from eosin.training.config import read_config
from eosin.training.frozen import FrozenImages, freeze_images
from eosin.training.probe import Labelled, Probe, ProbeOptions, fit_probe

BUDGETS = (100, 200, 400, 800, 1600)
ORDERS: dict[str, tuple[Ordering, ...]] = {
    "doubt": ("doubt",),
    "chance": ("random",),
    "half and half": ("doubt", "random"),
}


def main() -> None:
    """Label by both orders under every draw and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--idc", type=Path, required=True, help="a folder 0 and a folder 1")
    parser.add_argument("--weights", default="imagenet", help="a safetensors file, or imagenet")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    manifest = read_folder(arguments.idc, patient=r"^(\d+)_", positive="1").manifest
    changes = {"image_size": 96, "committee": (), "device": "cpu", "weights": arguments.weights}
    images = freeze_images(manifest, read_config("frozen").with_overrides(changes))
    tables: dict[tuple[str, int], list[Predictions]] = {}
    whole: list[Predictions] = []
    for seed in range(arguments.draws):
        folds = split_into_folds(images.manifest, 5, by="patient", seed=seed)
        for name, orders in ORDERS.items():
            for budget, chances in zip(BUDGETS, curve(images, folds, orders, seed), strict=True):
                found = make_predictions(folds.frame, chances, task=folds.task)
                tables.setdefault((name, budget), []).append(found)
        whole.append(make_predictions(folds.frame, everything(images, folds), task=folds.task))
        print(f"draw {seed + 1} of {arguments.draws}", flush=True)
    scored = {key: score_draws(each) for key, each in tables.items()}
    print_curves(scored, score_draws(whole))
    print_needed(scored)


def curve(
    images: FrozenImages, folds: Manifest, orders: tuple[Ordering, ...], seed: int
) -> list[np.ndarray]:
    """Out-of-fold probabilities, shape (n, 2), at each number of labels; orders take turns."""
    chances = [np.zeros((len(folds), 2)) for _ in BUDGETS]
    for fold in folds.folds:
        split = hold_out(folds, fold, validation=False)
        held = (split.frame["split"] == "test").to_numpy()
        pool = np.flatnonzero(~held)
        labelled = np.random.default_rng(1000 * seed + fold).permutation(pool)[: BUDGETS[0]]
        probe = fitted(images, split, labelled)
        for step, budget in enumerate(BUDGETS):
            if step:
                rest = np.setdiff1d(pool, labelled)
                rows = split.where(np.isin(np.arange(len(split)), rest))
                says_of = says(probe, images.features[rest])
                lists = [by_worklist(rows, says_of, Listing("-", each, seed)) for each in orders]
                turns = dict.fromkeys(np.stack(lists, axis=1).ravel().tolist())
                labelled = np.concatenate([labelled, rest[[*turns][: budget - len(labelled)]]])
                probe = fitted(images, split, labelled)
            chances[step][held] = says(probe, images.features[held])
    return chances


def by_worklist(rows: Manifest, chances: np.ndarray, listing: Listing) -> np.ndarray:
    """The rows of a manifest in the order of a review's worklist, shape (n,)."""
    worklist = make_worklist(make_predictions(rows.frame, chances, task=rows.task), rows)
    row_of = {case.id: row for row, case in enumerate(worklist.cases)}
    return np.array([row_of[case.id] for case in worklist.listed(listing, {})])


def everything(images: FrozenImages, folds: Manifest) -> np.ndarray:
    """Out-of-fold probabilities with every label of the other folds, shape (n, 2)."""
    chances = np.zeros((len(folds), 2))
    for fold in folds.folds:
        held = (folds.frame["fold"] == str(fold)).to_numpy()
        probe = fitted(images, folds, np.flatnonzero(~held))
        chances[held] = says(probe, images.features[held])
    return chances


def fitted(images: FrozenImages, manifest: Manifest, rows: np.ndarray) -> Probe:
    """The probe of some labelled rows, as `eosin train` fits it."""
    patients = manifest.frame["patient"].to_numpy(str)[rows]
    return fit_probe(
        Labelled(images.features[rows], manifest.label_index[rows], patients),
        classes=2,
        positive=1,
        blocks=images.classifier.widths,
        options=ProbeOptions(strengths=read_config("frozen").probe_c),
    )


def says(probe: Probe, features: np.ndarray) -> np.ndarray:
    """Calibrated probabilities, shape (n, 2)."""
    return apply_temperature(probe.head.logits(features), probe.temperature)


def print_curves(scored: dict[tuple[str, int], ScoredDraws], whole: ScoredDraws) -> None:
    """The AUC of new patients at each number of labels, by every order."""
    names = [name for name in ORDERS if name != "chance"]
    print("| labels | by chance | " + " | ".join(f"{n} | {n}, less chance" for n in names) + " |")
    print("| --- |" + " --- |" * (1 + 2 * len(names)))
    for budget in BUDGETS:
        chance = scored["chance", budget]
        cells = [mean(chance)]
        for name in names:
            own = scored[name, budget]
            cells += [mean(own), mean(own.less(chance))]
        print(f"| {budget} | {' | '.join(cells)} |")
    print(f"| all | {mean(whole)} |" + " |" * 2 * len(names))


def print_needed(scored: dict[tuple[str, int], ScoredDraws]) -> None:
    """How many labels by each order reach what so many by chance reach, with intervals."""
    curves = {name: np.stack([areas(scored[name, b]) for b in BUDGETS]) for name in ORDERS}
    names = [name for name in ORDERS if name != "chance"]
    print("\n| labels by chance | " + " | ".join(f"as good by {name}" for name in names) + " |")
    print("| --- |" + " --- |" * len(names))
    for step, budget in list(enumerate(BUDGETS))[1:]:
        wanted, cells = curves["chance"][step], []
        for name in names:
            pairs = zip(curves[name].T, wanted, strict=True)
            first, *resampled = [needed(*pair) for pair in pairs]
            tail = int(0.025 * len(resampled))  # of sorted values, since some are infinite
            low, *_, high = sorted(resampled)[tail : len(resampled) - tail]
            cells.append(f"{said(first)} [{said(low)}, {said(high)}]")
        print(f"| {budget} | {' | '.join(cells)} |")


def areas(scored: ScoredDraws) -> np.ndarray:
    """The mean AUC over draws of the sample and of its resamples, shape (1 + R,)."""
    return scored.parts["image"][1][MetricKey("roc_auc")].mean(axis=0)


def needed(areas: np.ndarray, wanted: float) -> float:
    """At how many labels a curve first reaches an AUC: linear in the logarithm of labels.

    The first number of labels where it is there already; infinite where it never is.
    """
    best = np.maximum.accumulate(areas)
    if wanted <= best[0]:
        return float(BUDGETS[0])
    if wanted > best[-1]:
        return float("inf")
    step = int(np.argmax(best >= wanted))
    share = (wanted - best[step - 1]) / (best[step] - best[step - 1])
    return float(BUDGETS[step - 1] * (BUDGETS[step] / BUDGETS[step - 1]) ** share)


def said(labels: float) -> str:
    """A number of labels; an end of the curve is a bound."""
    if labels <= BUDGETS[0]:
        return f"at most {BUDGETS[0]}"
    return f"more than {BUDGETS[-1]}" if np.isinf(labels) else f"{labels:.0f}"


def mean(scored: ScoredDraws) -> str:
    """The mean AUC over draws by image, with its interval."""
    found = (f.mean for f in scored.figures if f.mean.level == "image")
    return figure(next(each for each in found if each.metric == "roc_auc"))


if __name__ == "__main__":
    main()
