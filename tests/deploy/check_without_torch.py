"""Use exported Runs where PyTorch is not installed: train and export here, work there, compare.

    make deploy-check [ENGINE=openvino]

Not a pytest test: it builds a wheel and installs it into an environment of its own, which holds
the locked base packages and one engine. It ends with exit code 1 and a sentence where anything is
not as it should be: what is in the wheel, the size of the installation, a command, or its result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eosin.artefacts.graph import GraphFormat
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.explanation.explain import ExplainOptions, explain
from eosin.export.export import ExportOptions, export_run
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.training.config import TrainingConfig
from eosin.training.train import train

ROOT = Path(__file__).resolve().parents[2]
FORMATS = {"onnx": "onnxruntime", "openvino": "openvino"}  # and the engine that reads each
MOST_MEGABYTES = {"onnx": 720, "openvino": 830}
ABSENT = ("torch", "torchvision", "timm", "sklearn")
PROBABILITY_BAR = 1e-4
MAP_BAR = 1e-3  # of the strongest map
# A network that trains in seconds from random weights; its maps have several pixels at 64 pixels.
PROBE = TrainingConfig(
    backbone="test_efficientnet", weights="none", freeze=True, image_size=64, device="cpu"
)
IMAGES = 72


class CheckError(Exception):
    """Something is not as it should be; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python with packages.

    Attributes:
        python: its interpreter.
        work: where its commands run, and where relative paths begin; outside the source tree.
    """

    python: Path
    work: Path

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run the interpreter; PYTHONPATH and the current folder lend it nothing."""
        command = [str(self.python), "-I", *(str(word) for word in words)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.work,
        )

    def eosin(self, *words: object, code: int = 0) -> str:
        """What a command of eosin says on both streams, once its exit code is as it should be."""
        done = self.run("-m", "eosin", *words)
        said = done.stdout + done.stderr
        if done.returncode != code:
            asked = " ".join(["eosin", *map(str, words)])
            raise CheckError(f"`{asked}` ended with {done.returncode}, not {code}:\n{said}")
        return said

    def ask(self, code: str) -> str:
        """What a few lines of Python print."""
        done = self.run("-c", code)
        if done.returncode:
            raise CheckError(f"{self.python} cannot run {code!r}:\n{done.stderr}")
        return done.stdout.strip()


