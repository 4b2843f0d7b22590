"""Killed before any operation on a file, or asked to end there, a command ends in the same bytes.

A sample of the operations is tried; with ``EOSIN_EVERY_KILL`` set, every one, and the export makes
its graphs itself.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.networks.run import read_run
from eosin.training.config import TrainingConfig
from eosin.training.train import train

EVERY = bool(os.environ.get("EOSIN_EVERY_KILL"))
SAMPLE = 3
NETWORK = "--backbone test_efficientnet --weights none --image-size 32 --device cpu"
STUDY = """
title = "Miniature"
dataset = "breakhis"
protocols = ["patient 2-fold"]
seeds = [7]
backbones = ["test_efficientnet", "test_resnet"]
votes = ["soft"]
weights = "none"
freeze = true
image_size = 64
device = "cpu"
resamples = 100
heatmaps = 1
"""


class Command(NamedTuple):
    """A command, and how it is documented to be gone on with."""

    words: str
    resume: str = ""
    code: int = 0
    start: str = ""  # what lies in the folder before, among the inputs


COMMANDS = {
    "frozen": Command(f"train ../in/s.csv -o run --freeze {NETWORK}", "--resume", 3),
    "fine-tuned": Command(f"train ../in/s.csv -o run --epochs 1 {NETWORK}", "--resume", 3),
    "folds": Command(f"train ../in/f.csv -o run --freeze --fold all {NETWORK}", "--resume", 3),
    "predict": Command("predict ../in/run ../in/new -o p.csv --batch-size 4", "--resume", 3),
    "study": Command("study ../in/study.toml -o study --data ../in/images"),
    "stain": Command("stain normalize ../in/s.csv -o v --method reinhard --workers 1", "", 3),
    "export": Command("export ../in/run -o graph"),
    "export again": Command("export ../in/run -o graph --overwrite", start="graph"),
}


class Forks:
    """A process that runs commands in forks of its own, so that nothing is imported twice."""

    def __init__(self, graph: Path) -> None:
        source = Path(__file__).resolve().parents[1] / "src"
        settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killing.py")), str(graph)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **settings},
        )

    def run(self, words: str, folder: Path, *, stop: int = 0, by: int = 0) -> tuple[int, int]:
        """Exit code, less than 0 for a signal, and the operations where it came to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"words": words.split(), "folder": str(folder), "stop": stop, "signal": by}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code, operations = json.loads(self._process.stdout.readline())
        return code, operations

    def close(self) -> None:
        """No more commands."""
        self._process.communicate()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs in ``in``: images, one of them damaged, a Run, and its export."""
    home = tmp_path_factory.mktemp("killed")
    inputs = home / "in"
    write_synthetic(inputs, SyntheticOptions(patients=8, images=24, size=64, seed=1))
    manifest = read_breakhis(inputs / "images").manifest
    split = split_by_fractions(manifest, (0.5, 0.25, 0.25), seed=1)
    split.write(inputs / "s.csv")
    split_into_folds(manifest, 2, seed=1).write(inputs / "f.csv")
    (inputs / "study.toml").write_text(STUDY)
    small = {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "device": "cpu"}
    train(split, inputs / "run", TrainingConfig(freeze=True).with_overrides(small))
    (inputs / "new").mkdir()
    for path in split.in_split("test").paths:
        shutil.copy(path, inputs / "new")
    damaged = split.in_split("train").paths[0], sorted((inputs / "new").iterdir())[1]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:200])
    return home


@pytest.fixture(scope="module")
def forks(home: Path) -> Iterator[Forks]:
    forks = Forks(home / "graph.onnx")
    (home / "first").mkdir()
    code, _ = forks.run("export ../in/run -o graph", home / "first")
    assert code == 0, (home / "first.log").read_text()
    shutil.copytree(home / "first" / "graph", home / "in" / "graph")
    if not EVERY:  # PyTorch takes seconds to make a graph: from now on it is this one
        shutil.copy(home / "in" / "graph" / "model.onnx", home / "graph.onnx")
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def whole(home: Path, forks: Forks) -> dict[str, tuple[dict[str, object], int]]:
    """What each command leaves where nothing disturbs it, and how many operations that takes."""
    made = {}
    for name, command in COMMANDS.items():
        folder = begin(home, f"whole {name}", command)
        code, operations = forks.run(command.words, folder)
        assert code == command.code, Path(f"{folder}.log").read_text()
        made[name] = tree(folder), operations
    return made


def begin(home: Path, name: str, command: Command) -> Path:
    """An empty folder beside the inputs, or one with what the command finds there."""
    folder = home / name.replace(" ", "-")
    folder.mkdir()
    if command.start:
        shutil.copytree(home / "in" / command.start, folder / command.start)
    return folder


def tree(folder: Path) -> dict[str, object]:
    """Every file with its bytes, hidden ones too, but for the cache and what tells the time."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): timeless(path, folder)
        for name, path in sorted(files.items())
        if name.parts[0] != "cache"
    }


