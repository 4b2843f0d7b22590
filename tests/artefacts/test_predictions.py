"""Predictions: probabilities to choices, to disk and back, and what cannot be a prediction."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Predictions, Provenance, make_predictions, read_predictions
from eosin.errors import DataError
from eosin.protocol import Protocol
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
SCORES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    names = (
        "SOB_B_A-14-22549AB-100-001.png",
        "SOB_M_DC-14-2523-100-001.png",
        "SOB_M_LC-14-13412-100-001.png",
    )
    return pd.DataFrame(
        {
            "path": [str(tmp_path / "study" / "images" / name) for name in names],
            "label": ["benign", "malignant", "malignant"],
            "patient": ["14-22549", "14-2523", "14-13412"],
            "magnification": "100",
            "split": "test",
            "fold": "",
        }
    )


def test_the_decision_follows_the_locked_threshold_and_the_prediction_the_larger_share(
    images: pd.DataFrame,
) -> None:
    table = make_predictions(images, SCORES, task=BINARY, threshold=0.25)
    assert table.frame["predicted"].tolist() == ["benign", "benign", "malignant"]
    assert table.frame["decision"].tolist() == ["benign", "malignant", "malignant"]
    assert table.predicted_index.tolist() == [0, 0, 1]
    assert table.decision_index.tolist() == [0, 1, 1]
    assert table.label_index.tolist() == [0, 1, 1]


def test_a_probability_at_the_threshold_is_positive_and_each_fold_may_have_its_own(
    images: pd.DataFrame,
) -> None:
    table = make_predictions(images, SCORES, task=BINARY, threshold=np.array([0.1, 0.31, 0.9]))
    assert table.frame["decision"].tolist() == ["malignant", "benign", "benign"]


def test_without_a_threshold_the_decision_is_the_prediction(images: pd.DataFrame) -> None:
    for task, scores in ((BINARY, SCORES), (HER2, np.tile([0.1, 0.2, 0.4, 0.3], (3, 1)))):
        labels = images.assign(label=task.classes[0])
        table = make_predictions(labels, scores, task=task)
        assert table.frame["decision"].tolist() == table.frame["predicted"].tolist()


def test_predictions_come_back_from_disk_to_the_last_bit(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    provenance = Provenance(
        runs=("runs/bh",),
        dataset="breakhis",
        protocol=Protocol("image", "5-fold", leaky=True, seed=7),
        split="test",
        model="tf_efficientnetv2_b0",
        threshold=0.1 + 0.2,
        seen_allowed=True,
        notes=("A patient is an accession number.",),
    )
    for task in (BINARY, HER2):
        scores = rng.dirichlet(np.ones(len(task.classes)), 3)
        labels = images.assign(label=task.classes[0])
        table = make_predictions(labels, scores, task=task, provenance=provenance)
        table.write(tmp_path / "predictions.csv")
        back = read_predictions(tmp_path / "predictions.csv")
        assert np.array_equal(back.probabilities, scores)
        assert back.frame.equals(table.frame)
        assert (back.task, back.provenance) == (task, provenance)
        assert back.provenance.protocol.name == "image-level (leaky), 5-fold"


def test_predictions_move_along_with_their_images(images: pd.DataFrame, tmp_path: Path) -> None:
    study = tmp_path / "study"
    make_predictions(images, SCORES, task=BINARY).write(study / "p.csv")
    assert pd.read_csv(study / "p.csv")["path"][0] == "images/SOB_B_A-14-22549AB-100-001.png"
    shutil.move(study, tmp_path / "elsewhere")
    back = read_predictions(tmp_path / "elsewhere" / "p.csv")
    assert Path(back.frame["path"][0]).parent == tmp_path / "elsewhere" / "images"


def test_an_unlabelled_image_has_a_prediction_and_cannot_be_scored(images: pd.DataFrame) -> None:
    table = make_predictions(images.assign(label=["benign", "", ""]), SCORES, task=BINARY)
    assert table.predicted_index.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match=r"DC-14-2523-100-001.png: has no label.*2 such rows"):
        table.label_index  # noqa: B018
    labelled = table.where(table.frame["label"] != "")
    assert labelled.label_index.tolist() == [0]


@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.1, 1.1], [float("nan"), 1.0], [float("inf"), 0.0]])
def test_numbers_that_are_no_probabilities_are_refused_by_image(
    images: pd.DataFrame, row: list[float]
) -> None:
    scores = SCORES.copy()
    scores[1] = row
    with pytest.raises(DataError, match=r"DC-14-2523-100-001.png: probabilities .* with sum 1"):
        make_predictions(images, scores, task=BINARY)


def test_a_strange_label_a_missing_column_and_no_rows_are_refused(images: pd.DataFrame) -> None:
    table = make_predictions(images, SCORES, task=BINARY)
    with pytest.raises(DataError, match=r"labels \['normal'\]"):
        replace(table, frame=table.frame.assign(label="normal"))
    with pytest.raises(DataError, match=r"missing: \['p_malignant'\]"):
        Predictions(table.frame.drop(columns="p_malignant"), BINARY)
    with pytest.raises(DataError, match="at least one image"):
        table.where(np.zeros(3, bool))


def test_an_edited_or_missing_table_is_named_with_the_command_that_mends_it(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    with pytest.raises(DataError, match=r"p.csv: no such file .*eosin predict"):
        read_predictions(path)
    make_predictions(images, SCORES, task=BINARY).write(path)
    table = pd.read_csv(path, dtype=str)
    table.drop(columns="p_malignant").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"p\.csv: .*missing: \['p_malignant'\]"):
        read_predictions(path)
    (tmp_path / "p.csv.meta.json").unlink()
    with pytest.raises(DataError, match=r"p\.csv\.meta\.json: no such file.*eosin predict"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("label", "normal", r"is none of \['benign', 'malignant'\]"),
        ("predicted", "normal", r"is none of \['benign', 'malignant'\]"),
        ("predicted", "", r"is none of \['benign', 'malignant'\]"),
        ("decision", "normal", r"is none of \['benign', 'malignant'\]"),
        ("predicted", "malignant", "is not the most probable class"),
        ("decision", "benign", r"is not the choice at the threshold of 0\.25"),
        ("p_malignant", "high", "is no probability"),
        ("p_malignant", "nan", "is no probability"),
        ("p_malignant", "0_3", "is no probability"),
        ("p_malignant", "-0.3", "is no probability"),
        ("p_malignant", "1e999", "do not sum to 1"),
        ("p_malignant", "0.4", "do not sum to 1"),
        ("fold", "1.0", "want a whole number such as 1, or nothing"),
        ("path", "a\0.png", "names no file"),
        ("path", "study/images/SOB_B_A-14-22549AB-100-001.png", "stands in an earlier row too"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_by_file_row_and_value(
    images: pd.DataFrame, tmp_path: Path, column: str, value: str, words: str
) -> None:
    path = tmp_path / "p.csv"
    provenance = Provenance(threshold=0.25)
    make_predictions(images, SCORES, task=BINARY, threshold=0.25, provenance=provenance).write(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"p\.csv, row 3: .*{column} = '?.*: {words}.*"):
        read_predictions(path)


def test_either_of_two_equally_probable_classes_may_be_predicted(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    table = make_predictions(images, np.full((3, 2), 0.5), task=BINARY)
    for name in BINARY.classes:
        replace(table, frame=table.frame.assign(predicted=name)).write(tmp_path / "p.csv")
        assert set(read_predictions(tmp_path / "p.csv").frame["predicted"]) == {name}


def test_a_decision_is_free_where_each_fold_has_its_threshold_and_follows_for_many_classes(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    path, each = tmp_path / "p.csv", np.array([0.05, 0.9, 0.9])
    make_predictions(
        images.assign(fold=["1", "2", "2"]), SCORES, task=BINARY, threshold=each
    ).write(path)
    assert read_predictions(path).frame["decision"].tolist() == ["malignant", "benign", "benign"]
    four = make_predictions(images.assign(label=""), np.eye(4)[:3], task=HER2)
    replace(four, frame=four.frame.assign(decision="3+")).write(path)
    with pytest.raises(DataError, match=r"row 2: predicted = '0', decision = '3\+': differ"):
        read_predictions(path)


def test_a_table_that_was_changed_is_refused_however_sound_it_looks(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    make_predictions(images, SCORES, task=BINARY).write(path)
    whole = path.read_text()
    fewer = whole.rpartition("study/")[0]
    for edited in (whole.replace("0.9,0.1", "0.8,0.2"), fewer, whole + "\n"):
        path.write_text(edited)
        with pytest.raises(DataError, match=r"p\.csv: was changed after it was written.*again"):
            read_predictions(path)
    path.write_text(whole)
    assert len(read_predictions(path)) == 3


def test_a_table_is_read_under_a_new_name_and_never_with_the_sidecar_of_another(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    leaky = Provenance(protocol=Protocol("image", "5-fold", leaky=True))
    honest = Provenance(protocol=Protocol("patient", "5-fold"))
    for name, provenance, scores in (("a", leaky, SCORES), ("b", honest, SCORES[::-1])):
        table = make_predictions(images, scores, task=BINARY, provenance=provenance)
        table.write(tmp_path / f"pred.{name}")
    assert read_predictions(tmp_path / "pred.a").provenance == leaky
    assert read_predictions(tmp_path / "pred.b").provenance == honest
    (tmp_path / "pred.b.meta.json").replace(tmp_path / "pred.a.meta.json")
    with pytest.raises(
        DataError, match=r"pred\.a\.meta\.json: belongs to another table, 'pred\.b'"
    ):
        read_predictions(tmp_path / "pred.a")
    (tmp_path / "pred.b").rename(tmp_path / "pred.a")
    assert read_predictions(tmp_path / "pred.a").provenance == honest


def test_what_guards_honesty_cannot_be_changed_in_the_sidecar(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    path, sidecar = tmp_path / "p.csv", tmp_path / "p.csv.meta.json"
    leaky = Provenance(protocol=Protocol("image", "5-fold", leaky=True), threshold=0.5)
    make_predictions(images, SCORES, task=BINARY, threshold=0.5, provenance=leaky).write(path)
    meta = json.loads(sidecar.read_text())
    honest = {**meta["protocol"], "leaky": False}
    for name, value in (
        ("protocol", honest),
        ("threshold", "0.4"),
        ("threshold", -5),
        ("threshold", None),
        ("rows", 2),
        ("sha256", "0" * 64),
        ("seen_allowed", "no"),
        ("notes", "none"),
        ("task", {"name": "binary"}),
        ("other", 1),
    ):
        sidecar.write_text(json.dumps({**meta, name: value}))
        with pytest.raises(DataError, match=r"p\.csv"):
            read_predictions(path)
        sidecar.write_text(json.dumps({key: meta[key] for key in meta if key != name}))
        if name in meta:
            with pytest.raises(DataError, match=rf"p\.csv\.meta\.json: {name}.* is missing"):
                read_predictions(path)