def main() -> None:
    """Do it all; the temporary folder goes away at the end, the environment stays."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", choices=sorted(FORMATS), default="onnx")
    parser.add_argument("--venv", type=Path, required=True, help="an environment without PyTorch")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        os.environ["EOSIN_CACHE"] = str(work / "cache")
        here = Environment(Path(sys.executable), work)
        there = Environment(asked.venv.absolute() / "bin" / "python", work)
        try:
            check(here, there, asked.engine)
        except CheckError as wrong:
            sys.exit(f"deploy-check failed: {wrong}")


def check(here: Environment, there: Environment, form: GraphFormat) -> None:
    """Every step, told as it is done; CheckError where one fails."""
    require_no_torch(there)
    wheel = build_wheel(here)
    install(there, wheel)
    say(f"installed {wheel.name} where {', '.join(ABSENT)} are not")
    say(measure(there, form))
    say(check_doctor(there))
    make_runs(here.work, form)
    say(
        "trained, exported and scored with PyTorch: one network, and the three of a 3-fold training"
    )
    say(check_one_network(there, form))
    say(check_folds(there))
    say(check_refusals(there))


def build_wheel(here: Environment) -> Path:
    """The wheel of the source tree; CheckError where a file that git tracks is not in it."""
    done = here.run(
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", here.work, ROOT),
    )
    if done.returncode:
        raise CheckError(f"no wheel could be built:\n{done.stderr}")
    (wheel,) = here.work.glob("eosin-*.whl")
    listed = subprocess.run(
        ["git", "ls-files", "src/eosin"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    if not {"eosin/py.typed"} <= wanted or not any("/templates/" in name for name in wanted):
        raise CheckError(f"git lists no py.typed or no templates under {ROOT / 'src/eosin'}")
    with zipfile.ZipFile(wheel) as archive:
        missing = sorted(wanted - set(archive.namelist()))
    if missing:
        raise CheckError(
            f"{wheel.name} lacks {', '.join(missing)}: see [tool.hatch.build] of the project"
        )
    return wheel


def require_no_torch(there: Environment) -> None:
    """CheckError where nothing would be proven; before anything is installed there."""
    found = there.ask(
        "from importlib.util import find_spec\n"
        f"print(*[name for name in {ABSENT} if find_spec(name)])"
    )
    if found:
        raise CheckError(f"{there.python} can import {found}: nothing would be proven there")


def install(there: Environment, wheel: Path) -> None:
    """Install the wheel alone; CheckError where eosin is then imported from elsewhere."""
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    done = there.run(*pip, "--no-index", "--force-reinstall", wheel)
    if done.returncode:
        raise CheckError(f"{wheel.name} cannot be installed:\n{done.stderr}")
    path = Path(there.ask("import eosin; print(eosin.__file__)"))
    if packages_of(there) not in path.parents:
        raise CheckError(f"eosin is imported from {path}, not from {packages_of(there)}")


def packages_of(there: Environment) -> Path:
    """Where its packages lie."""
    return Path(there.ask("import sysconfig; print(sysconfig.get_path('purelib'))"))


def measure(there: Environment, form: str) -> str:
    """The sum of all files that pip put there, its bytecode and pip itself included."""
    sizes: dict[str, float] = {"bytecode": 0.0}
    for path in packages_of(there).rglob("*"):
        if path.is_file():
            kind = "bytecode" if path.suffix == ".pyc" else "files"
            sizes[kind] = sizes.get(kind, 0.0) + path.stat().st_size / 1e6
    total = sum(sizes.values())
    said = f"size of base + {FORMATS[form]}: {total:.0f} MB, {sizes['bytecode']:.0f} of it bytecode"
    if not 0 < total < MOST_MEGABYTES[form]:
        raise CheckError(f"{said}; the most allowed is {MOST_MEGABYTES[form]} MB")
    return f"{said} (allowed: {MOST_MEGABYTES[form]})"


def check_doctor(there: Environment) -> str:
    """It is content, and says what cannot be done."""
    said = there.eosin("doctor")
    for sentence in ("ready for exported Runs", "no training or exporting here"):
        if sentence not in said:
            raise CheckError(f"`eosin doctor` does not say {sentence!r}:\n{said}")
    return "eosin doctor: ready for exported Runs"


def make_runs(work: Path, form: GraphFormat) -> None:
    """Two Runs, their exports, and PyTorch's own answers; in this process: it starts slowly."""
    write_synthetic(work / "drawn", SyntheticOptions(patients=24, images=IMAGES, size=96, seed=3))
    manifest = read_breakhis(work / "drawn" / "images").manifest
    divided = split_by_fractions(manifest, (0.4, 0.2, 0.4), seed=0)
    divided.write(work / "s.csv")
    one = train(divided, work / "one", PROBE).run
    folds = train(split_into_folds(manifest, 3, seed=0), work / "folds", PROBE, fold="all").run
    for run in (one, folds):
        export_run(run, run.folder.with_name(f"{run.folder.name}-export"), ExportOptions(form))
    predict_to_table(one, divided, work / "one-torch.csv")
    seen = PredictOptions(allow_seen=True)
    predict_to_table(folds, [work / "drawn" / "images"], work / "folds-torch.csv", seen)
    write_heatmaps(explain([one], divided, ExplainOptions(split="test")), work / "cams-torch")


def check_one_network(there: Environment, form: str) -> str:
    """Predict, explain, evaluate and report from the export of one network."""
    there.eosin("predict", "one-export", "s.csv", "-o", "one.csv", "--engine", FORMATS[form])
    away = compare_tables(there.work, "one")
    there.eosin("explain", "one-export", "s.csv", "--split", "test", "-o", "cams")
    maps_away = compare_maps(there.work)
    said = there.eosin("evaluate", "one.csv", "-o", "one.json", "--resamples", 500)
    for wanted in ("roc_auc", "patient-level"):
        if wanted not in said:
            raise CheckError(f"`eosin evaluate` does not say {wanted!r}:\n{said}")
    there.eosin("report", "one-export", "one.csv", "-o", "one.html", "--heatmaps")
    check_page(there.work / "one.html", "patient-level", "Grad-CAM", "test_efficientnet")
    return (
        f"one network: predicted (probabilities within {away:.1e} of PyTorch's), explained (maps "
        f"within {maps_away:.1e}), evaluated and reported"
    )


