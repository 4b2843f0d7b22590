"""BreakHis: names, patients, subtypes, official folds, and what is left out."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.data.breakhis import SUBTYPE, BreakHisName, read_breakhis
from eosin.data.scan import count_table
from eosin.errors import ConfigError, DataError

# One name a line as in the full dataset; 14-13412 stands under DC and LC there, and the blocks of
# 14-22549 are three slides of one accession number.
NAMES = (
    "SOB_B_A-14-22549AB-100-001.png",
    "SOB_B_A-14-22549CD-100-001.png",
    "SOB_B_A-14-22549G-40-001.png",
    "SOB_B_TA-14-3411F-40-001.png",
    "SOB_M_DC-14-13412-100-001.png",
    "SOB_M_LC-14-13412-100-001.png",
    "SOB_M_PC-15-190EF-400-012.png",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny tree with the folders of ``BreaKHis_v1`` and true names."""
    root = tmp_path / "BreaKHis_v1"
    breast = root / "histology_slides" / "breast"
    for name in NAMES:
        kind = "benign" if "_B_" in name else "malignant"
        draw(breast / kind / "SOB" / name.rsplit("-", 2)[0] / name)
    (root / "README.txt").write_text("BreaKHis 1.0")
    (breast / "count_files.sh").write_text("ls | wc -l")
    return root


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = sum(path.name.encode()) % 200
    assert cv2.imwrite(str(path), np.full((23, 35, 3), colour, np.uint8))


def folds_csv(path: Path, rows: list[tuple[int, str, str]]) -> Path:
    """The table of folds as it is passed around: fold, mag, grp, filename with its folders."""
    lines = ["fold,mag,grp,filename"]
    for fold, group, name in rows:
        magnification = name.split("-")[3]
        folder = "BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis"
        lines.append(f"{fold},{magnification},{group},{folder}/{name}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_fact_is_read_from_the_name() -> None:
    assert BreakHisName.parse("SOB_B_A-14-22549AB-100-003.png") == BreakHisName(
        malignant=False,
        subtype="A",
        year=14,
        slide="14-22549AB",
        accession="14-22549",
        blocks="AB",
        magnification=100,
        sequence=3,
    )
    name = BreakHisName.parse("SOB_M_DC-14-2523-400-001.PNG")
    assert (name.malignant, name.subtype, name.slide, name.blocks) == (True, "DC", "14-2523", "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SOB_M_DC-14-2523-400.png", "not a BreakHis name"),
        ("SOB_X_DC-14-2523-400-001.png", "not a BreakHis name"),
        ("SOB_M_DC-14-2523-400-001 (1).png", "not a BreakHis name"),
        ("SOB_M_DC-14-2523-400-001_mask.png", "not a BreakHis name"),
        ("CMU-1.svs", "not a BreakHis name"),
        ("SOB_B_DC-14-2523-400-001.png", "'DC' is no benign type"),
        ("SOB_M_XX-14-2523-400-001.png", "'XX' is no malignant type"),
        ("SOB_M_DC-14-2523-300-001.png", "magnification 300 is none of"),
    ],
)
def test_a_name_that_breaks_the_scheme_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        BreakHisName.parse(name)
    assert name in str(caught.value)


def test_the_official_tree_is_walked_and_other_files_are_passed_over(tree: Path) -> None:
    read = read_breakhis(tree)
    frame = read.manifest.frame
    assert sorted(Path(path).name for path in frame["path"]) == sorted(NAMES)
    assert read.skipped == ()
    assert read.manifest.task.classes == ("benign", "malignant")
    assert read.manifest.task.positive == "malignant"
    row = frame[frame["subtype"] == "PC"].iloc[0]
    assert row["label"] == "malignant"
    assert row["magnification"] == "400"
    assert (row["slide"], row["year"], row["sequence"]) == ("15-190EF", "15", "12")
    assert (row["split"], row["fold"]) == ("", "")


def test_the_slides_of_one_accession_number_are_one_patient_unless_told_otherwise(
    tree: Path,
) -> None:
    by_accession = read_breakhis(tree).manifest
    assert by_accession.patients == ("14-13412", "14-22549", "14-3411", "15-190")
    by_slide = read_breakhis(tree, patient="slide").manifest
    assert {"14-22549AB", "14-22549CD", "14-22549G"} < set(by_slide.patients)
    assert "one person" in by_slide.notes[0]


def test_a_slide_labelled_both_ductal_and_lobular_is_one_patient_with_two_subtypes(
    tree: Path,
) -> None:
    frame = read_breakhis(tree, task="subtype").manifest.frame
    rows = frame[frame["patient"] == "14-13412"]
    assert sorted(rows["label"]) == ["DC", "LC"]
    binary = read_breakhis(tree).manifest.frame
    assert set(binary[binary["patient"] == "14-13412"]["label"]) == {"malignant"}


