"""Any folder of classes: natural order, the patient in the name, plain words where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.data.folder import read_folder
from eosin.data.scan import count_table
from eosin.errors import ConfigError, DataError


def encoded() -> bytes:
    done, data = cv2.imencode(".png", np.full((50, 50, 3), 200, np.uint8))
    assert done
    return data.tobytes()


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded())


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
    coordinates = {Path(path).name: (x, y) for path, x, y in frame[["path", "x", "y"]].values}
    assert coordinates["10253_idx5_x501_y351_class1.png"] == ("501", "351")
    assert coordinates["9000_scan.png"] == ("", "")


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
        ("notes.txt", "is not read: its name ends in '.txt'"),
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


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Two classes under the folders of three splits, which are named as other tools name them."""
    for name in ("Train/0/7_a.png", "Train/1/8_a.png", "valid/0/9_a.png", "TEST/1/8_b.png"):
        draw(tmp_path / "idc" / name)
    return tmp_path / "idc"


def test_folders_named_as_splits_are_read_as_splits_not_as_classes(divided: Path) -> None:
    read = read_folder(divided)
    frame = read.manifest.frame
    assert read.skipped == ()
    assert read.manifest.task.classes == ("0", "1")
    assert frame["split"].tolist() == ["test", "train", "train", "val"]  # in the order of paths
    assert read.manifest.protocol.name == "image-level (patients unknown), train/val/test folders"
    assert not read.manifest.protocol.patients_known


def test_the_protocol_of_split_folders_is_named_by_what_is_known_of_patients(
    divided: Path,
) -> None:
    crossing = read_folder(divided, patient=r"^(\d+)_").manifest
    assert crossing.protocol.name == "image-level (leaky), train/val/test folders"
    assert "1 patients stand in more than one of the folders train, val, test: 8." in crossing.notes
    (divided / "TEST/1/8_b.png").rename(divided / "TEST/1/10_b.png")
    apart = read_folder(divided, patient=r"^(\d+)_").manifest
    assert apart.protocol.name == "patient-level, train/val/test folders"
    assert not apart.protocol.leaky
    apart.require_honest_name()


def test_images_beside_the_split_folders_are_left_out_with_the_reason(divided: Path) -> None:
    draw(divided / "more" / "0" / "11_a.png")
    draw(divided / "Train" / "12_a.png")
    read = read_folder(divided, patient=r"^(\d+)_")
    assert len(read.manifest) == 4
    assert {(bad.path.name, bad.reason.split(";")[0]) for bad in read.skipped} == {
        ("11_a.png", "lies in no class folder of a split"),
        ("12_a.png", "lies in no class folder of a split"),
    }


def test_a_lone_folder_named_test_and_a_patient_of_that_name_divide_nothing(tmp_path: Path) -> None:
    for name in ("test/0/7_a.png", "test/1/8_a.png"):
        draw(tmp_path / name)
    manifest = read_folder(tmp_path, patient=r"^(\d+)_").manifest
    assert set(manifest.frame["split"]) == {""}
    assert manifest.protocol.name == "unsplit"


def test_splits_inside_class_folders_are_refused_not_taken_for_classes(tmp_path: Path) -> None:
    for name in ("benign/train/a.png", "benign/test/b.png", "malignant/train/c.png"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"named \['test', 'train'\], which are splits, no classes"):
        read_folder(tmp_path)


def test_a_class_folder_that_is_a_link_is_a_class(patches: Path, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "7_a.png")
    (patches / "2").symlink_to(tmp_path / "elsewhere")
    read = read_folder(patches, patient=r"^(\d+)_")
    assert count_table(read.manifest)["images"].to_dict() == {"0": 2, "1": 2, "2": 1}
    assert read.skipped == ()


def empty(folder: Path) -> None:
    folder.mkdir()


def other_format(folder: Path) -> None:
    folder.mkdir()
    (folder / "7_a.webp").write_bytes(b"RIFF")
    (folder / "7_b.webp").write_bytes(b"RIFF")


def damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "7_a.png").touch()


def nobody(folder: Path) -> None:
    draw(folder / "a.png")


def broken_link(folder: Path) -> None:
    folder.symlink_to("/nowhere/at/all")


def same_again(folder: Path) -> None:
    folder.symlink_to("1")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty, "it is empty"),
        (other_format, r"2 skipped; 7_a.webp: is not read: its name ends in '.webp'"),
        (damaged, r"1 skipped; 7_a.png: is empty"),
        (nobody, r"1 skipped; a.png: the patient pattern '\^.* finds no patient in the name"),
        (broken_link, r"1 skipped; 2: is a broken link \(to /nowhere/at/all\)"),
        (same_again, r"1 skipped; 2: is a link to .*/idc/1, which counts already"),
    ],
)
def test_a_class_folder_of_which_nothing_can_be_used_is_an_error_not_a_class_fewer(
    patches: Path, make: Callable[[Path], None], words: str
) -> None:
    make(patches / "2")
    fault = rf"idc/2: nothing in this class folder can be used \(.*{words}"
    with pytest.raises(DataError, match=fault):
        read_folder(patches, patient=r"^(\d+)_")


def test_a_class_folder_that_cannot_be_listed_is_an_error(
    patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(patches / "2" / "7_a.png")
    listed = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "2":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"idc/2: nothing .*cannot be listed \(Permission denied\)"):
        read_folder(patches)


def test_a_class_that_other_folders_of_its_name_show_is_not_missed(tmp_path: Path) -> None:
    for name in ("8863/0/8863_a.png", "8863/1/8863_b.png", "10253/0/10253_a.png"):
        draw(tmp_path / name)
    (tmp_path / "10253/1").mkdir()
    (tmp_path / "newest").symlink_to("8863")
    read = read_folder(tmp_path, patient=r"^(\d+)_")
    assert read.manifest.task.classes == ("0", "1")
    assert [(bad.path.name, bad.reason.split(" /")[0]) for bad in read.skipped] == [
        ("newest", "is a link to")
    ]


def test_files_of_another_format_in_a_class_folder_are_named(patches: Path) -> None:
    (patches / "0/8863_more.webp").write_bytes(b"RIFF")
    (patches / "0/8863_scan").write_bytes(b"?")
    (patches / "README").write_text("IDC")
    read = read_folder(patches, patient=r"^(\d+)_")
    assert [(bad.path.name, bad.reason.split(";")[0]) for bad in read.skipped] == [
        ("8863_more.webp", "is not read: its name ends in '.webp'"),
        ("8863_scan", "is not read: its name has no ending"),
    ]


def test_an_image_linked_into_two_classes_counts_once(patches: Path) -> None:
    (patches / "0/8863_again.png").symlink_to("../1/8863_idx5_x1101_y951_class1.png")
    read = read_folder(patches, patient=r"^(\d+)_")
    assert count_table(read.manifest)["images"].to_dict() == {"0": 2, "1": 2}
    assert [bad.path.name for bad in read.skipped] == ["8863_again.png"]


def test_names_that_are_not_utf8_keep_their_bytes_and_give_valid_texts(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/t\xe9"))
    for name in (b"b\xe9nin/caf\xe9_1.png", b"malin/caf\xe9_2.png"):
        draw(root / os.fsdecode(name))
    manifest = read_folder(root, patient=r"^(.+)_", positive="malin").manifest
    assert manifest.task.classes == (r"b\xe9nin", "malin")
    assert (manifest.patients, manifest.dataset) == ((r"caf\xe9",), r"t\xe9")
    manifest.write(tmp_path / "m.csv")
    back = read_manifest(tmp_path / "m.csv")
    assert back.paths == manifest.paths
    assert all(path.is_file() for path in back.paths)
    assert back.fingerprint == manifest.fingerprint
    assert read_folder(root).manifest.patients == (
        r"b\xe9nin/caf\xe9_1.png",
        r"malin/caf\xe9_2.png",
    )


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
