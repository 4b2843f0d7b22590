"""The same frozen network under image-level and patient-level five-fold, from nothing.

    python benchmarks/protocols.py --breakhis FOLDER --idc FOLDER --weights FILE -o OUT

Runs the commands a user would (data, split, train --freeze --fold all, evaluate at both levels,
report), with a feature cache of its own, and prints one Markdown table with intervals and seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from eosin.artefacts.estimate import Estimate
from eosin.artefacts.evaluation import read_evaluation
from eosin.artefacts.predictions import read_predictions
from eosin.reporting.wording import figure, number

FOLDS, SEED = 5, 7


@dataclass(frozen=True)
class Dataset:
    """What is read, and how."""

    name: str
    title: str
    read: tuple[str, ...]
    options: tuple[str, ...]


def main() -> None:
    """Run every dataset under every protocol and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--breakhis", type=Path, help="BreakHis-named images")
    parser.add_argument("--idc", type=Path, help="IDC patches, a folder 0 and a folder 1")
    parser.add_argument("--weights", type=Path, required=True, help="tf_efficientnetv2_b0 file")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ["EOSIN_CACHE"] = str(arguments.out / "cache")
    print("| data | protocol | AUC | accuracy | AUC by patient | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for dataset in _datasets(arguments):
        manifest = arguments.out / f"{dataset.name}.csv"
        eosin("data", *dataset.read, "-o", manifest)
        for by in ("image", "patient"):
            print(_row(dataset, manifest, by, arguments), flush=True)


def eosin(*words: object) -> None:
    """Run one command as a shell would; its output is shown only where it fails."""
    command = [sys.executable, "-m", "eosin", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _datasets(arguments: argparse.Namespace) -> list[Dataset]:
    found = []
    if arguments.breakhis:
        read = ("breakhis", str(arguments.breakhis))
        found.append(Dataset("breakhis", "BreakHis 100X subset", read, ()))
    if arguments.idc:
        read = ("folder", str(arguments.idc), "--patient", r"^(\d+)_", "--positive", "1")
        found.append(Dataset("idc", "IDC patches, 50 px", read, ("--image-size", "96")))
    return found


def _row(dataset: Dataset, manifest: Path, by: str, arguments: argparse.Namespace) -> str:
    run = arguments.out / f"{dataset.name}-{by}"
    split = arguments.out / f"{dataset.name}-{by}.csv"
    eosin("split", manifest, "-o", split, "--by", by, "--folds", FOLDS, "--seed", SEED)
    network = ("--backbone", "tf_efficientnetv2_b0", "--weights", arguments.weights)
    began = time.monotonic()
    eosin("train", split, "-o", run, *network, *dataset.options, "--freeze", "--fold", "all")
    seconds = time.monotonic() - began
    table = run / "predictions.csv"
    for level in ("image", "patient"):
        eosin("evaluate", table, "-o", run / f"evaluation-{level}.json", "--level", level)
    eosin("report", run, table, "-o", run / "report.html")
    image = read_evaluation(run / "evaluation-image.json")
    patient = read_evaluation(run / "evaluation-patient.json")
    cells = (
        f"{dataset.title} ({image.images} images, {image.patients} patients)",
        read_predictions(table).provenance.protocol.name,
        shown(image.value("roc_auc")),
        shown(image.value("accuracy")),
        f"{shown(patient.value('roc_auc'))}, n = {patient.patients}",
        f"{seconds:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def shown(estimate: Estimate) -> str:
    """A figure with its interval, or a word where it has none."""
    if estimate.value is None:
        return "undefined"
    if estimate.low is None:
        return f"{number(estimate.value)} (no interval)"
    return figure(estimate, space=" ")


if __name__ == "__main__":
    main()
