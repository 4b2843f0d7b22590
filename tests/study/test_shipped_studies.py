"""The shipped studies in miniature: their own files on synthetic images and tiny networks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.cli.app import app
from eosin.data.eva import HELD_OUT
from eosin.networks.run import read_run
from eosin.study.cells import StudyResult
from eosin.study.config import StudyFile, read_study
from eosin.study.plan import plan
from eosin.study.study import run_study
from eosin.study.table import write_study

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def miniature(name: str, root: Path, *, size: int, **changes: object) -> StudyFile:
    """A shipped study with its seeds, stain steps, votes and recipe, but of one epoch.

    ``changes`` are of the study's own settings, e.g. its backbones.
    """
    study = read_study(CONFIGS / name, root=root)
    small = {"weights": "none", "image_size": size, "epochs": 1, "batch_size": 16, "device": "cpu"}
    config = study.config.model_copy(update={"heatmaps": 1, "resamples": 100, **changes})
    return replace(study, config=config, training=study.training.with_overrides(small))


def done(study: StudyFile, folder: Path) -> tuple[StudyResult, pd.DataFrame]:
    """The study, and its table as written."""
    found = run_study(study, folder)
    write_study(found, folder)
    return found, pd.read_csv(folder / "study.csv")


@pytest.fixture
def bci(tmp_path: Path) -> Path:
    """``BCI_dataset`` in small: 24 training and 8 test fields, the four levels in turn."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        folder = tmp_path / "BCI_dataset" / "HE" / part
        folder.mkdir(parents=True)
        for number in range(count):
            level = ("0", "1+", "2+", "3+")[number % 4]
            tone = np.array([150, 60 + 40 * (number % 4), 190])
            pixels = np.clip(tone + rng.normal(0, 25, (96, 96, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number:05d}_{part}_{level}.png"), pixels)
    return tmp_path / "BCI_dataset"


def test_the_breakhis_study_runs_from_fine_tuning_to_every_ensemble_under_every_protocol(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    root = drawn_breakhis.paths[0].parent
    backbones = ("test_efficientnet", "test_efficientnet@stride8")
    protocols = ("image 70/15/15", "patient 3-fold")  # the other fractions go the same way
    study = miniature(
        "study-breakhis.toml", root, size=32, backbones=backbones, protocols=protocols
    )
    found, table = done(study, tmp_path)
    assert found.failures == ()
    assert len(found.results) == len(plan(study)) == 2 * 2 * (2 + 4)
    assert set(table["protocol"]) == {"image-level (leaky), 70/15/15", "patient-level, 3-fold"}
    assert set(table["stain"]) == {"none", "vahadane"}
    assert set(table["vote"].fillna("")) == {"", "soft", "hard", "weighted", "fusion"}
    single = found.results[0].run
    assert (single.folder / "history.csv").is_file()  # fine-tuned, by the published recipe
    assert single.record.training["freeze"] is False
    assert single.record.training["rotation_degrees"] == 36
    assert (found.comparisons[0] / "learning.png").is_file()
    assert len(found.comparisons) == 2
    assert len(found.heatmaps) == 2 * 2


def test_the_her2_study_leaves_out_and_then_scores_the_official_test_images(
    bci: Path, tmp_path: Path
) -> None:
    found, table = done(miniature("study-her2.toml", bci, size=75, heatmaps=0), tmp_path / "out")
    assert found.failures == ()
    assert table["model"].tolist() == ["inception_her2"] * 2
    published, official = found.results
    assert not any("_test_" in path for path in published.predictions.frame["path"])
    assert len(official.predictions) == 8
    assert all("_test_" in path for path in official.predictions.frame["path"])
    assert found.comparisons == ()  # one model: nothing to compare


@pytest.fixture
def four_types(tmp_path: Path) -> Path:
    """Eva's held-out slides, the other slides of their patients, and three more of each type."""
    slides = {
        "B_TA": "15275 16184 16184CD 13200 19854C 21978AB",
        "M_MC": "18842 18842D 19979 19979C 10147 12773 13413",
        "B_F": "21998CD 21998EF 23060AB 23060CD 9133 14134 25197",
        "M_DC": "15792 16875 3909 5287 16716 2773 5695 10926 11031 11520",
    }
    root, rng = tmp_path / "BreaKHis_v1", np.random.default_rng(0)
    root.mkdir()
    for index, (kind, numbers) in enumerate(slides.items()):
        for number in numbers.split():
            tone = np.array([150, 60 + 40 * index, 190]) + rng.normal(0, 15, 3)
            for image in range(2):
                pixels = np.clip(tone + rng.normal(0, 25, (46, 70, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / f"SOB_{kind}-14-{number}-40-{image:03d}.png"), pixels)
    return root


def test_the_eva_study_prints_what_its_split_adds_to_any_encoder(
    four_types: Path, tmp_path: Path
) -> None:
    file, out = tmp_path / "study-eva-breakhis.toml", tmp_path / "out"
    small = 'weights = "none"\nimage_size = 32\ndevice = "cpu"\nresamples = 200\n'
    file.write_text((CONFIGS / file.name).read_text() + small)
    words = ["study", file, "-o", out, "--data", four_types, "--backbone", "test_efficientnet"]
    said = CliRunner().invoke(app, [str(word) for word in words])
    assert said.exit_code == 0, said.output
    title = "official split (leaky), eva against patient-level, eva-clean"
    _, clean_own, same = said.output.split(title)
    figures = r"([01]\.\d{3}) \[[01]\.\d{3}, [01]\.\d{3}\]"
    row = (
        rf"test_efficientnet +balanced_accuracy +{figures} +{figures} +(-?[01]\.\d{{3}}) \[.*\] +13"
    )
    found = [re.search(row, part) for part in (clean_own, same)]
    printed = [[float(cell) for cell in match.groups()] for match in found if match]
    assert len(printed) == 2, said.output
    for leaky, clean, added in printed:
        assert added == pytest.approx(leaky - clean, abs=0.0011)
    assert same.startswith(", on the images of the leaky split")

    table = pd.read_csv(out / "study.csv")
    by_image = table[table["level"] == "image"].set_index("protocol")
    assert by_image["images"].to_dict() == {
        "official split (leaky), eva": 2 * 14,
        "patient-level, eva-clean": 2 * 18,
        "patient-level, 5-fold": 2 * 30,
    }
    assert by_image["patients"].tolist() == [13, 13, 25]
    figures_of = by_image["balanced_accuracy"].tolist()[:2]
    assert printed[0][:2] == pytest.approx(figures_of, abs=0.0005)
    scored = read_predictions(out / "cells/eva/seed-0/test_efficientnet/predictions.csv")
    assert {Path(path).name.split("-")[2] for path in scored.frame["path"]} == set(HELD_OUT)
    run = read_run(out / "cells/eva-clean/seed-0/test_efficientnet/run")
    assert run.record.training["fit"] == "crop"
    assert not set(run.record.train_patients) & set(scored.frame["patient"])
