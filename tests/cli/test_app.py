"""The command line: the main job as a user types it, and errors that help."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.cli.app import app

PROBE = ["--freeze", "--backbone", "test_efficientnet", "--weights", "none", "--image-size", "32"]


def run(*words: object, code: int = 0) -> str:
    """Run a command in this process; its output, once its exit code is what it should be."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    shown = f"{result.output}\n{result.exception!r}"
    assert result.exit_code == code, shown
    return result.output


def run_apart(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as a shell does."""
    command = [sys.executable, "-m", "eosin", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def images(drawn_breakhis: Manifest) -> Path:
    return drawn_breakhis.paths[0].parent


def test_the_main_job_from_a_folder_to_a_report(images: Path, tmp_path: Path) -> None:
    said = run("data", "breakhis", images, "-o", tmp_path / "m.csv")
    assert "48 images, 12 patients (4 to 4 images each, median 4)" in said
    said = run("split", tmp_path / "m.csv", "-o", tmp_path / "s.csv", "--folds", 3, "--seed", 7)
    assert "patient-level, 3-fold" in said
    assert re.search(r"part +images +patients +benign +malignant", said)
    assert re.search(r"fold 1 +16 +4 +8 \(2\) +8 \(2\)", said)
    run("train", tmp_path / "s.csv", "-o", tmp_path / "run", *PROBE, "--fold", "all")
    table = tmp_path / "run" / "predictions.csv"
    said = run("evaluate", table, "-o", tmp_path / "e.json", "--resamples", 200)
    assert "roc_auc" in said
    assert json.loads((tmp_path / "e.json").read_text())["images"] == 48
    run("report", tmp_path / "run", table, "-o", tmp_path / "report.html")
    assert "patient-level, 3-fold" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_published_protocol_is_allowed_and_called_leaky_on_every_page(
    images: Path, tmp_path: Path
) -> None:
    run("data", "breakhis", images, "-o", tmp_path / "m.csv")
    shares = ["--by", "image", "--fractions", 0.70, 0.15, 0.15]
    said = run("split", tmp_path / "m.csv", "-o", tmp_path / "s.csv", *shares)
    assert "image-level (leaky)" in said
    run("train", tmp_path / "s.csv", "-o", tmp_path / "run", *PROBE)
    said = run("predict", tmp_path / "run", tmp_path / "s.csv", "-o", tmp_path / "p.csv")
    assert "image-level (leaky)" in said
    run("evaluate", tmp_path / "p.csv", "-o", tmp_path / "e.json", "--resamples", 200)
    provenance = json.loads((tmp_path / "e.json").read_text())["provenance"]
    assert "image-level (leaky)" in provenance["protocol"]["name"]
    run("report", tmp_path / "run", tmp_path / "p.csv", "-o", tmp_path / "report.html")
    assert "image-level (leaky)" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_skipped_files_end_in_exit_code_3_and_a_table(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in sorted(images.iterdir())[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "SOB_M_DC-14-7777-100-001.png").touch()
    (folder / "holiday.png").write_bytes(sorted(images.iterdir())[0].read_bytes())
    said = run("data", "breakhis", folder, "-o", tmp_path / "m.csv", code=3)
    assert "2 files were skipped" in said
    errors = pd.read_csv(tmp_path / "m.csv.errors.csv")
    assert {Path(file).name for file in errors["file"]} == {
        "SOB_M_DC-14-7777-100-001.png",
        "holiday.png",
    }
    assert len(read_manifest(tmp_path / "m.csv")) == 4


def test_an_error_is_one_line_with_the_fix_and_exit_code_1(tmp_path: Path) -> None:
    done = run_apart("split", tmp_path / "none.csv", "-o", tmp_path / "s.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_suggests_the_nearest(images: Path, tmp_path: Path) -> None:
    run("data", "breakhis", images, "-o", tmp_path / "m.csv")
    run("split", tmp_path / "m.csv", "-o", tmp_path / "s.csv")
    config = tmp_path / "mine.toml"
    config.write_text("bach_size = 8\n")
    done = run_apart("train", tmp_path / "s.csv", "-o", tmp_path / "run", "--config", config)
    assert done.returncode == 1
    assert "did you mean 'batch_size'" in done.stderr


def test_the_audit_writes_a_page(images: Path, tmp_path: Path) -> None:
    run("data", "breakhis", images, "-o", tmp_path / "m.csv")
    run("data", "audit", tmp_path / "m.csv", "-o", tmp_path / "audit.html")
    assert "<html" in (tmp_path / "audit.html").read_text(encoding="utf-8")


def test_the_audit_names_the_files_that_it_cannot_read_and_ends_with_3(
    images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    run("data", "breakhis", folder, "-o", tmp_path / "m.csv")
    spoilt = read_manifest(tmp_path / "m.csv").paths[5]
    spoilt.write_bytes(spoilt.read_bytes()[:-40])
    said = run("data", "audit", tmp_path / "m.csv", code=3)
    assert "1 file was skipped; its name and reason: " in said
    (row,) = pd.read_csv(tmp_path / "m.csv.audit.errors.csv").itertuples(index=False)
    assert (Path(row.file), "truncated" in row.reason) == (spoilt, True)
    assert not (tmp_path / "m.csv.errors.csv").exists()


def test_synthetic_her2_images_are_drawn_read_and_kept_in_their_splits(tmp_path: Path) -> None:
    options = ["--kind", "her2", "--patients", 8, "--images", 16, "--size", 64]
    said = run("data", "synthetic", tmp_path / "her2", *options)
    assert "16 images, patients unknown" in said
    manifest = read_manifest(tmp_path / "her2" / "manifest.csv")
    assert manifest.task.classes == ("0", "1+", "2+", "3+")
    assert {"train", "test"} == set(manifest.frame["split"])


def test_synthetic_images_bear_the_magnification_that_was_asked_for(tmp_path: Path) -> None:
    options = ["--magnification", 200, "--patients", 2, "--images", 2, "--size", 64]
    assert "200X" in run("data", "synthetic", tmp_path / "drawn", *options)
    drawn = read_manifest(tmp_path / "drawn" / "manifest.csv").frame
    assert set(drawn["magnification"]) == {"200"}


def test_model_and_lr_are_other_words_for_backbone_and_learning_rate(
    images: Path, tmp_path: Path
) -> None:
    run("data", "breakhis", images, "-o", tmp_path / "m.csv")
    run("split", tmp_path / "m.csv", "-o", tmp_path / "s.csv", "--seed", 1)
    words = ["--model", "test_efficientnet", "--lr", "0.003", *PROBE[:1], *PROBE[3:]]
    said = run("train", tmp_path / "s.csv", "-o", tmp_path / "run", *words)
    assert "its BatchNorm was never trained" in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["backbone"] == "test_efficientnet"
    assert record["training"]["learning_rate"] == 0.003
