"""An output that another process is writing is left to it, by every verb that takes a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.errors import DataError, DiskError
from eosin.inference.table import predict_to_table
from eosin.locks import one_writer
from eosin.training.config import TrainingConfig
from eosin.training.train import train

STUDY = """
title = "Miniature"
dataset = "breakhis"
protocols = ["patient 2-fold"]
seeds = [7]
backbones = ["test_efficientnet"]
weights = "none"
freeze = true
image_size = 32
"""
VERBS = {
    "predict": "predict one s.csv -o out",
    "predict --resume": "predict one s.csv -o out --resume",
    "train": "train s.csv -o out --freeze --backbone test_efficientnet --weights none",
    "train --resume": "train s.csv -o out --backbone test_efficientnet --weights none --resume",
    "study": "study study.toml -o out --data IMAGES",
    "stain normalize": "stain normalize s.csv -o out --method reinhard",
    "export": "export one -o out",
    "ensemble": "ensemble one two -o out",
    "explain": "explain one s.csv -o out",
    "compare": "compare one.csv two.csv -o out",
    "data synthetic": "data synthetic out",
}


@pytest.fixture(scope="module")
def home(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A split manifest, two Runs and their predictions, and a study."""
    home = tmp_path_factory.mktemp("home")
    split = split_by_fractions(drawn_breakhis, (0.25, 0.25, 0.5), seed=0)
    split.write(home / "s.csv")
    for seed, name in enumerate(("one", "two")):
        run = train(split, home / name, small_probe.with_overrides({"seed": seed})).run
        predict_to_table(run, split, home / f"{name}.csv")
    (home / "study.toml").write_text(STUDY)
    return home


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    """The block runs while another thread, to which the same applies as to a process, holds it."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with one_writer(path):
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        holder.join()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leaves_an_output_alone_that_another_is_writing(
    verb: str, home: Path, drawn_breakhis: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    words = VERBS[verb].replace("IMAGES", str(drawn_breakhis.paths[0].parent))
    before = sorted(home.rglob("*"))
    with held_by_another(home / "out"):
        result = CliRunner().invoke(app, words.split())
        assert isinstance(result.exception, DataError), f"{result.output}\n{result.exception!r}"
        assert f"out: process {os.getpid()} on " in str(result.exception)
        assert sorted(home.rglob("*")) == sorted([*before, home / ".out.eosin.lock"])
    assert sorted(home.rglob("*")) == before


def test_in_python_too_what_the_disk_refuses_is_an_error_of_ours(
    home: Path, drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    path = tmp_path / "afile" / "out"
    path.parent.write_text("in the way")
    split = split_by_fractions(drawn_breakhis, (0.25, 0.25, 0.5), seed=0)
    with pytest.raises(DiskError, match="a file lies where a folder is wanted"):
        split.write(path)
    with pytest.raises(DiskError, match="a file lies where a folder is wanted"):
        train(split, path, small_probe)
