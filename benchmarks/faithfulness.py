"""Which heatmap to believe: every method judged on the same images of one Run, or of several.

    python benchmarks/faithfulness.py RUN [RUN ...] FOLDER_OF_IMAGES [--images 20] [--out rows.csv]

Explains the predicted class. Images of patients that a Run never met are taken where there are
enough; the heading says how many were met. Of several Runs, such as the folds of one, each has its
own images. Masks of synthetic images are found by themselves. The last two lines judge maps that
know nothing of the network: how dark the tissue is, and one random map an image. Prints Markdown:
means with 95 % intervals over patients, and each method less the first, paired by image.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as fresh
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from eosin.arrays import MapValues
from eosin.data.breakhis import BreakHisName
from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.weights import Weights
from eosin.explanation.faithfulness_table import Finding, summarise, write_faithfulness
from eosin.explanation.heatmap import METHODS, require_method
from eosin.explanation.heatmap_checks import (
    FaithfulnessRow,
    MapToScore,
    Remap,
    ScoreOptions,
    score_maps,
)
from eosin.explanation.judging import remap_by
from eosin.explanation.perturbation import PerturbationOptions, smooth_random_map
from eosin.networks.classifier import Classifier
from eosin.networks.run import Network, Run, read_run
from eosin.networks.torch_engine import TorchEngine
from eosin.networks.weights import load_classifier
from eosin.pixels.optical_density import optical_density
from eosin.pixels.preprocessing import normalise, view
from eosin.pixels.reading import UInt8Image, is_image_name, read_image

BLIND = ("darkness", "random")
COLUMNS = {
    "faithful": "believed",
    "gap": "insertion − deletion",
    "deletion_auc": "deletion AUC",
    "insertion_auc": "insertion AUC",
    "random_as_good": "random maps as good",
    "randomised_head_similarity": "same with random head",
    "randomised_all_similarity": "same when all random",
    "flip_stability": "flips",
    "stain_stability": "stain",
    "pointing": "pointing",
    "energy": "energy",
    "mask_auc": "AUC with mask",
}


@dataclass(frozen=True)
class Field:
    """One image, what the network says it is, and whose it is."""

    path: Path
    image: UInt8Image
    target: int
    patient: str


def main() -> None:
    """Judge every method on the same images and print the tables."""
    options = parse_options()
    torch.set_num_threads(options.cores)
    found = Found()
    with threadpool_limits(options.cores):
        for folder in options.runs:
            judge_run(read_run(folder), options, found)
    if options.out:
        write_faithfulness(found.rows, options.out)
    report(found)


@dataclass
class Found:
    """What all Runs came to: a row a map, the patient of each, and what it took."""

    rows: list[FaithfulnessRow] = fresh(default_factory=list)
    patients: list[str] = fresh(default_factory=list)
    seconds: dict[str, float] = fresh(default_factory=dict)
    met: int = 0
    backbones: dict[str, None] = fresh(default_factory=dict)


def judge_run(run: Run, options: argparse.Namespace, found: Found) -> None:
    """Add the rows of every method on the images of one Run."""
    classifier = load_classifier(run)
    fields, met = choose_fields(run, classifier, options)
    found.met += met
    found.backbones[run.record.backbone] = None
    for method in (*options.methods, *(() if options.skip_blind else BLIND)):
        start = time.perf_counter()
        found.rows += judged(run, classifier, fields, method=method, options=options)
        found.patients += [field.patient for field in fields]
        taken = time.perf_counter() - start
        found.seconds[method] = found.seconds.get(method, 0.0) + taken


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=20, help="of each Run")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), type=require_method)
    parser.add_argument("--skip-blind", action="store_true", help="no maps that know nothing")
    parser.add_argument("--fill", default="tissue")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--random-maps", type=int, default=5)
    parser.add_argument("--randomisations", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where to write every row as CSV")
    return parser.parse_args()


def choose_fields(
    run: Run, classifier: Classifier, options: argparse.Namespace
) -> tuple[list[Field], int]:
    """Images spread evenly over the folder, and how many of them are of patients met."""
    paths = sorted(path for path in options.folder.iterdir() if is_image_name(path))
    unseen = [path for path in paths if not is_met(run, path)]
    pool = unseen if len(unseen) >= options.images else paths
    if not pool:
        sys.exit(f"no images in {options.folder}: give a folder of H&E images")
    rows = np.linspace(0, len(pool) - 1, min(options.images, len(pool))).round().astype(int)
    chosen = [pool[row] for row in dict.fromkeys(rows.tolist())]
    fields = [read_field(run, classifier, path) for path in chosen]
    return fields, sum(is_met(run, path) for path in chosen)


def read_field(run: Run, classifier: Classifier, path: Path) -> Field:
    """An image and the class that the network gives it."""
    image, spec = read_image(path), run.record.preprocessing
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(normalise(view(image, spec), spec))[None])
    return Field(path, image, int(logits.argmax()), patient_of(path))


def patient_of(path: Path) -> str:
    """The accession number in a BreakHis name, else the file itself."""
    try:
        return BreakHisName.parse(path.name).accession
    except DataError:
        return path.stem


def is_met(run: Run, path: Path) -> bool:
    """Whether the Run was trained or validated on the patient."""
    return patient_of(path) in run.record.seen_patients


def judged(
    run: Run,
    classifier: Classifier,
    fields: Sequence[Field],
    *,
    method: str,
    options: argparse.Namespace,
) -> list[FaithfulnessRow]:
    """Score one method on every image."""
    remap = (
        blind_remap(method)
        if method in BLIND
        else remap_by(require_method(method), run.record.preprocessing)
    )
    perturbation = PerturbationOptions(
        steps=options.steps, random_maps=options.random_maps, fill=options.fill
    )
    scoring = ScoreOptions(perturbation, randomisations=options.randomisations)
    items = drawn(run, classifier, fields, method=method, remap=remap)
    network = Network("all", run, TorchEngine(classifier, device="cpu"))
    return list(score_maps(network, items, scoring, remap=remap))


def drawn(
    run: Run, classifier: Classifier, fields: Sequence[Field], *, method: str, remap: Remap
) -> Iterator[MapToScore]:
    """The maps of one method, one image after another."""
    for field in fields:
        seen = view(field.image, run.record.preprocessing)
        heatmap = remap(classifier, [seen], [field.target])[0]
        yield MapToScore(field.path, field.image, heatmap, field.target, method)


def blind_remap(method: str) -> Remap:
    """Maps of the image alone, or of nothing, in the place of a method."""

    def remap(
        classifier: Classifier, images: Sequence[UInt8Image], targets: Sequence[int]
    ) -> list[MapValues]:
        del classifier, targets  # that is the point
        return [darkness(image) if method == "darkness" else chance_map(image) for image in images]

    return remap


def darkness(image: UInt8Image) -> MapValues:
    """Mean optical density of each pixel."""
    density: MapValues = optical_density(image).mean(axis=2)
    return density


def chance_map(image: UInt8Image) -> MapValues:
    """A smooth random map, another for every image and always the same for one."""
    seed = int(image.astype(np.uint64).sum())
    blob = np.exp(-np.add.outer(np.linspace(-1, 1, 7) ** 2, np.linspace(-1, 1, 7) ** 2) / 0.3)
    return smooth_random_map(blob, np.random.default_rng(seed))


def report(found: Found) -> None:
    """Print the tables as Markdown."""
    rows, patients = found.rows, found.patients
    table = summarise(rows, patients)
    first = [row for row in rows if row.method == rows[0].method]
    images = len(first)
    random_auc = np.mean([row.deletion_random for row in rows])
    steady = sum(row.finding is Finding.NOTHING for row in first)
    print(f"{', '.join(found.backbones)}, {images} images of {len(set(patients))} patients,")
    print(
        f"{found.met} of them of patients that their Run was trained on; mean area of random maps"
    )
    print(f"{random_auc:.2f}; {steady} images leave nothing to explain.\n")
    shown = [name for name in COLUMNS if (table["measure"] == name).any()]
    print("| method | " + " | ".join(COLUMNS[name] for name in shown) + " | s an image |")
    print("| --- |" + " --- |" * (len(shown) + 1))
    for method, lines in table.groupby("method", sort=False):
        measured = lines.set_index("measure")
        cells = [interval(measured.loc[name]) if name in measured.index else "" for name in shown]
        print(
            f"| {method} | " + " | ".join(cells) + f" | {found.seconds[str(method)] / images:.1f} |"
        )
    print_paired(rows, patients)
    print("\n| method | verdict | images |\n| --- | --- | --- |")
    reasons = pd.DataFrame(
        {"method": [r.method for r in rows], "why": [str(r.finding) for r in rows]}
    )
    for (method, reason), count in reasons.groupby(["method", "why"], sort=False).size().items():
        print(f"| {method} | {reason} | {count} |")


PAIRED = ("faithful", "gap", "deletion_auc", "insertion_auc")


def print_paired(rows: Sequence[FaithfulnessRow], patients: Sequence[str]) -> None:
    """Each method less the first on the same images, with intervals over patients."""
    frame = pd.DataFrame([{"path": r.path, "method": r.method} for r in rows])
    for name in PAIRED:
        frame[name] = [float(getattr(row, name)) for row in rows]
    frame["patient"] = patients
    first = rows[0].method
    print(f"\n| less {first} | " + " | ".join(COLUMNS[name] for name in PAIRED) + " |")
    print("| --- |" + " --- |" * len(PAIRED))
    base = frame[frame["method"] == first].reset_index(drop=True)
    for method, lines in frame.groupby("method", sort=False):
        other = lines.reset_index(drop=True)  # the images of every Run in the same order
        if method != first:
            cells = [difference(other[name] - base[name], base["patient"]) for name in PAIRED]
            print(f"| {method} | " + " | ".join(cells) + " |")


def difference(values: pd.Series, patients: pd.Series) -> str:
    """A signed mean with its interval over patients."""
    drawn, names = Bootstrap(), list(patients)
    whose, column = patient_columns(names, names)
    means = Weights(column, drawn.weights(whose)).mean(values.to_numpy())
    found = drawn.interval(means)
    return f"{values.mean():+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def interval(line: pd.Series) -> str:
    """A mean with its interval."""
    if pd.isna(line["low"]):
        return f"{line['mean']:.2f}"
    return f"{line['mean']:.2f} [{line['low']:.2f}, {line['high']:.2f}]"


if __name__ == "__main__":
    main()
