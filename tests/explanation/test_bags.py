"""The attention of slides is believed where the most attended tiles carry the answer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.explanation.bags import ExplainedSlides, explain_slides, score_slides
from eosin.explanation.faithfulness_table import Finding
from eosin.inference.bags import slide_chances
from eosin.networks.run import Run
from eosin.protocol import UNSPLIT
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.train import train

TASK = Task("her2", ("negative", "positive"), positive="positive")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Files of 24 patients' tiles: 2 of 12 are dark in a slide that is positive."""
    top, random, rows = tmp_path_factory.mktemp("tiles"), np.random.default_rng(3), []
    for patient in range(24):
        label = TASK.classes[patient % 2]
        for tile in range(12):
            dark = label == "positive" and tile in (4, 9)
            colour = np.array([215.0, 180, 210]) - [70 * dark, 90 * dark, 20 * dark]
            pixels = np.clip(colour + random.normal(0, 12, (32, 32, 3)), 0, 255)
            path = top / f"S{patient}_{tile}.png"
            assert cv2.imwrite(str(path), pixels.astype(np.uint8))
            blank = dict.fromkeys(("magnification", "split", "fold"), "")
            named = {"label": label, "patient": f"P{patient}", "slide": f"S{patient}"}
            rows.append({"path": str(path), **named, **blank})
    manifest = Manifest(pd.DataFrame(rows), TASK, "drawn", UNSPLIT)
    return split_by_fractions(manifest, (0.5, 0.2, 0.3), seed=1)


def trained(images: Manifest, probe: TrainingConfig, folder: Path, **changes: object) -> Run:
    settings = {"bag": "slide", "image_size": 64, "bag_epochs": 20, "inner_folds": 3}
    return train(images, folder, probe.with_overrides({**settings, **changes})).run


@pytest.fixture(scope="module")
def run(images: Manifest, small_probe: TrainingConfig, tmp_path_factory) -> Run:
    return trained(images, small_probe, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def explained(run: Run, images: Manifest) -> ExplainedSlides:
    return explain_slides(run, images)


def test_without_the_most_attended_tiles_a_positive_slide_is_answered_otherwise(
    explained: ExplainedSlides, images: Manifest
) -> None:
    rows = explained.rows
    assert len(rows) == images.in_split("test").frame["slide"].nunique()
    positive = rows[rows["target"] == "positive"]
    assert len(positive) >= 3
    assert (positive["finding"] == Finding.FAITHFUL).mean() > 0.5
    assert (positive["area"] > 0.1).all()
    faithful = rows[rows["finding"] == Finding.FAITHFUL]
    assert (faithful["random_as_good"] == 0).all()
    np.testing.assert_allclose(rows["chance"] - rows["attended"], rows["area"], atol=1e-12)


def test_the_verdict_on_a_set_is_that_of_the_interval_over_patients(
    explained: ExplainedSlides,
) -> None:
    area, beat = explained.estimates
    assert area.low is not None
    assert area.low > 0
    assert area.patients == area.images == int((explained.rows["finding"] != Finding.NOTHING).sum())
    assert beat.value == (explained.rows["finding"] == Finding.FAITHFUL).sum() / beat.images
    assert explained.verdict.startswith("faithful: Area between attention and chance 0.")
    from dataclasses import replace

    turned = replace(explained, rows=explained.rows.assign(area=-explained.rows["area"]))
    assert turned.verdict.startswith("not faithful: no better than random: ")
    still = replace(explained, rows=explained.rows.assign(finding=Finding.NOTHING))
    assert still.verdict.startswith("not faithful: nothing to explain in ")
    assert still.estimates[0].value is None


def test_tiles_that_weigh_alike_explain_nothing(
    images: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    mean = trained(images, small_probe, tmp_path / "mean", aggregator="mean")
    found = explain_slides(mean, images)
    assert set(found.rows["finding"]) <= {Finding.FLAT, Finding.NOTHING}
    assert found.verdict.startswith("not faithful")


def test_the_same_seed_removes_the_same_tiles_and_never_the_last(run: Run) -> None:
    random = np.random.default_rng(0)
    values, slide = random.normal(size=(9, 3)), np.array([0, 0, 0, 0, 0, 0, 0, 1, 2])
    first, second = (score_slides(run, values, slide, seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    alone = first[first["tiles"] == 1]
    assert len(alone) == 2
    assert (alone["span"] == 0).all()
    begun = slide_chances(run, values, slide).slides.max(axis=1)
    np.testing.assert_allclose(first["probability"], begun)


def test_the_command_writes_attention_and_verdict_of_slides(
    run: Run, images: Manifest, tmp_path: Path
) -> None:
    images.write(tmp_path / "t.csv")
    out = tmp_path / "out"
    words = ("explain", run.folder, tmp_path / "t.csv", "-o", out)
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "attention is faithful: Area between attention and chance" in said
    attention, rows = (
        pd.read_csv(out / name) for name in ("attention.csv", "attention-faithfulness.csv")
    )
    assert set(attention["slide"]) == set(images.in_split("test").frame["slide"])
    np.testing.assert_allclose(attention.groupby("slide")["attention"].sum(), 1, atol=1e-4)
    assert {"faithful"} <= set(rows["finding"])
    assert not rows["seen"].any()
