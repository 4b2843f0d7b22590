"""Any folder of classes: natural order, the patient in the name, plain words where it is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.data.folder import read_folder
from eosin.data.scan import count_table
from eosin.errors import ConfigError, DataError


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((50, 50, 3), 200, np.uint8))


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """Patches of two slides as in the IDC data."""
    for name in (
        "0/8863_idx5_x1001_y951_class0.png",
        "0/8863_idx5_x1051_y951_class0.png",
        "1/8863_idx5_x1101_y951_class1.png",
        "1/10253_idx5_x501_y351_class1.png",
    ):
        draw(tmp_path / "idc" / name)
    return tmp_path / "idc"


def test_the_first_group_of_the_pattern_is_the_patient(patches: Path) -> None:
    manifest = read_folder(patches, patient=r"^(\d+)_").manifest
    assert manifest.patients == ("10253", "8863")
    assert manifest.task.classes == ("0", "1")
    assert manifest.dataset == "idc"
    assert manifest.protocol.patients_known
    assert count_table(manifest)["patients"].to_dict() == {"0": 1, "1": 2}


def test_the_place_of_a_patch_on_its_slide_is_kept(patches: Path) -> None:
    draw(patches / "1/9000_scan.png")
    frame = read_folder(patches, patient=r"^(\d+)_").manifest.frame
    places = {Path(path).name: (x, y) for path, x, y in frame[["path", "x", "y"]].values}
    assert places["10253_idx5_x501_y351_class1.png"] == ("501", "351")
    assert places["9000_scan.png"] == ("", "")


def test_without_a_pattern_each_image_is_its_own_patient_and_that_is_said(patches: Path) -> None:
    manifest = read_folder(patches).manifest
    assert len(manifest.patients) == 4
    assert "1/10253_idx5_x501_y351_class1.png" in manifest.patients
    assert not manifest.protocol.patients_known
    assert any(note.startswith("No patient pattern was given") for note in manifest.notes)
    manifest.write(patches.parent / "idc.csv")
    assert not read_manifest(patches.parent / "idc.csv").protocol.patients_known


def test_a_name_without_a_patient_is_left_out_with_the_pattern_in_the_reason(
    patches: Path,
) -> None:
    draw(patches / "0/control.png")
    draw(patches / "stray_1.png")
    (patches / "0/8863_idx5_x1_y1_class0.png").touch()
    (patches / "0/notes.txt").write_text("not an image")
    read = read_folder(patches, patient=r"^(\d+)_")
    assert [(bad.path.name, bad.reason.split(";")[0]) for bad in read.skipped] == [
        ("8863_idx5_x1_y1_class0.png", "is empty (0 bytes)"),
        ("control.png", r"the patient pattern '^(\\d+)_' finds no patient in the name"),
        ("stray_1.png", "lies in no class folder"),
    ]
    assert len(read.manifest) == 4


def test_classes_are_ordered_as_a_person_counts(tmp_path: Path) -> None:
    for grade in ("grade 10", "grade 2", "Grade 1", "grade 0"):
        draw(tmp_path / grade / "a.png")
    task = read_folder(tmp_path, ordinal=True).manifest.task
    assert task.classes == ("grade 0", "Grade 1", "grade 2", "grade 10")
    assert task.ordinal
    assert task.positive is None


def test_the_last_of_two_classes_is_positive_unless_another_is_named(patches: Path) -> None:
    by_order = read_folder(patches, patient=r"^(\d+)_").manifest
    assert by_order.task.positive == "1"
    assert by_order.notes == ("The positive class is '1': the last in order.",)
    named = read_folder(patches, patient=r"^(\d+)_", positive="0").manifest
    assert (named.task.positive, named.notes) == ("0", ())
    with pytest.raises(ConfigError, match=r"positive class 'IDC' must be one .*\['0', '1'\]"):
        read_folder(patches, positive="IDC")


def test_classes_below_patient_folders_read_as_well(tmp_path: Path) -> None:
    for name in ("8863/0/8863_a.png", "8863/1/8863_b.png", "10253/0/10253_a.png"):
        draw(tmp_path / name)
    manifest = read_folder(tmp_path, patient=r"^(\d+)_").manifest
    assert manifest.task.classes == ("0", "1")
    assert manifest.patients == ("10253", "8863")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [(r"^\d+_", "has no group"), (r"^(\d+_", "is no regular expression")],
)
def test_a_pattern_that_cannot_give_a_patient_is_refused(
    patches: Path, pattern: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read_folder(patches, patient=pattern)


def test_a_folder_with_one_class_or_none_is_named_with_the_fix(tmp_path: Path) -> None:
    draw(tmp_path / "idc" / "1" / "a.png")
    with pytest.raises(DataError, match=r"idc: holds images of one class only \('1'\).*above"):
        read_folder(tmp_path / "idc")
    with pytest.raises(DataError, match=r"none of 1 image files.*lies in no class folder"):
        read_folder(tmp_path / "idc" / "1")
    with pytest.raises(DataError, match="gone: no such folder"):
        read_folder(tmp_path / "gone")


def test_the_real_patches_of_fifteen_patients_are_all_read(real_data: Path) -> None:
    read = read_folder(real_data / "idc", patient=r"^(\d+)_")
    assert read.skipped == ()
    assert len(read.manifest) == 6953
    assert len(read.manifest.patients) == 15
    both = read.manifest.frame.groupby("patient")["label"].nunique()
    assert sorted(both[both == 2].index) == ["8863", "8865", "8867", "8975"]
