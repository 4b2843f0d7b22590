"""BCI: levels and official split from the name, no patients, and never the answer stain."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.data.bci import read_bci
from eosin.data.scan import count_table
from eosin.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny ``BCI_dataset``: the same fields under H&E and under IHC, the bytes JPEG."""
    root = tmp_path / "BCI_dataset"
    for name in ("00013_train_2+.png", "00014_train_0.png", "00002_test_3+.png"):
        for stain in ("HE", "IHC"):
            draw(root / stain / name.split("_")[1] / name)
    return root


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", np.full((32, 32, 3), 180, np.uint8))
    assert done
    path.write_bytes(data.tobytes())


def test_levels_are_ordered_and_the_official_test_set_stays_the_test_split(tree: Path) -> None:
    manifest = read_bci(tree).manifest
    assert manifest.task.classes == ("0", "1+", "2+", "3+")
    assert manifest.task.ordinal
    rows = {Path(row.path).name: row for row in manifest.frame.itertuples()}
    assert rows["00013_train_2+.png"].label == "2+"
    assert rows["00013_train_2+.png"].split == "train"
    assert (rows["00002_test_3+.png"].label, rows["00002_test_3+.png"].split) == ("3+", "test")
    assert count_table(manifest)["images"].to_dict() == {"0": 1, "1+": 0, "2+": 1, "3+": 1}


def test_the_same_fields_stained_for_her2_are_never_read(tree: Path) -> None:
    read = read_bci(tree)
    assert len(read.manifest) == 3
    assert {path.parent.parent.name for path in read.manifest.paths} == {"HE"}
    assert read.skipped == ()
    (tree / "HE").rename(tree / "hematoxylin")
    assert {path.parent.parent.name for path in read_bci(tree).manifest.paths} == {"hematoxylin"}
    for folder in ("IHC", "IHC/test"):
        with pytest.raises(DataError, match=r"holds IHC images; name the folder that holds HE"):
            read_bci(tree / folder)


def test_the_he_folder_one_of_its_parts_and_a_bare_folder_read_alike(
    tree: Path, tmp_path: Path
) -> None:
    assert len(read_bci(tree / "HE").manifest) == 3
    assert len(read_bci(tree / "HE" / "train").manifest) == 2
    bare = tmp_path / "bare"
    for name in ("00002_test_3+.png", "00014_train_0.png"):
        draw(bare / name)
    assert sorted(read_bci(bare).manifest.frame["split"]) == ["test", "train"]


def test_folders_and_names_are_known_in_any_case(tree: Path) -> None:
    (tree / "HE").rename(tree / "he")
    (tree / "IHC").rename(tree / "ihc")
    (tree / "he/train").rename(tree / "he/Train")
    draw(tree / "he/Train/00015_TRAIN_1+.PNG")
    read = read_bci(tree)
    assert read.skipped == ()
    assert {path.parent.parent.name for path in read.manifest.paths} == {"he"}
    assert sorted(read.manifest.frame["split"]) == ["test", "train", "train", "train"]
    with pytest.raises(DataError, match=r"holds IHC images; name the folder that holds HE"):
        read_bci(tree / "ihc" / "test")


def test_it_says_that_patients_are_unknown_and_that_labels_are_of_slides(tree: Path) -> None:
    manifest = read_bci(tree).manifest
    assert manifest.protocol.name == "official split (patients unknown), test folder"
    assert not manifest.protocol.patients_known
    assert manifest.patients == ("00002_test_3+", "00013_train_2+", "00014_train_0")
    assert any("carry no patient" in note for note in manifest.notes)
    assert any("whole slides" in note for note in manifest.notes)


def test_other_names_and_broken_files_are_left_out_with_a_reason(tree: Path) -> None:
    (tree / "HE/train/00015_train_4+.png").write_bytes(b"\xff\xd8\xff")
    (tree / "HE/train/00016_train_1+.png").write_bytes(b"\xff\xd8\xff\xe0")
    read = read_bci(tree)
    reasons = {bad.path.name: bad.reason for bad in read.skipped}
    assert reasons["00015_train_4+.png"].startswith("not a BCI name: '00015_train_4+.png'")
    assert reasons["00016_train_1+.png"].startswith("truncated")
    assert len(read.manifest) == 3


def test_only_what_is_wrong_beside_the_images_of_he_is_named(tree: Path, tmp_path: Path) -> None:
    (tree / "HE").rename(tree / "hematoxylin")
    for folder in ("hematoxylin", "IHC"):
        (tree / folder / "00016_train_1+.webp").write_bytes(b"RIFF")
    read = read_bci(tree)
    assert [bad.path.parent.name for bad in read.skipped] == ["hematoxylin"]


def test_a_folder_without_bci_images_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "IHC" / "train" / "00013_train_2+.png")
    with pytest.raises(DataError, match="holds only IHC images"):
        read_bci(tmp_path)
    with pytest.raises(DataError, match=r"gone: no such folder.*00013_train_2\+.png"):
        read_bci(tmp_path / "gone")


def test_the_four_real_images_read_though_their_bytes_are_jpeg(real_data: Path) -> None:
    read = read_bci(real_data / "bci")
    assert read.skipped == ()
    assert sorted(read.manifest.frame["label"]) == ["0", "1+", "2+", "3+"]
    assert set(read.manifest.frame["split"]) == {"test"}