def timeless(path: Path, folder: Path) -> object:
    """What a file says, but how long something took, and the folder that its images lie in."""
    data = path.read_bytes().replace(bytes(folder), b"FOLDER")
    if path.name in ("history.csv", "study.csv"):
        rows = csv.DictReader(io.StringIO(data.decode()))
        return [{**row, "seconds": ""} for row in rows]
    if path.name == "cell.json":
        return {**json.loads(data), "seconds": 0, "checksum": ""}
    if path.name == "study.html":
        return re.sub(rb'<td class="number">\d+</td>', b"", data)
    return data


def points(name: str, operations: int) -> Sequence[int]:
    """The operations before which a command is stopped."""
    numbers = range(1, operations + 1)
    return numbers if EVERY else sorted(random.Random(name).sample(numbers, SAMPLE))


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_an_operation_and_gone_on_with_a_command_ends_in_the_same_bytes(
    name: str, home: Path, forks: Forks, whole: dict[str, tuple[dict[str, object], int]]
) -> None:
    command, (wanted, operations) = COMMANDS[name], whole[name]
    for number in points(name, operations):
        folder = begin(home, f"{name} {number}", command)
        code, _ = forks.run(command.words, folder, stop=number, by=signal.SIGKILL)
        assert code == -signal.SIGKILL, number
        if command.start:  # a good copy is there at every moment
            read_run(folder / command.start).require_intact()
        code, _ = forks.run(f"{command.words} {command.resume}", folder)
        said = Path(f"{folder}.log").read_text()
        finished = name == "export" and "already a finished export" in said
        # A training that was finished skips nothing any more, and an export says that it is there.
        assert code == 1 if finished else code in (0, command.code), f"{number}: {said}"
        found = tree(folder)
        differing = {
            key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
        }
        assert not differing, f"{number}: {sorted(differing)}"


@pytest.mark.parametrize(
    ("name", "by", "code"),
    [
        *((name, signal.SIGTERM, 143) for name in ("fine-tuned", "predict", "stain", "study")),
        *((name, signal.SIGINT, 130) for name in ("frozen", "export")),
    ],
)
def test_asked_to_end_a_command_says_so_tidies_up_and_can_be_gone_on_with(
    name: str,
    by: int,
    code: int,
    home: Path,
    forks: Forks,
    whole: dict[str, tuple[dict[str, object], int]],
) -> None:
    command, (wanted, operations) = COMMANDS[name], whole[name]
    number = random.Random(f"{name} {code}").randrange(operations // 4, operations - 4)
    folder = begin(home, f"{name} {code}", command)
    assert forks.run(command.words, folder, stop=number, by=by)[0] == code, number
    said = Path(f"{folder}.log").read_text()
    assert "stopped; " in said
    assert "Traceback" not in said
    left = [path for path in tree(folder) if re.search(r"\.part$|\.lock$", path)]
    assert not left, number
    assert forks.run(f"{command.words} {command.resume}", folder)[0] == command.code
    assert tree(folder) == wanted
