"""Trust: coverage of sets, what is flagged as unfamiliar, exports, and what it costs.

    python benchmarks/trust.py --breakhis BREAKHIS --idc IDC --originals ORIGINALS
        --weights WEIGHTS/tf_efficientnetv2_b0.safetensors -o out [--backbone NAME] [--only cost]

Runs are trained on five folds by patient, frozen, once; a second call finds them done. What is
printed with BAR is a promise of docs/results.md. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from bars import at_least, at_most
from numpy.typing import NDArray

from eosin.artefacts.codec import with_changes
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.splits import split_into_folds
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.roc import roc_auc
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.run import PREDICTIONS_NAME, RECORD_NAME, Run, read_run, write_run
from eosin.pixels.image_files import find_image_files
from eosin.pixels.reading import read_image
from eosin.training.config import TrainingConfig
from eosin.training.train import train
from eosin.trust.conformal import Calibration, SetOptions, conformal_sets
from eosin.trust.coverage import set_coverages

IDC_PATIENT = r"^(\d+)_"
OPTIONS = PredictOptions(allow_seen=True)
DRAWS, PATIENTS, IMAGES, CLASSES = 200, 20, 20, 4


def main() -> None:
    """Print every part that was asked for; exit with 1 where a bar is missed."""
    options = _parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[argparse.Namespace], bool]] = {
        "simulation": _simulation,
        "breakhis": _breakhis,
        "idc": _idc,
        "strange": _strange,
        "magnification": _magnification,
        "exports": _exports,
        "cost": _cost,
    }
    met = [part(options) for name, part in parts.items() if options.only in (None, name)]
    sys.exit(0 if all(met) else 1)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("breakhis", "idc", "originals", "weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0")
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int, default=7, help="of the timings")
    return parser.parse_args()


def _simulation(_: argparse.Namespace) -> bool:
    """New patients of 20 x 20 images; the third column is what images drawn alike would give."""
    print(f"{PATIENTS} patients x {IMAGES} images, {CLASSES} grades, {DRAWS} draws, 90 % promised")
    print("| patient effect | sets | coverage | its spread (SD) | by images | contiguous |")
    print("| --- | --- | --- | --- | --- | --- |")
    worst, contiguous = 0.0, 1.0
    for effect, one_class in ((0.0, False), (3.0, False), (3.0, True), (5.0, True)):
        for method in ("lac", "aps"):
            rows = np.array([_draw(seed, effect, one_class, method) for seed in range(DRAWS)])
            mean, plain, whole = rows.mean(axis=0)
            name = f"{effect:g}{', one grade a patient' if one_class else ''}"
            spread = rows[:, 0].std()
            print(f"| {name} | {method} | {mean:.3f} | {spread:.3f} | {plain:.3f} | {whole:.0%} |")
            worst, contiguous = max(worst, abs(mean - 0.9)), min(contiguous, whole)
    met = at_most("distance of the mean coverage from 0.90, simulated", worst, 0.02)
    return at_least("share of sets of grades without a gap", contiguous, 1.0) and met


def _draw(seed: int, effect: float, one_class: bool, method: str) -> tuple[float, float, float]:
    known, new = (
        _patients(seed * 2 + k, n, effect, one_class) for k, n in ((0, PATIENTS), (1, 200))
    )
    asked = SetOptions(0.9, "aps" if method == "aps" else "lac")
    sets = conformal_sets(new.probabilities, known, asked, ordinal=True)
    alone = Calibration(known.probabilities, known.labels, np.arange(len(known.labels)))
    plain = conformal_sets(new.probabilities, alone, asked, ordinal=True)
    rows = np.arange(len(new.labels))
    runs = (np.diff(sets.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    held, usual = sets[rows, new.labels].mean(), plain[rows, new.labels].mean()
    return float(held), float(usual), float((runs == 1).mean())


def _patients(seed: int, count: int, effect: float, one_class: bool) -> Calibration:
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(CLASSES, size=(count, 1)), IMAGES, axis=1)
    if not one_class:
        labels = rng.integers(CLASSES, size=(count, IMAGES))
    signal = -1.5 * np.abs(np.arange(CLASSES) - labels[..., None])
    noise = rng.normal(0, 1.5, (count, IMAGES, CLASSES))
    logits = signal + rng.normal(0, effect, (count, 1, CLASSES)) + noise
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    patient = np.repeat(np.arange(count), IMAGES)
    return Calibration(chances.reshape(-1, CLASSES), labels.ravel(), patient)


def _breakhis(options: argparse.Namespace) -> bool:
    """Held-out patients of five folds, and IDC patches in their size."""
    run, predictions = _trained(options, "breakhis")
    met = _held_out("BreakHis", predictions)
    _print_coverage("BreakHis", run, predictions)
    patches = _resized(_idc_files(options), (350, 230), options.out / "idc-350x230")
    return _apart("IDC patches at 350 x 230", run, predictions, patches) and met


def _idc(options: argparse.Namespace) -> bool:
    run, predictions = _trained(options, "idc")
    _held_out("IDC", predictions, bar=False)
    low, high = _print_coverage("IDC", run, predictions)
    files = sorted(find_image_files([options.breakhis]).images)[::6]
    met = at_most("least coverage that the IDC interval at 0.90 holds", low, 0.90)
    met &= at_least("most coverage that it holds", high, 0.90)
    small = _resized(files, (50, 50), options.out / "breakhis-50x50")
    _apart("BreakHis shrunk to 50 x 50", run, predictions, small, bar=None)
    return _apart("BreakHis as it is", run, predictions, files) and met


def _strange(options: argparse.Namespace) -> bool:
    """Images of no tissue: all flagged, by every fold and all together."""
    run, _ = _trained(options, "breakhis")
    files = _strange_images(options.out / "strange")
    flagged, sure = [], 0.0
    for each in (run, *run.open_members()):
        found = predict(each, files, OPTIONS).predictions
        flagged += found.flagged.tolist()
        sure = max(sure, float(found.probabilities[~found.flagged].max(initial=0.0)))
    met = at_least(f"share of {len(files)} strange images flagged", float(np.mean(flagged)), 1.0)
    return at_most("confidence in a strange image without a flag", sure, 0.9) and met


def _magnification(options: argparse.Namespace) -> bool:
    """The originals: by their names, and from pixels alone at the scale of the Run's images."""
    run, predictions = _trained(options, "breakhis")
    files = sorted(find_image_files([options.originals]).images)
    steps = [file.stem.split("-")[-2] for file in files]
    said = predict(run, files, OPTIONS).predictions.frame["flags"].str.contains("other-magn")
    named = [bool(flag) == (step != "100") for flag, step in zip(said, steps, strict=True)]
    met = at_least("share of originals flagged by name exactly if not 100X", np.mean(named), 1.0)
    half = _resized(files, (350, 230), options.out / "originals-350x230")
    for step in ("40", "400"):
        chosen = [file for file, own in zip(half, steps, strict=True) if own == step]
        _apart(f"originals at {step}X, pixels alone", run, predictions, chosen, bar=None)
    return met


