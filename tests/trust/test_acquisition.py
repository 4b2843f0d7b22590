"""How an image was taken: what is measured, and what of it lies outside of a Run's own images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.reference import Acquisition
from eosin.data.synthetic import SyntheticOptions, synthetic_patients
from eosin.data.tissue import draw
from eosin.pixels.acquisition import ACQUISITION, jpeg_quality, measure
from eosin.pixels.reading import UInt8Image
from eosin.trust.acquisition import flags_of, learn_acquisition, stated_otherwise


def value(image: UInt8Image, name: str) -> float:
    return float(measure(image)[ACQUISITION.index(name)])


@pytest.fixture(scope="module")
def images() -> list[UInt8Image]:
    options = SyntheticOptions(patients=12, images=12, size=160, seed=1)
    drawn = synthetic_patients(options)
    return [
        draw(patient.tissue, size=160, seed=10 * index + number).image
        for index, patient in enumerate(drawn)
        for number in range(3)
    ]


@pytest.fixture(scope="module")
def known(images: list[UInt8Image]) -> Acquisition:
    measures = np.array([measure(image) for image in images])
    rows = pd.DataFrame({"magnification": "100", "path": [f"{n}.png" for n in range(len(images))]})
    return learn_acquisition(measures, np.repeat(np.arange(12), 3), rows)


def test_its_own_images_have_no_flag(images: list[UInt8Image], known: Acquisition) -> None:
    assert [flags_of(measure(image), known) for image in images] == [()] * len(images)


def test_what_shows_no_tissue_is_flagged_so(known: Acquisition) -> None:
    white = np.full((160, 160, 3), 250, np.uint8)
    text = cv2.putText(white.copy(), "Lorem ipsum", (5, 80), 0, 0.7, (0, 0, 0), 2)
    grey = np.repeat(np.tile(np.arange(160, dtype=np.uint8), (160, 1))[:, :, None], 3, axis=2)
    for image in (white, text, grey, np.zeros_like(white)):
        assert "no-tissue" in flags_of(measure(image), known)


def test_a_blurred_image_is_flagged_so(images: list[UInt8Image], known: Acquisition) -> None:
    for image in images[::6]:
        assert "blurred" in flags_of(measure(cv2.GaussianBlur(image, (0, 0), 5)), known)


def test_another_stain_is_flagged_so(images: list[UInt8Image], known: Acquisition) -> None:
    """Green for pink: no haematoxylin and eosin has it."""
    for image in images[::6]:
        assert "stain" in flags_of(measure(np.ascontiguousarray(image[:, :, [1, 0, 2]])), known)


def test_another_size_is_flagged_and_a_turned_image_is_not(
    images: list[UInt8Image], known: Acquisition
) -> None:
    half = cv2.resize(images[0], (80, 80), interpolation=cv2.INTER_AREA)
    assert "other-size" in flags_of(measure(half), known)
    assert "other-size" not in flags_of(measure(np.rot90(images[0][:150]).copy()), known)


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("SOB_M_DC-14-2523-400-010.png", "", "400X"),
        ("SOB_M_DC-14-2523-100-010.png", "", ""),
        ("slide7_40x_003.png", "", "40X"),
        ("slide7_350x230.png", "", ""),
        ("max8.png", "", ""),
        ("a.png", "200", "200X"),
        ("a.png", "100", ""),
        ("a.png", "", ""),
    ],
)
def test_another_magnification_is_known_by_manifest_or_name(
    known: Acquisition, name: str, column: str, said: str
) -> None:
    rows = pd.DataFrame({"magnification": [column], "path": [f"/images/{name}"]})
    assert stated_otherwise(rows, known) == [said]


def test_micrometres_a_pixel_decide_where_both_sides_state_them() -> None:
    rows = pd.DataFrame({"magnification": "", "path": ["a", "b"], "mpp": ["0.50", "0.48"]})
    known = learn_acquisition(np.array([np.ones(len(ACQUISITION))] * 2), np.arange(2), rows)
    new = pd.DataFrame({"magnification": "", "path": ["c"] * 3, "mpp": ["0.25", "0.52", ""]})
    assert stated_otherwise(new, known) == ["0.25 um/px", "", ""]


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(tmp_path: Path, quality: int) -> None:
    path = tmp_path / "a.png"  # whatever its name
    _, data = cv2.imencode(
        ".jpg", np.zeros((16, 16, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    path.write_bytes(data.tobytes())
    assert jpeg_quality(path) == pytest.approx(quality, abs=2)
    assert cv2.imwrite(str(tmp_path / "b.png"), np.zeros((16, 16, 3), np.uint8))
    assert np.isnan(jpeg_quality(tmp_path / "b.png"))


def test_the_quality_of_a_jpeg_is_not_that_of_the_thumbnail_in_its_head(tmp_path: Path) -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    small, whole = (
        cv2.imencode(".jpg", black, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        for quality in (95, 50)
    )
    exif = b"Exif\0\0" + bytes(5_000) + small
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(whole[:2] + segment + whole[2:])
    assert jpeg_quality(tmp_path / "a.jpg") == pytest.approx(50, abs=2)
    (tmp_path / "b.jpg").write_bytes(whole[:2] + segment)
    assert np.isnan(jpeg_quality(tmp_path / "b.jpg"))


def test_sharpness_falls_with_blur_and_black_is_counted(images: list[UInt8Image]) -> None:
    blurs = [images[0], *(cv2.GaussianBlur(images[0], (0, 0), sigma) for sigma in (1, 2, 4))]
    sharpness = [value(image, "sharpness") for image in blurs]
    assert sharpness == sorted(sharpness, reverse=True)
    half = images[0].copy()
    half[:, :80] = 0
    assert value(half, "black") == pytest.approx(0.5, abs=0.02)
