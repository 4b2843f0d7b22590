"""The four columns that say how far to trust a row: read back as they were, or refused by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.predictions import (
    Predictions,
    Provenance,
    make_predictions,
    read_predictions,
)
from eosin.artefacts.reference import Trust
from eosin.artefacts.tables import ATTENTION, companion
from eosin.errors import DataError
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
TRUST = Trust(
    unfamiliar_below=0.05,
    familiar_patients=9,
    coverage=0.9,
    sets="lac",
    by_class=False,
    calibration_patients=12,
    patients_needed=9,
)
COLUMNS = {
    "familiarity": [0.5, 0.01, np.nan, 0.05],
    "flags": ["", "unfamiliar blurred", "stain", ""],
    "set": ["benign", "malignant", "malignant", "benign|malignant"],
    "answer": ["benign", "abstain", "abstain", "abstain"],
}


def table(folder: Path, *, trust: Trust | None = TRUST, **columns: list[Any]) -> Predictions:
    p = np.array([0.1, 0.9, 0.8, 0.6])
    rows = pd.DataFrame({"path": [str(folder / f"{n}.png") for n in range(4)]})
    blank = dict.fromkeys(("patient", "magnification", "label", "fold"), "")
    made = make_predictions(
        rows.assign(**blank),
        np.stack([1 - p, p], axis=1),
        task=BINARY,
        threshold=0.5,
        provenance=Provenance(threshold=0.5),
    )
    return made.with_trust(made.frame.assign(**COLUMNS | columns), trust)


def test_what_is_said_of_trust_comes_back_from_disk(tmp_path: Path) -> None:
    written = table(tmp_path)
    written.write(tmp_path / "p.csv")
    back = read_predictions(tmp_path / "p.csv")
    assert back.trust == TRUST
    pd.testing.assert_frame_equal(back.frame[[*COLUMNS]], written.frame[[*COLUMNS]])
    assert back.flagged.tolist() == written.flagged.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("familiarity", 0, 1.5, "familiarity = '1.5': is no share"),
        ("familiarity", 0, "nan", "familiarity = 'nan': is no share"),
        ("familiarity", 0, -0.1, "familiarity = .*-0.1': is no share"),
        ("flags", 0, "strange", r"flags = 'strange': are none of \['unfamiliar', 'no-tissue'"),
        ("flags", 1, "blurred", "flags = 'blurred': do not say what familiarity does"),
        ("flags", 0, "unfamiliar", "flags = 'unfamiliar': do not say what familiarity does"),
        ("flags", 3, "unfamiliar", "do not say what familiarity does"),  # at the limit it is not
        ("set", 0, "normal", r"set = 'normal': is no set of \['benign', 'malignant'\]"),
        ("set", 3, "benign|", "is no set of"),
        ("answer", 0, "abstain", "answer = 'abstain': is not what set, flags and decision say"),
        ("answer", 1, "malignant", "answer = 'malignant': is not what set, flags and decision"),
        ("answer", 3, "malignant", "is not what set, flags and decision say"),
        ("set", 0, "malignant", "answer = 'benign': is not what set, flags and decision say"),
    ],
)
def test_a_row_whose_trust_contradicts_itself_is_named(
    column: str, row: int, value: object, words: str, tmp_path: Path
) -> None:
    columns = {**COLUMNS, column: [*COLUMNS[column]]}
    columns[column][row] = value
    if column == "familiarity":
        columns[column] = [str(each) if each == each else "" for each in columns[column]]
    table(tmp_path, **columns).write(tmp_path / "p.csv")
    with pytest.raises(DataError, match=rf"p\.csv, row {row + 2}: .*{words}.*eosin predict"):
        read_predictions(tmp_path / "p.csv")


def test_columns_that_the_sidecar_speaks_of_must_be_there(tmp_path: Path) -> None:
    whole = table(tmp_path)
    replace(whole, frame=whole.frame.drop(columns="set")).write(tmp_path / "p.csv")
    with pytest.raises(DataError, match=r"p\.csv: a predictions table needs .*missing: \['set'\]"):
        read_predictions(tmp_path / "p.csv")


def test_columns_of_trust_that_no_sidecar_speaks_of_are_the_users_own(tmp_path: Path) -> None:
    table(tmp_path, trust=None, answer=["yes"] * 4).write(tmp_path / "p.csv")
    back = read_predictions(tmp_path / "p.csv")
    assert back.trust is None
    assert back.frame["answer"].tolist() == ["yes"] * 4
    assert not back.flagged.any()


@pytest.mark.parametrize(
    "change", [{"coverage": 1.1}, {"unfamiliar_below": -0.1}, {"sets": "raps"}, {"by_class": 0}]
)
def test_a_trust_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        with_changes(TRUST, **change)


def test_what_tiles_weigh_lies_beside_the_table_with_paths_from_its_folder(tmp_path: Path) -> None:
    tiles = pd.DataFrame({"path": [str(tmp_path / "t" / "=1.png")], "attention": [0.25]})
    whole = replace(table(tmp_path), attention=tiles)
    whole.write(tmp_path / "p.csv")
    beside = companion(tmp_path / "p.csv", ATTENTION)
    assert beside.read_text() == "path,attention\nt/=1.png,0.25\n"
    assert read_predictions(tmp_path / "p.csv").attention is None
    table(tmp_path).write(tmp_path / "p.csv")
    assert not beside.exists()


def test_hashes_of_runs_and_stain_notes_are_kept_and_no_name_breaks_the_file(
    tmp_path: Path,
) -> None:
    notes = {tmp_path / "1.png": "blank"}
    whole = replace(table(tmp_path).with_stain_notes(notes), run_hashes=("a" * 64, "b" * 64))
    origin = replace(whole.provenance, runs=("caf\udce9",), dataset="M\udcfcller")
    replace(whole, provenance=origin).write(tmp_path / "p.csv")
    back = read_predictions(tmp_path / "p.csv")
    assert back.run_hashes == ("a" * 64, "b" * 64)
    assert back.frame["stain_note"].tolist() == ["", "blank", "", ""]
    assert (back.provenance.runs, back.provenance.dataset) == ((r"caf\xe9",), r"M\xfcller")


def test_histograms_are_of_the_positive_class_or_of_the_class_predicted(tmp_path: Path) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    labelled = table(tmp_path)
    frame = labelled.frame.assign(label=["benign", "malignant", "malignant", ""])
    axes = replace(labelled, frame=frame).plot()
    assert axes.get_xlabel() == "probability of malignant"
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["benign (n = 1)", "malignant (n = 2)", "unknown (n = 1)"]
    three = Task("three", ("a", "b", "c"))
    chances = np.array([[0.2, 0.5, 0.3]])
    rows = frame[["path", "patient", "magnification", "label", "fold"]][3:]
    axes = make_predictions(rows, chances, task=three).plot()
    assert axes.get_xlabel() == "probability of the class predicted"
    (bar,) = [patch for patch in axes.patches if patch.get_height()]
    assert bar.get_x() == pytest.approx(0.5)
    plt.close("all")