def _exports(options: argparse.Namespace) -> bool:
    from eosin.export.export import export_run

    run, _ = _trained(options, "breakhis")
    folder = options.out / "breakhis-onnx"
    exported = read_run(folder) if (folder / RECORD_NAME).is_file() else export_run(run, folder)
    files = [*sorted(find_image_files([options.breakhis]).images)[::8]]
    files += _strange_images(options.out / "strange")
    one, other = (predict(each, files, OPTIONS).predictions.frame for each in (run, exported))
    gap = float((one["familiarity"] - other["familiarity"]).abs().max())
    same = float((one[["flags", "set", "answer"]] == other[["flags", "set", "answer"]]).mean(None))
    print(f"{len(files)} images, ONNX Runtime against PyTorch: familiarity apart by {gap:.1e}")
    met = at_most("10,000 times the difference of familiarity of an export", 1e4 * gap, 1.0)
    return at_least("share of flags, sets and answers that are the same", same, 1.0) and met


def _cost(options: argparse.Namespace) -> bool:
    """Prediction with and without the reference, in turns."""
    run = _trained(options, "breakhis")[0].open_members()[0]
    files = sorted(find_image_files([options.originals]).images)
    files = _copies(files, 64, options.out / "originals-64")
    met = True
    exported = options.out / "breakhis-onnx"
    runs = {"PyTorch": run}
    if (exported / RECORD_NAME).is_file():
        runs["ONNX Runtime"] = read_run(exported).open_members()[0]
    for name, each in runs.items():
        bare = _without_reference(each, options.out / f"bare-{name.split()[0].lower()}")
        times: dict[str, list[float]] = {"with": [], "without": []}
        for number in range(options.rounds + 1):
            for which, asked in (("with", each), ("without", bare)):
                began = time.process_time()
                predict(asked, files, OPTIONS)
                if number:  # the first round warms up
                    times[which].append((time.process_time() - began) / len(files) * 1000)
        slow, fast = np.median(times["with"]), np.median(times["without"])
        print(f"{name}: {slow:.1f} core ms an image with the reference, {fast:.1f} without")
        met &= at_most(f"cost of trust, share of predict, {name}", slow / fast - 1, 0.05)
    return met


def _trained(options: argparse.Namespace, name: str) -> tuple[Run, Predictions]:
    folder = options.out / f"run-{name}"
    if not (folder / RECORD_NAME).is_file():
        breakhis = name == "breakhis"
        manifest = (
            read_breakhis(options.breakhis).manifest
            if breakhis
            else read_folder(options.idc, patient=IDC_PATIENT).manifest
        )
        config = TrainingConfig(
            backbone=options.backbone,
            weights=str(options.weights),
            freeze=True,
            image_size=224 if breakhis else 96,
        )
        folds = split_into_folds(manifest, 5, by="patient", seed=7)
        train(folds, folder, config, fold="all", resume=True)
    return read_run(folder), read_predictions(folder / PREDICTIONS_NAME)


