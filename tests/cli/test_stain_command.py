"""`eosin stain` and `eosin train --stain` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.pixels.reading import read_image

PROBE = ["--freeze", "--backbone", "test_efficientnet", "--weights", "none", "--image-size", "32"]


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    shown = f"{result.output}\n{result.exception!r}"
    assert result.exit_code == code, shown
    return result.output


@pytest.fixture
def table(drawn_breakhis: Manifest, tmp_path: Path) -> Path:
    split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0).write(tmp_path / "s.csv")
    return tmp_path / "s.csv"


def test_copies_are_written_continued_and_train(table: Path, tmp_path: Path) -> None:
    words = ("stain", "normalize", table, "-o", tmp_path / "v", "--method", "macenko")
    said = run(*words)
    assert "48 copies (0 were there already, 0 show no stain and are unchanged)" in said
    assert "training images, by macenko, per image" in said
    assert "48 were there already" in run(*words)
    copies = read_manifest(tmp_path / "v" / "manifest.csv")
    assert copies.frame["stain_note"].eq("").all()
    run("train", tmp_path / "v" / "manifest.csv", "-o", tmp_path / "run", *PROBE)


def test_an_unreadable_image_ends_in_exit_code_3_and_a_table(table: Path, tmp_path: Path) -> None:
    manifest = read_manifest(table)
    broken = tmp_path / "SOB_M_DC-14-7777-100-001.png"
    broken.write_bytes(b"no image")
    rows = table.read_text().splitlines()
    _, _, rest = rows[1].partition(",")
    table.write_text("\n".join([rows[0], f"{broken},{rest}", *rows[2:]]) + "\n")
    said = run("stain", "normalize", table, "-o", tmp_path / "v", "--per", "patient", code=3)
    assert "1 file was skipped; its name and reason: " in said
    assert str(broken) in (tmp_path / "v" / "errors.csv").read_text()
    assert len(read_manifest(tmp_path / "v" / "manifest.csv")) == len(manifest) - 1


def test_images_one_pixel_wide_or_high_are_drawn(drawn_breakhis: Manifest, tmp_path: Path) -> None:
    rows = [read_image(path)[:1] for path in drawn_breakhis.paths]
    wide = np.concatenate(rows * 3, axis=1)[:, :5000]
    folder = tmp_path / "thin"
    folder.mkdir()
    for name, image in (("wide.png", wide), ("tall.png", wide.transpose(1, 0, 2))):
        Image.fromarray(np.ascontiguousarray(image)).save(folder / name)
    run("stain", "show", folder, "-o", tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png")
    pink = (sheet[:, :, 0].astype(int) - sheet[:, :, 1]) > 40
    assert pink.any(axis=1).sum() > 200  # the tall one is seen, from its top to its foot
    assert pink.any(axis=0).sum() > 500  # and the wide one, in several tiles


def test_the_sheet_is_drawn(drawn_breakhis: Manifest, tmp_path: Path) -> None:
    folder = drawn_breakhis.paths[0].parent
    run("stain", "show", folder, "-o", tmp_path / "sheet.png", "--most", "1")
    assert read_image(tmp_path / "sheet.png").shape[1] > 2000


def test_a_training_with_a_stain_is_predicted_with_it(table: Path, tmp_path: Path) -> None:
    words = ["--stain", "reinhard", "--stain-per", "patient"]
    run("train", table, "-o", tmp_path / "run", *PROBE, *words)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["preprocessing"]["stain"]["method"] == "reinhard"
    assert record["preprocessing"]["stain"]["per"] == "patient"
    run("predict", tmp_path / "run", table, "-o", tmp_path / "p.csv")
    assert "stain_note" in (tmp_path / "p.csv").read_text().splitlines()[0]


def test_an_unknown_stain_says_which_there_are(table: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["train", str(table), "-o", str(tmp_path / "run"), "--stain", "ruifrok"]
    )
    assert "reinhard" in str(result.exception)
