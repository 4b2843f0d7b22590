"""The audit names every leak, contradiction and unreadable file, and nothing that is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.audit import PAIR_COLUMNS, audit_manifest
from eosin.pixels.reading import UInt8Image
from eosin.protocol import Protocol
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")
PATIENT_LEVEL = Protocol(unit="patient", design="70/15/15")

Row = tuple[str, str, str, str]  # file name, label, patient, split


def field(seed: int) -> UInt8Image:
    rng = np.random.default_rng(seed)
    image = np.full((115, 175, 3), (225, 170, 205), np.uint8)
    for _ in range(120):
        centre = (int(rng.integers(175)), int(rng.integers(115)))
        cv2.circle(
            image, centre, int(rng.integers(2, 14)), (int(rng.integers(90, 190)), 70, 150), -1
        )
    return image


def save(folder: Path, name: str, image: UInt8Image) -> Path:
    assert cv2.imwrite(str(folder / name), image)
    return folder / name


def manifest_of(folder: Path, rows: list[Row], *, protocol: Protocol = PATIENT_LEVEL) -> Manifest:
    frame = pd.DataFrame(
        [(str(folder / name), label, who, "100", split, "") for name, label, who, split in rows],
        columns=["path", "label", "patient", "magnification", "split", "fold"],
    )
    return Manifest(frame, TASK, "breakhis", protocol=protocol)


ROWS: list[Row] = [
    ("SOB_B_A-14-22549AB-100-001.png", "benign", "14-22549", "train"),
    ("SOB_B_F-14-25197-100-001.png", "benign", "14-25197", "test"),
    ("SOB_M_DC-14-2523-100-010.png", "malignant", "14-2523", "train"),
    ("SOB_M_LC-14-12204-100-001.png", "malignant", "14-12204", "test"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, (name, *_) in enumerate(ROWS):
        save(tmp_path, name, field(seed))
    return tmp_path


def test_a_clean_manifest_is_ok_and_says_so(folder: Path, told) -> None:
    audit = audit_manifest(manifest_of(folder, ROWS), progress=told)
    assert audit.ok
    assert audit.verdict == (
        "No leak was found: no patient and no picture crosses; no duplicate pair in 4 images."
    )
    assert (told.works, told.done) == ([("looking", 4, 0)], 4)
    assert list(audit.frame().columns) == list(PAIR_COLUMNS)
    assert audit.frame().empty


def test_a_copied_file_in_another_split_is_a_leak(folder: Path) -> None:
    shutil.copy(folder / ROWS[0][0], folder / "SOB_B_F-14-25197-100-002.png")
    rows = [*ROWS, ("SOB_B_F-14-25197-100-002.png", "benign", "14-25197", "test")]
    audit = audit_manifest(manifest_of(folder, rows))
    (pair,) = audit.duplicates
    assert (pair.kind, pair.transform, pair.distance) == ("identical file", "copied", 0.0)
    assert (pair.across_splits, pair.across_patients, pair.across_labels) == (True, True, False)
    assert Path(pair.path_a).name == ROWS[0][0]
    assert not audit.ok
    assert audit.leaks == (pair,)
    assert "1 duplicate pair crosses splits" in audit.verdict


def test_an_audit_shows_its_verdict_and_its_pairs_in_a_notebook(folder: Path) -> None:
    shutil.copy(folder / ROWS[0][0], folder / "copy.png")
    copied = ("copy.png", ROWS[0][1], ROWS[0][2], "test")
    audit = audit_manifest(manifest_of(folder, [*ROWS, copied]))
    shown = audit._repr_html_()
    assert audit.verdict in shown
    assert "identical file" in shown


def test_the_same_pixels_in_another_format_are_identical_pixels(folder: Path) -> None:
    save(folder, "SOB_B_A-14-22549AB-100-002.bmp", field(0))
    rows = [*ROWS, ("SOB_B_A-14-22549AB-100-002.bmp", "benign", "14-22549", "train")]
    audit = audit_manifest(manifest_of(folder, rows))
    assert [pair.kind for pair in audit.duplicates] == ["identical pixels"]
    assert audit.ok, "a copy inside one split and label is no leak"


@pytest.mark.parametrize(
    ("change", "transform"),
    [
        (lambda image: image[:, ::-1], "flipped horizontally"),
        (lambda image: np.rot90(image, -1), "rotated 90° right"),
        (lambda image: cv2.resize(image, None, fx=0.5, fy=0.5), "rescaled (0.5x)"),
        (lambda image: cv2.resize(np.rot90(image), (230, 350)), "rotated 90° left, rescaled (2x)"),
        (lambda image: cv2.resize(image, (224, 224)), "stretched to another shape"),
        (lambda image: cv2.convertScaleAbs(image, alpha=0.99), "re-encoded"),
    ],
)  # fmt: skip
def test_a_changed_copy_under_another_label_is_a_conflict_named_by_its_change(
    folder: Path, change, transform: str
) -> None:
    save(folder, "SOB_M_DC-14-2523-100-011.png", np.ascontiguousarray(change(field(0))))
    rows = [*ROWS, ("SOB_M_DC-14-2523-100-011.png", "malignant", "14-2523", "train")]
    audit = audit_manifest(manifest_of(folder, rows))
    (pair,) = audit.label_conflicts
    assert (pair.kind, pair.transform) == ("near-duplicate", transform)
    assert "1 picture carries two labels" in audit.verdict


def test_three_copies_over_two_splits_are_seen_to_cross(folder: Path) -> None:
    for number in ("002", "003"):
        shutil.copy(folder / ROWS[0][0], folder / f"SOB_B_A-14-22549AB-100-{number}.png")
    rows = [
        *ROWS,
        ("SOB_B_A-14-22549AB-100-002.png", "benign", "14-22549", "train"),
        ("SOB_B_A-14-22549AB-100-003.png", "benign", "14-22549", "test"),
    ]
    audit = audit_manifest(manifest_of(folder, rows))
    assert len(audit.duplicates) == 2
    assert len(audit.leaks) == 1
    assert audit.crossing_patients == ("14-22549",)


def test_a_patient_across_folds_is_named_even_where_the_protocol_admits_it(folder: Path) -> None:
    leaky = Protocol(unit="image", design="5-fold", leaky=True)
    manifest = manifest_of(folder, ROWS, protocol=leaky)
    frame = manifest.frame.assign(split="", fold=["1", "2", "1", "2"])
    frame.loc[1, "patient"] = "14-22549"
    audit = audit_manifest(Manifest(frame, TASK, "breakhis", protocol=leaky))
    assert audit.crossing_patients == ("14-22549",)
    assert not audit.ok
    assert audit.balance.parts == ("fold 1", "fold 2")


def test_a_cut_file_is_unreadable_and_the_rest_is_audited(folder: Path) -> None:
    name = "SOB_M_DC-14-2523-100-012.png"
    (folder / name).write_bytes((folder / ROWS[2][0]).read_bytes()[:2000])
    rows = [*ROWS, (name, "malignant", "14-2523", "train")]
    audit = audit_manifest(manifest_of(folder, rows))
    assert [item.path.name for item in audit.unreadable] == [name]
    assert audit.unreadable[0].reason
    assert not audit.ok
    assert "1 file cannot be read" in audit.verdict


def test_unknown_patients_never_count_as_crossing(folder: Path) -> None:
    shutil.copy(folder / ROWS[0][0], folder / "copy.png")
    rows = [*ROWS, ("copy.png", "benign", "copy.png", "train")]
    unknown = Protocol(unit="image", design="70/15/15", patients_known=False)
    audit = audit_manifest(manifest_of(folder, rows, protocol=unknown))
    assert audit.patients is None
    assert [pair.across_patients for pair in audit.duplicates] == [False]
    assert audit.balance.heaviest == ()
    assert "patients are not known" in audit.verdict


def test_balance_counts_images_and_patients_and_the_heaviest_patient(folder: Path) -> None:
    save(folder, "SOB_M_DC-14-2523-100-011.png", field(50))
    rows = [*ROWS, ("SOB_M_DC-14-2523-100-011.png", "malignant", "14-2523", "train")]
    balance = audit_manifest(manifest_of(folder, rows)).balance
    assert [tuple(row) for row in balance.frame().itertuples(index=False, name=None)] == [
        ("train", "benign", 1, 1),
        ("train", "malignant", 2, 1),
        ("test", "benign", 1, 1),
        ("test", "malignant", 1, 1),
    ]
    heaviest = balance.heaviest[0]
    assert (heaviest.patient, heaviest.images) == ("14-2523", 2)
    assert heaviest.share == pytest.approx(2 / 3)


def test_a_patient_with_two_labels_is_information_not_a_fault(folder: Path) -> None:
    manifest = manifest_of(folder, ROWS)
    frame = manifest.frame.assign(patient=["8863", "8913", "8863", "12626"])
    audit = audit_manifest(Manifest(frame, TASK, "idc", protocol=PATIENT_LEVEL))
    assert audit.patients_with_several_labels == (("8863", ("benign", "malignant")),)
    assert audit.ok


def test_an_image_without_a_label_contradicts_no_label(folder: Path) -> None:
    shutil.copy(folder / ROWS[0][0], folder / "copy.png")
    rows = [*ROWS, ("copy.png", "", "14-22549", "train")]
    audit = audit_manifest(manifest_of(folder, rows))
    assert len(audit.duplicates) == 1
    assert audit.label_conflicts == ()
    assert audit.patients_with_several_labels == ()
    assert audit.ok


def test_everything_found_is_plain_json(folder: Path) -> None:
    shutil.copy(folder / ROWS[0][0], folder / "SOB_B_A-14-22549AB-100-002.png")
    save(folder, "SOB_B_A-14-22549AB-100-003.png", np.full((50, 50, 3), 250, np.uint8))
    rows = [
        *ROWS,
        ("SOB_B_A-14-22549AB-100-002.png", "benign", "14-22549", "train"),
        ("SOB_B_A-14-22549AB-100-003.png", "benign", "14-22549", "train"),
    ]
    found = json.loads(json.dumps(audit_manifest(manifest_of(folder, rows)).to_dict()))
    assert found["ok"] is True
    assert found["duplicates"][0]["kind"] == "identical file"
    assert [Path(path).name for path in found["blank"]] == ["SOB_B_A-14-22549AB-100-003.png"]