def _held_out(name: str, predictions: Predictions, *, bar: bool = True) -> bool:
    flags = predictions.frame["flags"]
    unfamiliar = float(flags.str.contains("unfamiliar").mean())
    flagged = (flags != "").mean()
    print(f"{name}: {unfamiliar:.1%} of held-out images unfamiliar, {flagged:.1%} have a flag")
    return not bar or at_most(
        f"share of held-out {name} images unfamiliar at 0.05", unfamiliar, 0.10
    )


def _print_coverage(name: str, run: Run, predictions: Predictions) -> tuple[float, float]:
    ends = (0.0, 1.0)
    for each in set_coverages(run, predictions, bootstrap=Bootstrap()):
        all_ = each.covered[0]
        print(
            f"{name}: {each.coverage:.0%} promised, {each.calibration_patients} patients or more: "
            f"{all_.value:.3f} [{all_.low:.3f}, {all_.high:.3f}], sizes {each.sizes}"
        )
        if each.coverage == 0.9 and all_.low is not None and all_.high is not None:
            ends = all_.low, all_.high
    return ends


def _apart(
    what: str, run: Run, held: Predictions, files: list[Path], *, bar: float | None = 0.95
) -> bool:
    """AUROC of familiarity, strange ``files`` by each fold's Run against what it held out."""
    areas, flagged = [], []
    for member in run.open_members():
        own = held.frame["fold"] == str(member.record.fold)
        known = held.frame["familiarity"][own].to_numpy(np.float64)
        found = predict(member, files, OPTIONS).predictions.frame["familiarity"]
        scores = -np.concatenate([known, found.to_numpy(np.float64)])
        other = np.arange(len(scores)) >= len(known)
        areas.append(float(roc_auc(scores, other)[0]))
        flagged.append(float((found < 0.05).mean()))
    shown = ", ".join(f"{area:.3f}" for area in areas)
    print(f"{what} ({len(files)}): AUROC by fold {shown}; unfamiliar {np.mean(flagged):.1%}")
    return bar is None or at_least(f"AUROC of familiarity, {what}", float(np.mean(areas)), bar)


def _idc_files(options: argparse.Namespace) -> list[Path]:
    return sorted(find_image_files([options.idc]).images)[::60]


def _resized(files: list[Path], size: tuple[int, int], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for file in files:
        image = read_image(file)
        shrinking = image.shape[1] > size[0]
        method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        cv2.imwrite(
            str(folder / file.name), cv2.resize(image, size, interpolation=method)[:, :, ::-1]
        )
    return [folder / file.name for file in files]


def _strange_images(folder: Path) -> list[Path]:
    """Noise, blank fields, gradients, text and black, 350 x 230."""
    folder.mkdir(exist_ok=True)
    rng, shape = np.random.default_rng(0), (230, 350, 3)
    across = np.linspace(0, 1, 350)[None, :, None] * np.ones(shape)
    text, code = np.full(shape, 255, np.uint8), np.full(shape, (40, 44, 52), np.uint8)
    for line in range(12):
        for page, ink in ((text, (0, 0, 0)), (code, (200, 120, 220))):
            cv2.putText(page, "def trust(x): return x", (5, 15 + 18 * line), 0, 0.55, ink, 1)
    images: dict[str, NDArray[np.generic]] = {
        "noise": rng.integers(0, 256, shape),
        "noise-grey": np.repeat(rng.integers(0, 256, (230, 350, 1)), 3, axis=2),
        "noise-pink": np.clip(np.array([200, 150, 190]) + rng.normal(0, 30, shape), 0, 255),
        "blank": np.full(shape, 255),
        "blank-grey": np.clip(242 + rng.normal(0, 2, shape), 0, 255),
        "pink": np.full(shape, (220, 150, 200)),
        "gradient-grey": 255 * across,
        "gradient-pink": (250, 230, 245) * (1 - across) + (110, 60, 140) * across,
        "gradient-colours": 255
        * np.dstack([across[..., 0], across[:, ::-1, 0], across[..., 0] / 2]),
        "text": text,
        "text-dark": 255 - text,
        "code": code,
        "black": np.zeros(shape),
    }
    for name, image in images.items():
        cv2.imwrite(str(folder / f"{name}.png"), image.astype(np.uint8)[:, :, ::-1])
    return [folder / f"{name}.png" for name in images]


def _copies(files: list[Path], count: int, folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    made = [folder / f"{number:03d}.png" for number in range(count)]
    for number, path in enumerate(made):
        path.write_bytes(files[number % len(files)].read_bytes())
    return made


def _without_reference(run: Run, folder: Path) -> Run:
    folder.mkdir(exist_ok=True)
    for name in run.files:
        (folder / name).write_bytes((run.folder / name).read_bytes())
    return write_run(folder, with_changes(run.record, reference=None))


if __name__ == "__main__":
    main()