def test_the_subtype_task_has_all_eight_classes_in_order_even_where_some_are_absent(
    tree: Path,
) -> None:
    manifest = read_breakhis(tree, task="subtype").manifest
    assert manifest.task.classes == ("A", "F", "PT", "TA", "DC", "LC", "MC", "PC")
    table = count_table(manifest)
    expected = dict(zip(SUBTYPE.classes, (3, 0, 0, 1, 1, 1, 0, 1), strict=True))
    assert table["images"].to_dict() == expected
    assert table["patients"]["A"] == 1
    assert list(table.columns) == ["images", "patients", "40X", "100X", "400X"]
    assert table.loc["A", ["40X", "100X", "400X"]].tolist() == [1, 2, 0]


def test_magnifications_are_kept_as_asked_and_an_absent_or_unknown_one_is_said(tree: Path) -> None:
    frame = read_breakhis(tree, magnifications=[40, 400]).manifest.frame
    assert sorted(frame["magnification"]) == ["40", "40", "400"]
    with pytest.raises(DataError, match=r"has no image at \[200\]X, only at \[40, 100, 400\]X"):
        read_breakhis(tree, magnifications=[200])
    with pytest.raises(ConfigError, match=r"magnifications \[50\] are unknown"):
        read_breakhis(tree, magnifications=[50])


def test_bad_files_are_left_out_with_their_reasons_in_order_of_path(tree: Path) -> None:
    folder = tree / "histology_slides"
    first = folder.resolve() / "breast/benign/SOB/SOB_B_TA-14-3411F" / NAMES[3]
    whole = first.read_bytes()
    (folder / "SOB_B_F-14-9133-40-001.png").touch()
    (folder / "SOB_B_F-14-9133-40-002.png").write_bytes(whole[:-20])
    (folder / "SOB_B_F-14-9133-40-003.png").write_text("<html>")
    (folder / "copy.png").write_bytes(whole)
    (folder / "unzipped again").mkdir()
    (folder / "unzipped again" / NAMES[3]).write_bytes(whole)
    (folder / "._SOB_B_F-14-9133-40-004.png").touch()
    read = read_breakhis(tree)
    assert [(bad.path.name, re.split(r"; | \(", bad.reason)[0]) for bad in read.skipped] == [
        ("SOB_B_F-14-9133-40-001.png", "is empty"),
        ("SOB_B_F-14-9133-40-002.png", "truncated PNG"),
        ("SOB_B_F-14-9133-40-003.png", "is not an image that eosin reads"),
        ("copy.png", "not a BreakHis name: 'copy.png'"),
        (NAMES[3], f"has the name of {first}, which comes first"),
    ]
    assert len(read.manifest) == len(NAMES)


def test_an_image_in_two_formats_counts_once_and_stands_in_its_official_fold(
    tree: Path, tmp_path: Path
) -> None:
    folder = tree / "histology_slides"
    first = next(folder.rglob(NAMES[3]))
    whole = first.read_bytes()
    first.with_suffix(".tif").write_bytes(whole)
    new = "SOB_B_F-14-9133-40-001"
    (folder / f"{new}.TIFF").write_bytes(whole)
    (tmp_path / "dsfold1.txt").write_text(f"{new}.png|40|1|test\n{NAMES[4]}|100|1|train\n")
    read = read_breakhis(tree, folds=tmp_path / "dsfold1.txt")
    assert [bad.path.suffix for bad in read.skipped] == [".tif"]
    frame = read.manifest.frame.set_index(read.manifest.frame["path"].map(lambda p: Path(p).stem))
    assert (frame.loc[new, "split"], frame.loc[new, "slide"]) == ("test", "14-9133")


