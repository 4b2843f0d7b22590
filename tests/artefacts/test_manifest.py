"""Manifest: to disk and back, moved along with its images, and honest about who crosses."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.errors import DataError, LeakageError
from eosin.files import sha256_of
from eosin.protocol import Protocol
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
ROWS = (
    ("SOB_B_A-14-22549AB-100-001.png", "benign", "14-22549", "train", "14-22549AB"),
    ("SOB_B_A-14-22549CD-100-001.png", "benign", "14-22549", "train", "14-22549CD"),
    ("SOB_M_DC-14-2523-100-001.png", "malignant", "14-2523", "val", "14-2523"),
    ("SOB_M_LC-14-13412-100-001.png", "malignant", "14-13412", "test", "14-13412"),
)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    images = tmp_path / "study" / "images"
    images.mkdir(parents=True)
    rows = [
        {
            "path": str(images / name),
            "label": label,
            "patient": patient,
            "magnification": "100",
            "split": split,
            "fold": "",
            "slide": slide,
        }
        for name, label, patient, split, slide in ROWS
    ]
    for row in rows:
        Path(row["path"]).write_bytes(b"pixels")
    return Manifest(
        frame=pd.DataFrame(rows),
        task=BINARY,
        dataset="breakhis",
        protocol=Protocol("patient", "50/25/25", seed=7),
        notes=("A patient is an accession number.",),
    )


def described(manifest: Manifest) -> dict[str, object]:
    """All but the table."""
    names = [each.name for each in fields(manifest) if each.name != "frame"]
    return {name: getattr(manifest, name) for name in names}


def test_a_manifest_comes_back_from_disk_with_extra_columns_and_notes(manifest: Manifest) -> None:
    path = manifest.paths[0].parent.parent / "bh.csv"
    manifest.write(path)
    back = read_manifest(path)
    assert back.frame.equals(manifest.frame)
    assert described(back) == described(manifest)
    assert back.fingerprint == manifest.fingerprint


def test_paths_are_relative_on_disk_so_that_manifest_and_images_move_together(
    manifest: Manifest, tmp_path: Path
) -> None:
    manifest.write(tmp_path / "study" / "bh.csv")
    written = pd.read_csv(tmp_path / "study" / "bh.csv")
    assert written["path"][0] == "images/SOB_B_A-14-22549AB-100-001.png"
    shutil.move(tmp_path / "study", tmp_path / "elsewhere")
    moved = read_manifest(tmp_path / "elsewhere" / "bh.csv")
    assert all(path.is_file() for path in moved.paths)
    assert moved.paths[0].is_relative_to(tmp_path / "elsewhere" / "images")
    assert moved.fingerprint == manifest.fingerprint


def test_a_manifest_far_from_its_images_finds_them_from_any_working_folder(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest.write(Path("tables/deep/bh.csv"))
    assert pd.read_csv("tables/deep/bh.csv")["path"][0].startswith("../../study/images/")
    monkeypatch.chdir(tmp_path / "tables")
    assert read_manifest(Path("deep/bh.csv")).paths == manifest.paths


def test_the_fingerprint_sees_labels_and_splits_and_not_the_order_of_rows(
    manifest: Manifest,
) -> None:
    turned = replace(manifest, frame=manifest.frame[::-1].reset_index(drop=True))
    assert turned.fingerprint == manifest.fingerprint
    for column, value in (("label", "malignant"), ("split", "test"), ("patient", "14-1")):
        frame = manifest.frame.copy()
        frame.loc[0, column] = value
        assert replace(manifest, frame=frame).fingerprint != manifest.fingerprint


def test_numbers_that_look_like_numbers_stay_text(manifest: Manifest, tmp_path: Path) -> None:
    frame = manifest.frame.assign(patient=["007", "1e5", "NA", ""], slide="0010")
    replace(manifest, frame=frame).write(tmp_path / "bh.csv")
    back = read_manifest(tmp_path / "bh.csv").frame
    assert back["patient"].tolist() == ["007", "1e5", "NA", ""]
    assert set(back["slide"]) == {"0010"}


def test_a_patient_in_two_splits_is_named_unless_the_protocol_says_leaky(
    manifest: Manifest,
) -> None:
    manifest.require_honest_name()
    frame = manifest.frame.assign(split=["train", "test", "val", "test"])
    leaky = replace(manifest, frame=frame)
    assert leaky.crossing_patients() == ("14-22549",)
    with pytest.raises(LeakageError, match=r"1 patients .*'patient-level, 50/25/25': 14-22549\."):
        leaky.require_honest_name()
    replace(leaky, protocol=Protocol("image", "50/25/25", leaky=True)).require_honest_name()


def test_a_patient_in_two_folds_crosses_and_an_unplaced_image_does_not(
    manifest: Manifest,
) -> None:
    folds = manifest.frame.assign(split="", fold=["1", "2", "1", "2"])
    assert replace(manifest, frame=folds).crossing_patients() == ("14-22549",)
    partly = manifest.frame.assign(split="", fold=["1", "", "1", "2"])
    assert replace(manifest, frame=partly).crossing_patients() == ()
    assert replace(manifest, frame=folds).folds == (1, 2)


def test_a_split_is_taken_whole_and_a_missing_one_lists_those_there_are(
    manifest: Manifest,
) -> None:
    train = manifest.in_split("train")
    assert train.frame["slide"].tolist() == ["14-22549AB", "14-22549CD"]
    assert train.patients == ("14-22549",)
    assert manifest.label_index.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"no image in split 'test' \(it has \['train'\]\).*split"):
        train.in_split("test")


def test_an_image_may_lack_its_label_until_the_label_is_asked_for(manifest: Manifest) -> None:
    frame = manifest.frame.assign(label=["benign", "", "malignant", "malignant"])
    with pytest.raises(DataError, match=r"22549CD-100-001.png: has no label"):
        replace(manifest, frame=frame).label_index  # noqa: B018


def test_a_label_outside_the_task_a_repeated_path_and_no_rows_are_refused(
    manifest: Manifest,
) -> None:
    frame = manifest.frame
    with pytest.raises(DataError, match=r"labels \['normal'\] are not classes of task 'binary'"):
        replace(manifest, frame=frame.assign(label="normal"))
    with pytest.raises(DataError, match=r"22549AB-100-001.png: listed twice"):
        replace(manifest, frame=pd.concat([frame, frame[:1]]))
    with pytest.raises(DataError, match="at least one image"):
        replace(manifest, frame=frame[:0])
    with pytest.raises(DataError, match=r"missing: \['patient'\]"):
        replace(manifest, frame=frame.drop(columns="patient"))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("split", "training", r"want one of \['train', 'val', 'test'\], or nothing"),
        ("fold", "first", "want a whole number such as 1, or nothing"),
        ("fold", "01", "want a whole number"),
        ("fold", "²", "want a whole number"),
        ("fold", "1.0", "want a whole number"),
        ("fold", "9" * 5000, "want a whole number"),
        ("label", "normal", r"want one of \['benign', 'malignant'\], or nothing"),
        ("path", "", "names no file"),
        ("path", "a\0.png", "names no file"),
        ("path", "images/SOB_B_A-14-22549AB-100-001.png", "stands in an earlier row too"),
        ("patient", "M\udcfcller", "is not UTF-8; save the table as UTF-8"),
    ],
)
def test_an_edited_cell_is_refused_by_file_row_and_value(
    manifest: Manifest, tmp_path: Path, column: str, value: str, words: str
) -> None:
    path = tmp_path / "study" / "bh.csv"
    manifest.write(path)
    edit(path, 2, column, value)
    with pytest.raises(DataError, match=rf"bh\.csv, row 4: {column} = '.*: {words}"):
        read_manifest(path)


def test_rows_are_counted_as_a_spreadsheet_counts_them(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "bh.csv"
    replace(manifest, frame=manifest.frame.assign(slide="two\nlines")).write(path)
    edit(path, 3, "split", "testing")
    path.write_bytes(path.read_bytes().replace(b"\nstudy", b"\n\nstudy", 1))  # an empty line counts
    with pytest.raises(DataError, match=r"bh\.csv, row 6: split = 'testing'"):
        read_manifest(path)


def test_a_row_of_another_length_and_a_column_that_stands_twice_are_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    lines = path.read_text().splitlines()
    for row in (lines[2] + ",more", lines[2].rpartition(",")[0]):
        path.write_text("\n".join([*lines[:2], row, *lines[3:]]))
        with pytest.raises(DataError, match=r"bh\.csv, row 3: has [68] cells, the header 7"):
            read_manifest(path)
    path.write_text("\n".join(f"{line},{line.split(',')[2]}" for line in lines))
    with pytest.raises(DataError, match=r"bh\.csv: the column 'patient' stands twice"):
        read_manifest(path)
    path.write_text("\n".join([*lines[:-1], '"' + lines[-1]]))
    with pytest.raises(DataError, match=r"bh\.csv: not a readable manifest table"):
        read_manifest(path)


def test_rows_may_be_dropped_by_hand_and_every_later_artefact_says_so(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    edited = read_manifest(path)
    assert len(edited) == 3
    assert edited.protocol == manifest.protocol
    assert edited.notes == (*manifest.notes, "Rows of bh.csv were edited after eosin wrote them.")
    edited.write(path)
    assert read_manifest(path).notes == edited.notes


def test_a_manifest_that_a_spreadsheet_only_saved_again_is_as_it_was(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    saved = path.read_bytes().replace(b"\n", b"\r\n").replace(b"benign", b'"benign"')
    path.write_bytes(b"\xef\xbb\xbf" + saved)
    assert read_manifest(path).notes == manifest.notes
    pd.read_csv(path, dtype=str).assign(checked="yes").to_csv(path, index=False)
    assert read_manifest(path).notes == manifest.notes
    assert set(read_manifest(path).frame["checked"]) == {"yes"}


def test_an_edit_cannot_make_a_leaky_split_look_honest(manifest: Manifest, tmp_path: Path) -> None:
    path, leaky = tmp_path / "bh.csv", Protocol("image", "50/25/25", leaky=True)
    manifest.write(path)
    edit(path, 1, "split", "test")
    with pytest.raises(LeakageError, match="14-22549"):
        read_manifest(path).require_honest_name()
    crossing = manifest.frame.assign(split=["train", "test", "val", "test"])
    replace(manifest, frame=crossing, protocol=leaky).write(path)
    edit(path, 1, "patient", "14-1")
    assert read_manifest(path).crossing_patients() == ()
    assert read_manifest(path).protocol.name == "image-level (leaky), 50/25/25"
    assert "edited" in read_manifest(path).notes[-1]


def test_a_manifest_renamed_with_its_sidecar_is_read_and_with_anothers_it_is_not(
    manifest: Manifest, tmp_path: Path
) -> None:
    path, other = tmp_path / "bh.csv", tmp_path / "other.csv"
    manifest.write(path)
    for name in ("bh.csv", "bh.csv.meta.json"):
        shutil.copy(tmp_path / name, tmp_path / name.replace("bh", "other"))
    assert described(read_manifest(other)) == described(manifest)
    edit(other, 1, "split", "")
    with pytest.raises(
        DataError, match=r"other\.csv\.meta\.json: belongs to another table, 'bh\.csv'"
    ):
        read_manifest(other)


def test_a_write_that_is_cut_short_leaves_no_table_with_an_older_sidecar(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    crossing = manifest.frame.assign(split=["train", "test", "val", "test"])
    leaky = replace(manifest, frame=crossing, protocol=Protocol("image", "x", leaky=True))
    with monkeypatch.context() as patch:
        patch.setattr("eosin.artefacts.tables.write_artefact", _stop)
        with pytest.raises(StoppedError):
            leaky.write(path)
    with pytest.raises(DataError, match=r"bh\.csv\.meta\.json: no such file; write it again"):
        read_manifest(path)
    leaky.write(path)
    assert read_manifest(path).protocol.leaky


class StoppedError(Exception):
    """Where a process is killed."""


def _stop(*_: object) -> None:
    raise StoppedError


def edit(path: Path, row: int, column: str, value: str) -> None:
    """Change one cell, as by hand; rows count from 0."""
    with path.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    table[row][column] = value
    with path.open("w", newline="", errors="surrogateescape") as stream:
        rows = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        rows.writeheader()
        rows.writerows(table)


def test_a_missing_or_foreign_file_is_named_with_the_command_that_mends_it(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bh.csv"
    with pytest.raises(DataError, match=r"bh.csv: no such file \(manifest\); .*eosin data"):
        read_manifest(path)
    manifest.write(path)
    sidecar = tmp_path / "bh.csv.meta.json"
    meta = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**meta, "format_version": 99}))
    with pytest.raises(DataError, match=r"bh.csv.meta.json: written in format 99.*update eosin"):
        read_manifest(path)
    sidecar.write_text(json.dumps({**meta, "kind": "predictions"}))
    with pytest.raises(DataError, match=r"bh.csv.meta.json: kind = 'predictions': .*'manifest'"):
        read_manifest(path)
    sidecar.unlink()
    with pytest.raises(DataError, match=r"bh.csv.meta.json: no such file.*eosin data"):
        read_manifest(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    with pytest.raises(DataError, match=r"bh.csv: not a"):
        read_manifest(path)


def test_the_sidecar_tells_a_reader_the_protocol_and_the_counts(
    manifest: Manifest, tmp_path: Path
) -> None:
    leaky = replace(manifest, protocol=Protocol("image", "50/25/25", leaky=True))
    leaky.write(tmp_path / "bh.csv")
    meta = json.loads((tmp_path / "bh.csv.meta.json").read_text())
    assert meta["protocol"]["name"] == "image-level (leaky), 50/25/25"
    assert (meta["images"], meta["patients"]) == (4, 3)
    assert (meta["table"], meta["rows"]) == ("bh.csv", 4)
    assert meta["sha256"] == sha256_of(tmp_path / "bh.csv")
    assert meta["fingerprint"] == manifest.fingerprint


def test_images_are_counted_by_class_and_by_fold_or_split_with_what_is_in_none(
    manifest: Manifest,
) -> None:
    labels = ["", "benign", "malignant", "malignant"]
    folds = manifest.frame.assign(split="", fold=["2", "", "10", "2"], label=labels)
    counts = replace(manifest, frame=folds).counts()
    assert counts.columns.tolist() == ["2", "10", "in no fold"]  # as numbers, not as texts
    assert counts.index.tolist() == ["benign", "malignant", "unlabelled"]
    assert counts.to_numpy().tolist() == [[0, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert manifest.counts().columns.tolist() == ["train", "val", "test"]
    undivided = replace(manifest, frame=manifest.frame.assign(split=""))
    assert undivided.counts().columns.tolist() == ["all"]
    assert undivided.counts().to_numpy().tolist() == [[2], [2]]


def test_patients_that_nobody_knows_are_not_counted_nor_named(manifest: Manifest) -> None:
    assert str(manifest) == (
        "Manifest of breakhis: 4 images of 3 patients; patient-level, 50/25/25"
    )
    assert manifest.known_patients == ("14-22549", "14-22549", "14-2523", "14-13412")
    unknown = replace(manifest, protocol=Protocol(patients_known=False))
    assert str(unknown) == "Manifest of breakhis: 4 images of unknown patients; unsplit"
    assert unknown.known_patients is None


@pytest.mark.parametrize(
    ("protocol", "column"),
    [
        (Protocol("patient"), "patient"),
        (Protocol("slide"), "slide"),
        (Protocol("image", leaky=True), "path"),
        (Protocol("official"), "patient"),
    ],
)
def test_what_stays_in_one_piece_is_the_unit_of_the_protocol(
    protocol: Protocol, column: str, manifest: Manifest
) -> None:
    divided = replace(manifest, protocol=protocol)
    assert divided.kept_whole.tolist() == manifest.frame[column].tolist()


def test_draws_go_by_path_however_the_rows_stand(manifest: Manifest) -> None:
    turned = replace(manifest, frame=manifest.frame[::-1])
    for each in (manifest, turned):
        assert each.by_path.frame["slide"].tolist() == [
            *("14-22549AB", "14-22549CD", "14-2523", "14-13412")
        ]
        assert each.by_path.frame.index.tolist() == [0, 1, 2, 3]


def test_a_missing_validation_split_is_made_without_touching_the_test_split(
    manifest: Manifest,
) -> None:
    whole = replace(manifest, frame=manifest.frame.assign(split=["train", "train", "test", "test"]))
    with pytest.raises(DataError, match=r"keep the test split: `eosin split --keep-test`"):
        whole.in_split("val")
    with pytest.raises(DataError, match=r"it has no splits\); make one with `eosin split`"):
        replace(manifest, frame=manifest.frame.assign(split="")).in_split("val")


def test_rows_that_are_edited_again_are_told_of_once(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    for label in ("malignant", ""):
        edit(path, 0, "label", label)
        edited = read_manifest(path)
        edited.write(path)
    assert edited.notes[1:] == ("Rows of bh.csv were edited after eosin wrote them.",)
