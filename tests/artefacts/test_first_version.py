"""Tables that eosin 0.1.0 wrote: read with the meaning they had, as strictly as those of now."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.artefacts.predictions import read_predictions
from eosin.errors import DataError
from eosin.protocol import Protocol
from eosin.tasks import Task

WRITTEN = Path(__file__).parent / "written_by_0_1_0" / "tables"
BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
NOTE = "A patient is an accession number: the slide name without its block letters."


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "old"))


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("name", "protocol", "fingerprint"),
    [
        ("by-patient", Protocol("patient", "5-fold", seed=1), "0ee11a8d8485660e9185acb6ec449c3b"),
        (
            "by-image",
            Protocol("image", "70/15/15", True, seed=1),
            "e6d8d27d81a6714c16dc4b42a7fbbc9a",
        ),
    ],
)
def test_a_manifest_is_read_as_it_was_with_the_fingerprint_that_its_runs_hold(
    name: str, protocol: Protocol, fingerprint: str
) -> None:
    manifest = read_manifest(WRITTEN / f"{name}.csv")
    assert (manifest.task, manifest.dataset, manifest.protocol) == (BINARY, "breakhis", protocol)
    assert (manifest.notes, manifest.patient_pattern) == ((NOTE,), "")
    assert manifest.fingerprint.startswith(fingerprint)
    assert manifest.frame.drop(columns="path").to_dict("records") == [
        {key: row[key] for key in row if key != "path"} for row in cells(WRITTEN / f"{name}.csv")
    ]
    assert {path.parent for path in manifest.paths} == {WRITTEN / "images"}
    manifest.require_honest_name()
    assert bool(manifest.crossing_patients()) is protocol.leaky


def test_predictions_are_read_as_they_were_thresholds_folds_and_stain_notes_too() -> None:
    table = read_predictions(WRITTEN / "stain-notes.csv")
    known = table.provenance
    assert (known.runs, known.split, known.model) == (("stained",), "test", "test_efficientnet")
    assert (known.threshold, known.seen_allowed, known.notes) == (0.500478931211709, False, (NOTE,))
    assert known.protocol == Protocol("image", "70/15/15", leaky=True, seed=1)
    assert table.frame["stain_note"].tolist() == ["blank", "", "", ""]
    assert table.probabilities[0].tolist() == [0.5015364389935268, 0.4984635610064732]
    assert table.decision_index.tolist() == [0, 0, 0, 0]
    assert table.predicted_index.tolist() == [0, 1, 1, 1]
    folds = read_predictions(WRITTEN / "folds" / "predictions.csv")
    assert (folds.provenance.threshold, folds.provenance.split) == (None, "out-of-fold")
    assert set(folds.frame["fold"]) == set("12345")
    assert len(folds) == 30


def test_a_sidecar_is_as_strict_as_one_of_now(old: Path) -> None:
    for name, read in (("by-image", read_manifest), ("stain-notes", read_predictions)):
        sidecar = old / f"{name}.meta.json"
        meta = json.loads(sidecar.read_text())
        spoilt = [({key: meta[key] for key in meta if key != gone}, gone) for gone in meta]
        spoilt += [({**meta, key: [1, {}]}, key) for key in meta]
        spoilt += [({**meta, key: None}, key) for key in meta if key != "threshold"]
        spoilt += [({**meta, key: "text"}, key) for key in meta if not isinstance(meta[key], str)]
        spoilt += [({**meta, "other": 1}, "other"), ({**meta, "images": 3}, "images")]
        for key in meta["protocol"]:
            less = {each: meta["protocol"][each] for each in meta["protocol"] if each != key}
            spoilt += [({**meta, "protocol": less}, "protocol")]
            spoilt += [({**meta, "protocol": {**meta["protocol"], key: [7]}}, "protocol")]
        spoilt += [({**meta, "protocol": {**meta["protocol"], "leaky": False}}, "name and warning")]
        for fields, named in spoilt:
            sidecar.write_text(json.dumps(fields))
            with pytest.raises(DataError, match=named) as caught:
                read(old / f"{name}.csv")
            assert str(sidecar) in str(caught.value)


def test_rows_of_predictions_are_checked_though_no_digest_vouches_for_them(old: Path) -> None:
    path = old / "stain-notes.csv"
    path.write_text(
        path.read_text().replace("malignant,benign,0.4998", "malignant,malignant,0.4998")
    )
    with pytest.raises(
        DataError, match=r"stain-notes\.csv, row 4: decision = 'malignant'.*0\.50047"
    ):
        read_predictions(path)


def test_an_edited_manifest_is_known_by_its_fingerprint_and_lost_rows_by_their_number(
    old: Path,
) -> None:
    path = old / "by-patient.csv"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows).replace(",14-10002,100,", ",'=1,100,"))
    edited = read_manifest(path)
    assert edited.notes == (NOTE, "Rows of by-patient.csv were edited after eosin wrote them.")
    assert "'=1" in edited.patients  # only tables of now have cells with an apostrophe to take off
    path.write_text("".join(rows[:-1]))
    with pytest.raises(DataError, match=r"by-patient\.meta\.json: images = 30, but .* 29 rows"):
        read_manifest(path)


def test_a_table_written_again_has_a_sidecar_of_its_own_and_the_old_one_is_gone(old: Path) -> None:
    path = old / "by-image.csv"
    before, table = read_manifest(path), path.read_bytes()
    before.write(path)
    assert path.read_bytes() == table
    assert not (old / "by-image.meta.json").exists()
    assert read_manifest(path).fingerprint == before.fingerprint
    assert read_manifest(path).protocol == before.protocol


def test_an_old_sidecar_is_taken_beside_a_csv_only(old: Path) -> None:
    (old / "by-image.csv").rename(old / "by-image.tsv")
    with pytest.raises(DataError, match=r"by-image\.tsv\.meta\.json: no such file"):
        read_manifest(old / "by-image.tsv")
