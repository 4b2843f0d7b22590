"""Tables, the learning section and wording, against numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.estimate import ALL, Estimate, Scope
from eosin.artefacts.run import FoldsRun
from eosin.errors import ModelError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.networks.run import write_run
from eosin.reporting.learning import describe_learning
from eosin.reporting.measures import class_table, magnification_table, overall_table
from eosin.reporting.tables import dataset_table, fold_table, patient_table
from eosin.reporting.wording import cell, counted, figure, interval, measured, number, per_cent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Experiment


def test_the_dataset_table_counts_images_and_patients_at_each_magnification(
    experiment: Experiment,
) -> None:
    table = dataset_table(experiment.predictions())
    assert table.columns == ("Class", "100×", "400×", "Images", "Patients")
    assert table.rows == (
        ("benign", "12 (6)", "6 (6)", "18", "6"),
        ("malignant", "12 (6)", "6 (6)", "18", "6"),
        ("All", "24 (12)", "12 (12)", "36", "12"),
    )


def test_a_patient_with_images_of_two_classes_counts_once_in_the_last_row(
    experiment: Experiment,
) -> None:
    predictions = experiment.predictions()
    frame = predictions.frame.replace({"patient": {"14-16716": "14-22549"}})
    table = dataset_table(replace(predictions, frame=frame))
    assert [row[-1] for row in table.rows] == ["6", "6", "11"]
    assert "A patient with images of two classes" in table.caption


def test_folds_are_listed_in_order_with_what_each_held_out(experiment: Experiment) -> None:
    predictions = experiment.predictions()
    assert fold_table(predictions) is None
    folds = [str(number % 12 + 1) for number in range(36)]
    table = fold_table(replace(predictions, frame=predictions.frame.assign(fold=folds)))
    assert table is not None
    assert [row[0] for row in table.rows] == [f"Fold {number}" for number in range(1, 13)]
    assert table.rows[0] == ("Fold 1", "2", "1", "3", "3")


def test_patients_are_listed_from_the_worst_recognised(experiment: Experiment) -> None:
    table = patient_table(evaluate_predictions(experiment.predictions(), resamples=100))
    assert table is not None
    assert table.columns[2] == "Recognition rate"
    rates = [float(row[2]) for row in table.rows]
    assert rates == sorted(rates)
    assert len(rates) == 12
    assert rates.count(0.667) == 6
    assert rates[-1] == 1.0


def test_class_and_magnification_tables_give_value_interval_and_n(experiment: Experiment) -> None:
    evaluation = evaluate_predictions(experiment.predictions(), resamples=100)
    table = class_table(evaluation)
    recall = evaluation.value("recall", Scope("malignant"))
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["Recall"].replace("\xa0", " ") == (
        f"{recall.value:.3f}\n[{recall.low:.3f}, {recall.high:.3f}]\nof 18 images, 6 patients"
    )
    others = evaluation.value("specificity", Scope("malignant"))
    assert (others.images, others.patients) == (18, 6)
    chosen = evaluation.value("precision", Scope("malignant"))
    frame = experiment.predictions().frame
    assert chosen.images == (frame["predicted"] == "malignant").sum()
    assert evaluation.value("roc_auc", Scope("malignant")).images == 36
    steps = magnification_table(evaluation)
    assert steps is not None
    assert [row[0] for row in steps.rows] == ["100×", "400×"]
    assert [row[-1] for row in steps.rows] == ["24 images, 12 patients", "12 images, 12 patients"]


def test_every_measure_of_the_evaluation_stands_in_the_overall_table(
    experiment: Experiment,
) -> None:
    predictions = experiment.predictions()
    images = evaluate_predictions(predictions, resamples=100)
    patients = evaluate_predictions(predictions, level="patient", resamples=100)
    table = overall_table(images, patients)
    assert len(table.rows) == len([1 for each in images.estimates if each.scope == ALL])
    assert table.columns[1:3] == (
        "By image\n36 images, 12 patients",
        "By patient\n36 images, 12 patients",
    )


def test_a_run_that_was_fine_tuned_shows_its_curves(experiment: Experiment, tmp_path: Path) -> None:
    run = write_run(tmp_path, experiment.run.record)
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.4], "val_accuracy": [0.5, 0.6]})
    history.to_csv(tmp_path / "history.csv", index=False)
    learning = describe_learning(run)
    assert [drawing.title for drawing in learning.drawings] == ["Loss", "Accuracy"]
    assert learning.drawings[0].caption == "Violet: training patients."
    assert learning.drawings[1].caption == "Pink: validation patients."


WHY = (
    "0.410 gains +0.012 balanced accuracy, cross-validated over 18 patients: not more than one "
    "standard error (0.034), so 0.5"
)


def test_the_epoch_kept_is_marked_and_named(experiment: Experiment, tmp_path: Path) -> None:
    record = with_changes(experiment.run.record, choices={"epoch": 2})
    run = write_run(tmp_path, record)
    columns = {"epoch": [1, 2, 3], "train_loss": [0.7, 0.4, 0.3], "val_loss": [0.6, 0.5, 0.7]}
    history = pd.DataFrame({**columns, "val_balanced_accuracy": [0.5, 0.7, 0.6]})
    history.to_csv(tmp_path / "history.csv", index=False)
    learning = describe_learning(run)
    assert "A ring marks the epoch whose weights were kept (Model 1: epoch 2)." in learning.lead
    assert [drawing.title for drawing in learning.drawings] == ["Loss", "Balanced accuracy"]
    for word in ("training", "validation", "epoch kept", "Epoch", "Loss"):
        assert f">{word}</text>" in learning.drawings[0].svg


def test_a_run_of_frozen_folds_shows_what_each_probe_chose(
    experiment: Experiment, tmp_path: Path, folds_of: Callable[..., FoldsRun]
) -> None:
    members = []
    for fold in (1, 2):
        record = with_changes(
            experiment.run.record,
            fold=fold,
            choices={
                "strength": 0.01,
                "inner_log_loss": {"0.01": 0.512, "1": 0.6},
                "threshold": {
                    "value": 0.5,
                    "candidate": 0.41,
                    "gain": 0.012,
                    "standard_error": 0.034,
                    "groups": 18,
                },
            },
        )
        members.append(write_run(tmp_path / f"fold-{fold}", record))
    outer = folds_of(tmp_path, members)
    learning = describe_learning(write_run(tmp_path, outer))
    assert learning.drawings == ()
    assert learning.table is not None
    assert learning.table.rows == (
        ("Fold 1", "0.01", "0.512", "0.01: 0.512, 1: 0.600", "1.250", "0.500", WHY),
        ("Fold 2", "0.01", "0.512", "0.01: 0.512, 1: 0.600", "1.250", "0.500", WHY),
    )
    assert "mean inner log loss of 0.512; guessing has 0.693." in learning.lead
    assert "next, try stronger or weaker ones (`probe_c`)" in learning.lead


def test_a_frozen_training_of_several_blocks_shows_what_each_of_them_chose(
    experiment: Experiment, tmp_path: Path
) -> None:
    choices = {"strength": [0.01, 0.01, 1.0], "inner_log_loss": {"0.01": 0.5, "0.1": 0.7, "1": 0.8}}
    record = with_changes(experiment.run.record, choices=choices)
    table = describe_learning(write_run(tmp_path, record)).table
    assert table is not None
    assert table.rows[0][1:3] == ("0.01, 1", "0.600")


def test_a_run_without_history_says_so(experiment: Experiment) -> None:
    assert describe_learning(experiment.run).lead == "This Run keeps no history of its training."


def test_a_history_without_epochs_is_refused_by_name(
    experiment: Experiment, tmp_path: Path
) -> None:
    (tmp_path / "history.csv").write_text("loss\n0.5\n")
    with pytest.raises(ModelError, match=r"history\.csv: has no column 'epoch'"):
        describe_learning(write_run(tmp_path, experiment.run.record))


def test_numbers_are_written_one_way() -> None:
    found = Estimate(0.9644, 0.941, 0.9806, 1820, 82, "roc_auc", level="patient")
    assert figure(found) == "0.964 [0.941,\xa00.981]"
    assert figure(found, space=" ") == "0.964 [0.941, 0.981]"
    assert cell(found) == "0.964\n[0.941,\xa00.981]"
    assert measured(found) == "ROC AUC by patient"
    assert number(None) == "–"
    alone = Estimate(0.5, None, None, 9, 1, "accuracy", note="one patient: no interval")
    assert (interval(alone), figure(alone), measured(alone)) == ("", "0.500", "accuracy")
    change = Estimate(-0.12, -0.2, -0.0001, 1820, 82, "accuracy")
    assert cell(change, signed=True, starred=True) == "−0.120\xa0★\n[−0.200,\xa00.000]"
    assert [number(x, signed=True) for x in (0.0312, -0.0001, 0.0, None)] == [
        "+0.031",
        "0.000",
        "0.000",
        "–",
    ]
    assert per_cent(0.4879) == "49\xa0%"
    assert counted(1, "patient") == "1 patient"
    assert counted(1820, "image") == "1,820 images"
