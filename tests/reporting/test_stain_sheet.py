"""The stain sheet: every image and method in its place, and what cannot be shown is said."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.errors import DataError
from eosin.pixels.reading import read_image
from eosin.reporting.overlay import scaled
from eosin.reporting.stain_sheet import write_stain_sheet


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tissue")
    write_synthetic(out, SyntheticOptions(patients=4, images=8, size=64, seed=1))
    return out / "images"


def test_a_sheet_shows_the_original_and_seven_pictures_of_each_image(
    images: Path, tmp_path: Path
) -> None:
    assert write_stain_sheet([images], tmp_path / "sheet.png", most=2) == ()
    sheet = read_image(tmp_path / "sheet.png")
    first = scaled(read_image(sorted(images.glob("*.png"))[0]), 320 / 64)
    apart = cv2.matchTemplate(sheet[:, :340], first, cv2.TM_SQDIFF)
    _, _, (left, top), _ = cv2.minMaxLoc(apart)
    band = sheet[top : top + 320]  # the first row of tiles
    np.testing.assert_array_equal(band[:, left : left + 320], first)
    inked = np.concatenate([[False], (band < 250).any(axis=(0, 2)), [False]])
    edges = np.flatnonzero(np.diff(inked.astype(int)))
    assert np.diff(edges)[::2].tolist() == pytest.approx([320] * 8, abs=3)


def test_more_images_make_a_taller_sheet_of_the_same_width(images: Path, tmp_path: Path) -> None:
    shapes = []
    for most in (1, 2, 3):
        write_stain_sheet([images], tmp_path / "sheet.png", most=most)
        shapes.append(read_image(tmp_path / "sheet.png").shape)
    assert len({wide for _, wide, _ in shapes}) == 1
    second, third = np.diff([tall for tall, _, _ in shapes])
    assert 320 < second == pytest.approx(third, abs=1)


def test_an_unreadable_file_is_named_and_the_others_are_drawn(images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "SOB_M_DC-14-2523-100-001.png"
    broken.write_bytes(b"no image")
    (skipped,) = write_stain_sheet([broken, *sorted(images.glob("*.png"))[:1]], tmp_path / "s.png")
    assert skipped.path == broken
    assert (tmp_path / "s.png").is_file()


def test_no_image_or_no_stain_ends_in_a_sentence(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image found"):
        write_stain_sheet([tmp_path / "empty"], tmp_path / "s.png")
    blank = tmp_path / "blank.png"
    assert cv2.imwrite(str(blank), np.full((64, 64, 3), 255, np.uint8))
    with pytest.raises(DataError, match="blank"):
        write_stain_sheet([blank], tmp_path / "s.png")
    with pytest.raises(DataError, match=r"blank\.png: cannot be the stain target"):
        write_stain_sheet([images], tmp_path / "s.png", target=blank)