def check_folds(there: Environment) -> str:
    """The same for a Run made of three, on a folder of images."""
    there.eosin("predict", "folds-export", "drawn/images", "--allow-seen", "-o", "folds.csv")
    away = compare_tables(there.work, "folds")
    there.eosin("explain", "folds-export", "drawn/images", "-o", "folds-cams", "--merge")
    pictures = list((there.work / "folds-cams").rglob("*.png"))
    if len(pictures) < IMAGES:
        raise CheckError(f"`eosin explain` of {IMAGES} images wrote {len(pictures)} pictures")
    return f"three networks: predicted (within {away:.1e}) and explained"


def check_refusals(there: Environment) -> str:
    """What needs PyTorch says so, with the way out."""
    said = there.eosin("predict", "one", "s.csv", "-o", "no.csv", code=1)
    for wanted in ("eosin[train]", "eosin export one"):
        if wanted not in said:
            raise CheckError(
                f"a Run with PyTorch weights is refused without naming {wanted!r}: {said}"
            )
    said = there.eosin(
        "predict", "one-export", "s.csv", "-o", "no.csv", "--engine", "torch", code=1
    )
    if "PyTorch does not run" not in said:
        raise CheckError(f"--engine torch is refused in other words than it should be: {said}")
    if (there.work / "no.csv").exists():
        raise CheckError("a refused prediction left a table")
    return "a Run with PyTorch weights is refused, with the way out"


def compare_tables(work: Path, name: str) -> float:
    """The largest difference of a probability; CheckError where rows or probabilities differ."""
    found, wanted = (read_predictions(work / f"{name}{end}.csv") for end in ("", "-torch"))
    if not len(wanted) or names_of(found) != names_of(wanted):
        raise CheckError(f"{name}.csv has other rows than {name}-torch.csv, or none")
    away = float(np.abs(found.probabilities - wanted.probabilities).max())
    if not away <= PROBABILITY_BAR:
        raise CheckError(
            f"{name}.csv is {away:.1e} away from PyTorch (allowed: {PROBABILITY_BAR:g})"
        )
    if list(found.frame["predicted"]) != list(wanted.frame["predicted"]):
        raise CheckError(f"{name}.csv has other answers than {name}-torch.csv")
    return away


def names_of(predictions: Predictions) -> list[str]:
    """File names, in the table's order."""
    return [Path(path).name for path in predictions.frame["path"]]


def compare_maps(work: Path) -> float:
    """The largest difference of a heatmap's value, as a share of the strongest of all maps."""
    wanted = {path.name: read_map(path) for path in (work / "cams-torch/maps").glob("*.npz")}
    found = {path.name: read_map(path) for path in (work / "cams/maps").glob("*.npz")}
    if not wanted or set(found) != set(wanted):
        raise CheckError(f"heatmaps of {len(found)} images, where PyTorch explained {len(wanted)}")
    strongest = max(float(each.max()) for each in wanted.values())
    away = max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted) / strongest
    if not away <= MAP_BAR:
        raise CheckError(f"heatmaps are {away:.1e} away from PyTorch's (allowed: {MAP_BAR:g})")
    return away


def read_map(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The only map of a file."""
    with np.load(path) as maps:
        (only,) = maps.values()
    return np.asarray(only, np.float64)


def check_page(page: Path, *wanted: str) -> None:
    """A whole page with pictures in it, that says each of ``wanted``."""
    text = page.read_text(encoding="utf-8")
    missing = [each for each in (*wanted, "data:image/", "</html>") if each not in text]
    if missing:
        raise CheckError(f"{page.name} lacks {missing}")


def say(sentence: str) -> None:
    """One step is done."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
