"""Galleries choose and order images, and make them small."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from eosin.reporting.galleries import (
    Caption,
    mistakes_gallery,
    sample_gallery,
    thumbnail,
    tiles_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Experiment


def test_mistakes_come_with_the_most_confident_wrong_answer_first(experiment: Experiment) -> None:
    gallery = mistakes_gallery(experiment.predictions())
    ((_, tiles),) = gallery.groups
    said = [float(tile.caption.title.rpartition(" ")[2]) for tile in tiles]
    assert said == sorted(said, reverse=True)
    assert said[0] == 0.898  # the 30th image, at 0.55 + 0.012 x 29
    assert tiles[0].caption.title == "Predicted benign, 0.898"
    assert tiles[0].caption.lines == ("Truth: malignant", "Patient 14-11951, 400×")
    assert tiles[0].caption.name == "SOB_M_DC-14-11951-400-003.png"
    assert len(tiles) == 6
    assert "6 of 36 images were misclassified" in gallery.lead


def test_a_gallery_stops_at_its_length_and_says_how_many_there_are(experiment: Experiment) -> None:
    gallery = mistakes_gallery(experiment.predictions(), most=2)
    assert len(gallery.groups[0][1]) == 2
    assert "6 of 36 images were misclassified; here are the 2" in gallery.lead


def test_without_a_mistake_the_gallery_says_so(experiment: Experiment) -> None:
    right = [0.9 if label == "malignant" else 0.1 for label in experiment.rows["label"]]
    gallery = mistakes_gallery(experiment.predictions(right))
    assert gallery.lead == "None of 36 images was misclassified."
    assert gallery.groups == (("", ()),)


@pytest.mark.parametrize(
    ("known", "patient", "lead", "line"),
    [
        (True, "14-11951", "wrong answer, from 6 patients. Look", "Patient 14-11951, 400×"),
        (True, "", "wrong answer, from 6 patients. Look", "400×"),
        (False, "SOB_M_DC-14-11951-400-003.png", "wrong answer. Look for what", "400×"),
    ],
)
def test_no_patient_is_named_or_counted_who_is_not_known(
    experiment: Experiment, known: bool, patient: str, lead: str, line: str
) -> None:
    table = experiment.predictions()
    named = table.frame["path"].str.contains("14-11951-400-003")
    frame = table.frame.assign(patient=table.frame["patient"].where(~named, patient))
    gallery = mistakes_gallery(replace(table, frame=frame), patients=known)
    assert lead in gallery.lead
    assert gallery.groups[0][1][0].caption.lines == ("Truth: malignant", line)


def test_samples_come_from_as_many_patients_as_there_is_room_for(experiment: Experiment) -> None:
    predictions = experiment.predictions()
    (heading, tiles), _ = sample_gallery(predictions, each=4).groups
    assert heading == "benign · 18 images, 6 patients"
    assert len({tile.caption.lines[0].partition(",")[0] for tile in tiles}) == 4
    assert {tile.caption.lines[0].partition(", ")[2] for tile in tiles} == {"100×", "400×"}
    two = predictions.where(predictions.frame["patient"].isin(["14-22549", "14-9133"]))
    (_, tiles), *rest = sample_gallery(two, each=4).groups
    assert rest == []  # no malignant image, no heading for it
    patients = [tile.caption.lines[0].partition(",")[0] for tile in tiles]
    assert patients == ["14-22549", "14-9133", "14-22549", "14-9133"]


def test_samples_name_no_patient_who_is_not_known(experiment: Experiment) -> None:
    (heading, tiles), _ = sample_gallery(experiment.predictions(), patients=False).groups
    assert heading == "benign · 18 images"
    assert {tile.caption.lines for tile in tiles} == {("100×",), ("400×",)}


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(460, 700, (220, 145)), (1024, 1024, (220, 220)), (50, 50, (50, 50)), (3, 900, (220, 1))],
)
def test_a_thumbnail_keeps_its_shape_within_220_pixels(
    height: int, width: int, wanted: tuple[int, int]
) -> None:
    data, *size = thumbnail(np.full((height, width, 3), 180, np.uint8))
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert (*size,) == wanted == decoded.shape[1::-1]


def test_a_thumbnail_keeps_red_red() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    data, _, _ = thumbnail(red)
    blue, green, kept = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[32, 32]
    assert abs(int(kept) - 200) < 6
    assert max(blue, green) < 6


def test_a_file_that_is_no_image_becomes_a_tile_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "SOB_B_A-14-22549AB-100-001.png"
    path.write_bytes(b"")
    (tile,) = tiles_of([(path, Caption())])
    assert tile.source == ""
    assert tile.alt.startswith("SOB_B_A-14-22549AB-100-001.png: is empty (0 bytes)")


def test_a_tile_tells_a_reader_who_cannot_see_it_what_it_shows(experiment: Experiment) -> None:
    ((_, tiles),) = mistakes_gallery(experiment.predictions(), most=1).groups
    assert tiles[0].alt == (
        "Predicted benign, 0.898, Truth: malignant, Patient 14-11951, 400×, "
        "SOB_M_DC-14-11951-400-003.png"
    )
    data = base64.b64decode(tiles[0].source.partition(",")[2])
    assert data[:3] == b"\xff\xd8\xff"  # a JPEG