def test_a_wrong_root_is_named_with_the_names_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder; name the folder .*SOB_M_DC"):
        read_breakhis(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no image found; want .*SOB_M_DC"):
        read_breakhis(tmp_path)
    draw(tmp_path / "tile_1.png")
    with pytest.raises(DataError, match=r"none of 1 image files.*tile_1.png: not a BreakHis name"):
        read_breakhis(tmp_path)
    with pytest.raises(DataError, match=r"tile_1.png: is not a folder"):
        read_breakhis(tmp_path / "tile_1.png")


def test_an_official_fold_that_tests_one_label_of_a_patient_and_trains_on_the_other_is_leaky(
    tree: Path, tmp_path: Path
) -> None:
    # Fold 1 of the official five trains on 14-13412 as DC and tests on it as LC.
    folds = tmp_path / "dsfold1.txt"
    folds.write_text(
        "SOB_B_A-14-22549AB-100-001.png|100|1|train\n"
        "SOB_B_TA-14-3411F-40-001.png|40|1|test\n"
        "SOB_M_DC-14-13412-100-001.png|100|1|train\n"
        "SOB_M_LC-14-13412-100-001.png|100|1|test\n"
        "SOB_M_PC-15-190EF-400-012.png|400|1|train\n"
    )
    manifest = read_breakhis(tree, folds=folds).manifest
    split = {Path(path).name: split for path, split in manifest.frame[["path", "split"]].values}
    assert split["SOB_M_DC-14-13412-100-001.png"] == "train"
    assert split["SOB_M_LC-14-13412-100-001.png"] == "test"
    assert split["SOB_B_A-14-22549CD-100-001.png"] == ""
    assert manifest.protocol.name == "official split (leaky), fold 1"
    assert "Patients that cross the official fold 1: 14-13412." in manifest.notes
    assert any(note.startswith("2 images are in no part") for note in manifest.notes)


def test_one_fold_of_a_table_of_folds_is_taken_by_its_number(tree: Path, tmp_path: Path) -> None:
    benign, malignant = NAMES[3], NAMES[6]
    rows = [(1, "train", benign), (1, "test", malignant)]
    rows += [(2, "test", benign), (2, "train", malignant)]
    folds = folds_csv(tmp_path / "Folds.csv", rows)
    manifest = read_breakhis(tree, folds=folds, official_fold=2).manifest
    split = {Path(path).name: split for path, split in manifest.frame[["path", "split"]].values}
    assert (split[benign], split[malignant]) == ("test", "train")
    assert manifest.protocol.name == "official split, fold 2"
    with pytest.raises(ConfigError, match=r"Folds.csv: has no fold 6; choose one of \[1, 2\]"):
        read_breakhis(tree, folds=folds, official_fold=6)


def test_folds_whose_tests_do_not_overlap_become_a_cross_validation(
    tree: Path, tmp_path: Path
) -> None:
    benign, malignant = NAMES[3], NAMES[6]
    rows = [(1, "train", benign), (1, "test", malignant)]
    rows += [(2, "test", benign), (2, "train", malignant)]
    folds = folds_csv(tmp_path / "Folds.csv", rows)
    manifest = read_breakhis(tree, folds=folds).manifest
    folds.write_text(folds.read_text().replace(",", ";"))  # another program saved it
    assert read_breakhis(tree, folds=folds).manifest.frame.equals(manifest.frame)
    fold = {Path(path).name: fold for path, fold in manifest.frame[["path", "fold"]].values}
    assert (fold[benign], fold[malignant]) == ("2", "1")
    assert manifest.protocol.name == "official split, 2-fold"


def test_folds_that_test_an_image_twice_ask_for_a_number(tree: Path, tmp_path: Path) -> None:
    for fold in (1, 2):
        (tmp_path / f"dsfold{fold}.txt").write_text(f"{NAMES[0]}|100|{fold}|test\n")
    fault = rf"1 images are tested in more than one.*{NAMES[0]}.*--official-fold 1"
    with pytest.raises(ConfigError, match=fault):
        read_breakhis(tree, folds=tmp_path)
    manifest = read_breakhis(tree, folds=tmp_path, official_fold=2).manifest
    assert manifest.protocol.design == "fold 2"


def test_a_wrong_fold_file_is_named_with_its_line(tree: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "dsfold1.txt"
    wrong.write_text(f"{NAMES[0]}|100|1|train\n{NAMES[1]}|100|1|valid\n")
    with pytest.raises(DataError, match=r"dsfold1.txt, line 2: fold '1', group 'valid'"):
        read_breakhis(tree, folds=wrong)
    table = tmp_path / "Folds.csv"
    table.write_text("fold,mag,filename\n1,100,a.png\n")
    with pytest.raises(DataError, match=r"Folds.csv: has no column \['grp'\]"):
        read_breakhis(tree, folds=table)
    wrong.write_text("SOB_B_F-14-9133-40-001.png|40|1|train\n")
    with pytest.raises(DataError, match=r"lists none of the images found"):
        read_breakhis(tree, folds=wrong)
    wrong.write_text(f"{NAMES[0]}|100|1|train\n{NAMES[0]}|100|1|test\n")
    with pytest.raises(DataError, match=rf"{NAMES[0]} stands in train and test of fold 1"):
        read_breakhis(tree, folds=wrong)
    with pytest.raises(ConfigError, match=r"official fold 1 needs the official fold file.*--folds"):
        read_breakhis(tree, official_fold=1)


def test_a_manifest_of_the_tree_comes_back_from_disk_as_it_was(tree: Path) -> None:
    manifest = read_breakhis(tree, task="subtype").manifest
    manifest.write(tree.parent / "bh.csv")
    back = read_manifest(tree.parent / "bh.csv")
    assert back.frame.equals(manifest.frame)
    assert (back.task, back.protocol, back.notes) == (
        manifest.task,
        manifest.protocol,
        manifest.notes,
    )


def test_the_real_subset_has_27_slides_of_23_accession_numbers(real_data: Path) -> None:
    read = read_breakhis(real_data / "breakhis100x", task="subtype")
    frame = read.manifest.frame
    assert read.skipped == ()
    assert frame["slide"].nunique() == 27
    assert len(read.manifest.patients) == 23
    counts = count_table(read.manifest)["100X"].to_dict()
    assert counts == dict(zip(SUBTYPE.classes, (65, 72, 57, 16, 46, 16, 58, 92), strict=True))
    binary = read_breakhis(real_data / "breakhis100x").manifest
    assert count_table(binary)["images"].to_dict() == {"benign": 210, "malignant": 212}
