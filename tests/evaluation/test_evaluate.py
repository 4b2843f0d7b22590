"""From a predictions table to defended figures, in ordinary and in awkward samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.evaluation import read_evaluation
from eosin.errors import ConfigError, DataError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.intervals import Interval
from eosin.evaluation.sentences import about_interval
from eosin.protocol import UNKNOWN

FOUR_PATIENTS = [
    ("14-22549", "malignant", 0.9, "40"),
    ("14-22549", "malignant", 0.6, "100"),
    ("14-9146", "malignant", 0.3, "40"),
    ("14-9146", "malignant", 0.45, "100"),
    ("14-13412", "benign", 0.2, "40"),
    ("14-13412", "benign", 0.1, "100"),
    ("14-20636", "benign", 0.7, "40"),
    ("14-20636", "benign", 0.35, "100"),
]


def test_known_figures_of_eight_images_of_four_patients(small_table):
    evaluation = evaluate_predictions(small_table(FOUR_PATIENTS, threshold=0.4))
    assert evaluation.value("accuracy").value == 5 / 8
    assert evaluation.value("sensitivity").value == 3 / 4
    assert evaluation.value("specificity").value == 3 / 4
    assert "locked threshold 0.4" in evaluation.value("sensitivity").note
    assert evaluation.value("recall", Scope("malignant")).value == 2 / 4
    assert evaluation.value("roc_auc").value == pytest.approx(12 / 16)
    assert evaluation.value("patient_recognition_rate").value == (1 + 0 + 1 + 0.5) / 4
    assert evaluation.value("accuracy", Scope(magnification="100")).value == 3 / 4
    assert evaluation.counts().predicted == ((3, 1), (2, 2))
    assert evaluation.counts().decided == ((3, 1), (1, 3))
    assert evaluation.value("accuracy").images == 8
    assert evaluation.value("recall", Scope("benign")).patients == 2
    assert any("4 patients" in note for note in evaluation.notes)


def test_patient_level_averages_probabilities_before_it_decides(small_table):
    rows = [*FOUR_PATIENTS, ("14-9146", "malignant", 0.5, "100")]
    evaluation = evaluate_predictions(small_table(rows, threshold=0.41), level="patient")
    # Means: 0.75, 0.4167 (malignant), 0.15, 0.525 (benign).
    assert evaluation.counts().predicted == ((1, 1), (1, 1))
    assert evaluation.counts().decided == ((1, 1), (0, 2))
    assert evaluation.value("sensitivity").value == 1.0
    assert evaluation.value("roc_auc").value == 3 / 4
    assert (evaluation.images, evaluation.patients) == (9, 4)
    assert evaluation.value("recall", Scope("malignant")).images == 5
    with pytest.raises(DataError, match="patient_recognition_rate"):
        evaluation.value("patient_recognition_rate")


def test_a_patient_with_both_labels_is_left_out_at_patient_level_and_named(small_table):
    rows = [*FOUR_PATIENTS, ("8863", "benign", 0.2), ("8863", "malignant", 0.8)]
    evaluation = evaluate_predictions(small_table(rows), level="patient")
    assert evaluation.patients == 4
    assert any("8863" in note and "Left out" in note for note in evaluation.notes)
    assert "8863" not in {row.patient for row in evaluation.patient_table}
    assert evaluate_predictions(small_table(rows)).patients == 5


def test_patient_level_refuses_a_table_where_every_patient_has_both_labels(small_table):
    rows = [("8863", "benign", 0.2), ("8863", "malignant", 0.8)]
    with pytest.raises(DataError, match="level 'image'"):
        evaluate_predictions(small_table(rows), level="patient")


def test_the_patient_table_says_how_each_patient_fared(small_table):
    table = evaluate_predictions(small_table(FOUR_PATIENTS)).patient_table
    assert [row.patient for row in table] == ["14-13412", "14-20636", "14-22549", "14-9146"]
    row = table[1]
    assert (row.labels, row.images, row.recognition_rate) == (("benign",), 2, 0.5)
    assert row.probabilities == pytest.approx((0.475, 0.525))


def test_a_single_class_leaves_ranking_without_value_and_says_so(small_table, tmp_path):
    rows = [row for row in FOUR_PATIENTS if row[1] == "malignant"]
    evaluation = evaluate_predictions(small_table(rows))
    auc = evaluation.value("roc_auc")
    assert (auc.value, auc.low, auc.high) == (None, None, None)
    assert auc.note == "undefined: all images here are of class malignant"
    assert "no image of class benign" in evaluation.value("recall", Scope("benign")).note
    assert evaluation.value("accuracy").value == 0.5
    assert "without benign" in evaluation.value("macro_recall").note
    evaluation.write(tmp_path / "e.json")
    assert "NaN" not in (tmp_path / "e.json").read_text()


def test_one_patient_has_figures_and_no_interval(small_table):
    rows = [("14-22549", "malignant", p) for p in (0.9, 0.6, 0.2)]
    accuracy = evaluate_predictions(small_table(rows)).value("accuracy")
    assert accuracy.value == pytest.approx(2 / 3)
    assert (accuracy.low, accuracy.high, accuracy.note) == (None, None, "one patient: no interval")


def test_a_class_of_one_patient_has_no_interval_of_its_own(small_table):
    rows = [row for row in FOUR_PATIENTS if row[0] != "14-13412"]
    evaluation = evaluate_predictions(small_table(rows))
    recall = evaluation.value("recall", Scope("benign"))
    assert (recall.value, recall.low) == (0.5, None)
    assert "one patient of class benign" in recall.note
    assert "other than malignant" in evaluation.value("roc_auc").note
    assert evaluation.value("recall", Scope("malignant")).low is not None
    assert "one patient only for benign" in evaluation.value("balanced_accuracy").note


def test_resamples_without_a_class_are_left_out_and_counted(small_table):
    note = evaluate_predictions(small_table(FOUR_PATIENTS)).value("roc_auc").note
    share = float(note.split("undefined in ")[1].split("%")[0])
    assert share == pytest.approx(100 * 2 / 16, abs=3)  # four draws all of one class: 2 (1/2)^4


def test_a_flawless_sample_does_not_pretend_to_certainty(small_table):
    rows = [(f"14-{i}", "malignant" if i % 2 else "benign", 0.1 + 0.8 * (i % 2)) for i in range(8)]
    accuracy = evaluate_predictions(small_table(rows)).value("accuracy")
    assert (accuracy.value, accuracy.low, accuracy.high) == (1.0, 1.0, 1.0)
    assert "shows no uncertainty" in accuracy.note


def test_unknown_patients_make_each_image_its_own_and_say_it(small_table):
    rows = [("", label, p) for _, label, p, _ in FOUR_PATIENTS]
    evaluation = evaluate_predictions(small_table(rows, protocol=UNKNOWN))
    assert evaluation.patients == 8
    assert evaluation.patient_table == ()
    assert not evaluation.has("patient_recognition_rate")
    assert any("too narrow" in note for note in evaluation.notes)
    assert evaluation.value("accuracy").low is not None


def test_a_class_never_predicted_has_precision_zero_with_a_note(small_table):
    rows = [(patient, label, 0.2) for patient, label, _, _ in FOUR_PATIENTS]
    precision = evaluate_predictions(small_table(rows)).value("precision", Scope("malignant"))
    assert precision.value == 0.0
    assert "no image was predicted as malignant" in precision.note


def test_intervals_hold_their_value_and_repeat_with_the_seed(drawn_table):
    predictions = drawn_table(patients=60)
    evaluation = evaluate_predictions(predictions, seed=5, resamples=400)
    for estimate in evaluation.estimates:
        if estimate.low is not None:  # resampling overstates calibration errors, and says so
            holds = estimate.low <= estimate.value <= estimate.high
            assert holds or (estimate.metric == "ece" and "resampling biases" in estimate.note)
    assert evaluate_predictions(predictions, seed=5, resamples=400) == evaluation
    assert evaluate_predictions(predictions, seed=6, resamples=400) != evaluation


def test_an_interval_counts_patients_and_not_images(drawn_table, small_table):
    rows = [(f"14-{i}", "malignant", 0.9 if i < 14 else 0.1) for i in range(20)] * 50
    clustered = evaluate_predictions(small_table(rows)).value("accuracy")
    assert clustered.value == 0.7
    # Twenty patients, each all right or all wrong: the spread of a binomial of 20.
    assert clustered.high - clustered.low == pytest.approx(4 * np.sqrt(0.7 * 0.3 / 20), abs=0.06)


def test_an_evaluation_read_back_is_the_same_and_carries_the_protocol(small_table, tmp_path):
    evaluation = evaluate_predictions(small_table(FOUR_PATIENTS, threshold=0.4), resamples=100)
    evaluation.write(tmp_path / "evaluation.json")
    assert read_evaluation(tmp_path / "evaluation.json") == evaluation
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["provenance"]["protocol"]["name"] == "patient-level, 5-fold"


def test_the_frame_has_a_row_for_every_figure(drawn_table, her2):
    evaluation = evaluate_predictions(drawn_table(her2), resamples=100)
    frame = evaluation.frame()
    columns = ["metric", "scope", "value", "low", "high", "n_images", "n_patients", "note"]
    assert list(frame.columns) == columns
    assert len(frame) == len(evaluation.estimates)
    assert list(dict.fromkeys(frame["scope"])) == [str(scope) for scope in evaluation.scopes]
    assert evaluation.scopes[:3] == (ALL, Scope("0"), Scope("1+"))
    assert Scope("3+", magnification="40") in evaluation.scopes
    assert "magnification 40, class 3+" in set(frame["scope"])
    row = frame[(frame["metric"] == "quadratic_kappa") & (frame["scope"] == "all")].iloc[0]
    assert row["value"] == evaluation.value("quadratic_kappa").value


def test_asking_for_what_is_not_there_names_what_is(small_table):
    evaluation = evaluate_predictions(small_table(FOUR_PATIENTS), resamples=40)
    with pytest.raises(DataError, match=r"quadratic_kappa.*accuracy"):
        evaluation.value("quadratic_kappa")
    with pytest.raises(DataError, match=r"magnification='400'.*magnification='40'"):
        evaluation.value("accuracy", Scope(magnification="400"))


def test_wrong_settings_and_unlabelled_images_are_refused(small_table):
    table = small_table(FOUR_PATIENTS)
    with pytest.raises(ConfigError, match="'slide'"):
        evaluate_predictions(table, level="slide")
    with pytest.raises(ConfigError, match="10 resamples"):
        evaluate_predictions(table, resamples=10)
    with pytest.raises(DataError, match="has no label"):
        evaluate_predictions(small_table([("14-1", "", 0.3)]))


def test_a_figure_that_few_resamples_leave_undefined_is_not_said_to_miss_none_of_them():
    found = about_interval(Interval(0.2, 0.8, 1 - 1 / 5000), 0.5)
    assert found == [
        "undefined in fewer than 0.1% of resamples (a class is absent there), left out"
    ]


def test_sensitivity_stands_on_the_positives_and_specificity_on_the_others(small_table):
    rows = [*FOUR_PATIENTS, ("14-9146", "malignant", 0.5, "100")]
    evaluation = evaluate_predictions(small_table(rows))
    sensitivity, specificity = (evaluation.value(m) for m in ("sensitivity", "specificity"))
    assert (sensitivity.images, specificity.images) == (5, 4)
    assert specificity.patients == evaluation.value("recall", Scope("benign")).patients
