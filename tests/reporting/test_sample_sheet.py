"""A sample grid of a manifest: every class, several patients, the odd file named; no training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.folder import read_folder
from eosin.errors import DataError
from eosin.reporting import sample_sheet
from eosin.reporting.panel import Cell, Heading
from eosin.reporting.sample_sheet import write_sample_sheet

COLOURS = {"benign": (230, 180, 210), "malignant": (120, 60, 150)}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two classes in two colours: four patients each, of whom the first has seven images of ten."""
    for label, colour in COLOURS.items():
        for number in range(10):
            path = tmp_path / "lab" / label / f"{label[0]}{max(0, number - 6)}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((60, 90, 3), colour[::-1], np.uint8))
    return read_folder(tmp_path / "lab", patient=r"^(\w\d)_").manifest


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """What is drawn, tile by tile."""
    drawn: list[Cell] = []
    draw = sample_sheet.draw_rows

    def keeping(rows: list[list[Cell]], heading: Heading) -> np.ndarray:
        drawn.extend(cell for row in rows for cell in row)
        return draw(rows, heading)

    monkeypatch.setattr(sample_sheet, "draw_rows", keeping)
    return drawn


def test_every_class_has_a_row_of_its_own_images_of_different_patients(
    manifest: Manifest, cells: list[Cell], tmp_path: Path
) -> None:
    assert write_sample_sheet(manifest, tmp_path / "grid.png", each=4) == ()
    assert [cell.title for cell in cells] == ["benign"] * 4 + ["malignant"] * 4
    for cell in cells:
        assert cell.picture[30, 30].tolist() == list(COLOURS[cell.title])
    patients = [cell.lines[0] for cell in cells[:4]]
    assert sorted(patients) == [f"patient b{number}" for number in range(4)]
    picture = cv2.imread(str(tmp_path / "grid.png"))
    assert picture is not None
    assert {tuple(pixel) for pixel in picture.reshape(-1, 3)} >= {
        colour[::-1] for colour in COLOURS.values()
    }


def test_the_same_seed_draws_the_same_grid_and_another_one_another(
    manifest: Manifest, cells: list[Cell], tmp_path: Path
) -> None:
    for seed in (1, 1, 2):
        write_sample_sheet(manifest, tmp_path / "grid.png", each=6, seed=seed)
    names = [cell.lines[-1] for cell in cells]
    assert names[:12] == names[12:24] != names[24:]


def test_a_file_that_cannot_be_read_is_named_and_another_stands_in(
    manifest: Manifest, cells: list[Cell], tmp_path: Path
) -> None:
    manifest.write(tmp_path / "m.csv")
    damaged = [path for path in manifest.paths if path.parent.name == "benign"][:9]
    for path in damaged:
        path.write_bytes(b"no image")
    words = ["data", "show", str(tmp_path / "m.csv"), "-o", str(tmp_path / "grid.png")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3, result.output
    assert "9 files were skipped" in result.output
    assert [cell.title for cell in cells] == ["benign", *["malignant"] * 6]
    for path in manifest.paths:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 20 images can be read"):
        write_sample_sheet(manifest, tmp_path / "other.png")
