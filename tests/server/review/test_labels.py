"""Labels out of a record: a manifest that training reads, and says how they came about."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.artefacts.predictions import read_predictions
from eosin.cli.app import app
from eosin.errors import DataError
from eosin.protocol import Protocol
from eosin.server.labels import labelled_manifest
from eosin.server.record import Given, Listing, Record
from eosin.server.worklist import Worklist, case_id
from eosin.training.config import TrainingConfig
from eosin.training.train import train

Reviewed = tuple[Record, list[str]]


def test_labels_are_consensus_or_adjudicated_and_ties_are_left_out_or_empty(
    reviewed: Reviewed, worklist: Worklist, tmp_path: Path
) -> None:
    record, ids = reviewed
    record.offered(Listing("ada", "doubt", blind=True), ids[:4])
    record.offered(Listing("bea", "random", 3, blind=True), ids[:4])
    for reader, case, label in (
        ("ada", 0, "0"),
        ("bea", 0, "0"),
        ("ada", 1, "1+"),
        ("bea", 1, "2+"),
        ("ada", 2, "1+"),
        ("bea", 2, "3+"),
        ("ada", 3, "3+"),
    ):
        record.answer(Given(reader, ids[case], label, comment="clear" if case == 3 else ""))
    record.answer(Given("eva", ids[2], "2+", adjudicates=True))
    made = labelled_manifest(record)
    made.write(tmp_path / "m.csv")
    read = read_manifest(tmp_path / "m.csv")
    rows = {case_id(row["path"]): row for row in read.frame.to_dict("records")}
    assert {ids.index(case): row["label"] for case, row in rows.items()} == {
        0: "0",
        2: "2+",
        3: "3+",
    }
    source = worklist.manifest.frame.set_index("path")
    for row in rows.values():
        original = source.loc[row["path"]]
        assert row["source_label"] == original["label"]
        for name in ("patient", "fold", "split", "magnification", "scanner"):
            assert row[name] == original[name]
    names = ("reader", "readers", "agreement", "answers", "adjudicated", "comment", "ordering")
    assert [rows[ids[0]][name] for name in names] == [
        *("ada|bea", "2", "1.000", "ada=0|bea=0", "", "", "doubt|random")
    ]
    assert [rows[ids[2]][name] for name in names] == [
        *("ada|bea", "2", "0.000", "ada=1+|bea=3+", "eva", "", "doubt|random")
    ]
    assert rows[ids[3]]["comment"] == "clear"
    assert read.protocol == Protocol("patient", "3-fold", seed=5)
    assert read.notes[0] == "Drawn."
    said = " ".join(read.notes)
    assert "Readers are tied on 1 case, left out." in said
    assert "3 of 5 answers were given in an order by doubt" in said
    assert "not blind" not in said
    whole = labelled_manifest(record, everything=True)
    assert len(whole) == 12
    tied = whole.frame[whole.frame["path"] == worklist.cases[1].path].iloc[0]
    assert (tied["label"], tied["answers"]) == ("", "ada=1+|bea=2+")
    assert "Readers are tied on 1 case, kept without a label." in " ".join(whole.notes)


def test_a_record_without_a_label_exports_nothing(reviewed: Reviewed) -> None:
    record, ids = reviewed
    record.answer(Given("ada", ids[0], comment="what is this?"))
    with pytest.raises(DataError, match="none of the 12 cases of the record has a label yet"):
        labelled_manifest(record)


def test_splits_of_several_manifests_do_not_go_together(
    reviewed: Reviewed, worklist: Worklist
) -> None:
    record, ids = reviewed
    first = worklist.manifest
    frame = first.frame.assign(path=[f"{path}.tif" for path in first.frame["path"]])
    other = replace(first, frame=frame, dataset="second", protocol=Protocol("image", leaky=True))
    more = {path: case_id(path) for path in frame["path"]}
    record.add_cases(other, more)
    record.answer(Given("ada", ids[0], "0"))
    record.answer(Given("ada", next(iter(more.values())), "1+"))
    made = labelled_manifest(record)
    assert made.protocol == Protocol()
    assert set(made.frame["fold"]) == {""}
    assert made.dataset == "drawn + second"
    assert "their splits are dropped" in " ".join(made.notes)


def test_an_exported_manifest_is_split_trained_on_and_evaluated(
    tmp_path: Path, drawn_breakhis: Manifest, small_probe: TrainingConfig
) -> None:
    db, out = tmp_path / "review.db", tmp_path / "m.csv"
    ids = {path: case_id(path) for path in drawn_breakhis.frame["path"]}
    truth = dict(zip(drawn_breakhis.frame["path"], drawn_breakhis.frame["label"], strict=True))
    with closing(Record(db)) as record:
        record.add_cases(drawn_breakhis, ids)
        for path, case in ids.items():
            record.answer(Given("ada", case, truth[path]))
    done = CliRunner().invoke(app, ["review", "export", str(db), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "48 of 48 answers were not blind" in done.output
    made = read_manifest(out)
    assert dict(zip(made.frame["path"], made.frame["label"], strict=True)) == truth
    split = tmp_path / "s.csv"
    done = CliRunner().invoke(
        app, ["split", str(out), "-o", str(split), "--by", "patient", "--folds", "3"]
    )
    assert done.exit_code == 0, done.output
    train(read_manifest(split), tmp_path / "run", small_probe, fold=1)
    scored = tmp_path / "run" / "predictions.csv"
    found = read_predictions(scored)
    assert (
        dict(zip(found.frame["path"], found.frame["label"], strict=True)).items() <= truth.items()
    )
    assert "not blind" in " ".join(found.provenance.notes)
    done = CliRunner().invoke(app, ["evaluate", str(scored), "-o", str(tmp_path / "e.json")])
    assert done.exit_code == 0, done.output
    assert "not blind" in done.output


def test_the_command_line_copies_and_restores(reviewed: Reviewed, database: str, tmp_path) -> None:
    record, ids = reviewed
    record.answer(Given("ada", ids[0], "0"))
    copy, back = tmp_path / "copy.db", tmp_path / "back.db"
    done = CliRunner().invoke(app, ["review", "backup", database, "-o", str(copy)])
    if "://" in database:
        assert "pg_dump" in str(done.exception)
        return
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["review", "restore", str(copy), "-o", str(back)])
    assert done.exit_code == 0, done.output
    with closing(Record(back, create=False)) as restored:
        assert [each.label for each in restored.log()] == ["0"]
