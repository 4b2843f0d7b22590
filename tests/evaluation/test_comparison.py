"""Comparisons of models: against hand-counted tables, brute-force resampling and each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.predictions import Predictions
from eosin.artefacts.shared_ranks import rank_in_groups
from eosin.errors import DataError
from eosin.evaluation.compare import compare_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.protocol import Protocol
from eosin.tasks import Task

BENIGN, MALIGNANT = "benign", "malignant"

# Three patients, eight images: (patient, label, what VGG16 says, what ResNet50 says).
IMAGES = [
    ("14-22549", BENIGN, 0.1, 0.2),
    ("14-22549", BENIGN, 0.2, 0.7),  # ResNet50 alone is wrong
    ("14-22549", BENIGN, 0.8, 0.9),  # both are wrong
    ("14-9133", BENIGN, 0.3, 0.6),  # ResNet50 alone is wrong
    ("14-2523", MALIGNANT, 0.9, 0.8),
    ("14-2523", MALIGNANT, 0.4, 0.7),  # VGG16 alone is wrong
    ("14-2523", MALIGNANT, 0.8, 0.3),  # ResNet50 alone is wrong
    ("14-2523", MALIGNANT, 0.7, 0.6),
]


@pytest.fixture
def pair(small_table) -> dict[str, Predictions]:
    return {
        "VGG16": small_table([(who, label, p) for who, label, p, _ in IMAGES]),
        "ResNet50": small_table([(who, label, p) for who, label, _, p in IMAGES]),
    }


def shifted(table: Predictions, towards_truth: float, *, seed: int = 0) -> Predictions:
    """The table with its binary probabilities moved towards the truth by a noisy amount."""
    draw = np.random.default_rng(seed)
    p = table.probabilities[:, 1]
    sign = 2 * table.label_index - 1
    logit = np.log(p / (1 - p)) + sign * towards_truth + draw.normal(0, 0.3, len(p))
    p = 1 / (1 + np.exp(-logit))
    said = np.where(p >= 0.5, MALIGNANT, BENIGN)
    columns = {"p_benign": 1 - p, "p_malignant": p, "predicted": said, "decision": said}
    return replace(table, frame=table.frame.assign(**columns))


def test_values_differences_and_tests_equal_those_counted_by_hand(pair):
    comparison = compare_predictions(pair, resamples=200)
    assert comparison.models == ("VGG16", "ResNet50")
    assert (comparison.images, comparison.patients) == (8, 3)
    assert comparison.value("VGG16", "accuracy").value == 6 / 8
    assert comparison.value("ResNet50", "accuracy").value == 4 / 8
    assert comparison.difference("VGG16", "ResNet50").value == 2 / 8
    # Balanced accuracy: (3/4 + 3/4) / 2 against (1/4 + 3/4) / 2.
    assert comparison.difference("VGG16", "ResNet50", "balanced_accuracy").value == 0.25
    assert comparison.difference("VGG16", "ResNet50", "recall", Scope("benign")).value == 0.5
    # Patient recognition: (2/3 + 1 + 3/4) / 3 against (1/3 + 0 + 3/4) / 3.
    recognition = comparison.difference("VGG16", "ResNet50", "patient_recognition_rate")
    assert recognition.value == pytest.approx((1 / 3 + 1 + 0) / 3)
    by_image, by_patient = comparison.tests
    # Three images VGG16 alone got right, one ResNet50 alone: 2 * (1 + 4) / 16.
    assert (by_image.unit, by_image.first_better, by_image.second_better) == ("image", 3, 1)
    assert by_image.p == pytest.approx(10 / 16)
    # Gains of +1, +1 and 0 images: the total +2 or -2 comes out in two of four ways.
    assert (by_patient.unit, by_patient.first_better, by_patient.second_better) == ("patient", 2, 0)
    assert by_patient.p == pytest.approx(2 / 4)
    assert by_patient.p_holm == by_patient.p  # one pair: nothing to correct for


def test_mistakes_and_their_overlap_equal_those_counted_by_hand(pair):
    mistakes = compare_predictions(pair, resamples=200).mistakes
    assert mistakes.wrong == (2, 4)
    assert mistakes.wrong_shared == ((2, 1), (1, 4))
    assert [mistakes.jaccard(0, other) for other in (0, 1)] == [1, 1 / 5]
    assert mistakes.wrong_alone == (1, 3)
    assert (mistakes.images_all_get_wrong, mistakes.images_any_gets_wrong) == (1, 5)
    table = mistakes.frame()
    assert table["path"].tolist() == [f"/bh/SOB_{n:03d}.png" for n in (2, 1, 3, 5, 6)]
    assert table["models_wrong"].tolist() == [2, 1, 1, 1, 1]
    assert table["predicted_VGG16"].tolist() == [
        MALIGNANT,
        BENIGN,
        BENIGN,
        BENIGN,
        MALIGNANT,
    ]


def test_models_that_never_err_have_no_overlap_to_speak_of(small_table):
    right = small_table([("14-22549", BENIGN, 0.1), ("14-2523", MALIGNANT, 0.9)])
    mistakes = compare_predictions({"VGG16": right, "VGG19": right}, resamples=200).mistakes
    assert mistakes.jaccard(0, 1) is None
    assert mistakes.frame().empty


def test_the_paired_interval_equals_resampling_the_patients_of_both_by_brute_force(drawn_table):
    one = drawn_table(images=150, patients=15, seed=1)
    other = shifted(one, 0.4)
    found = compare_predictions({"a": one, "b": other}, resamples=80, seed=3)
    patients = sorted(set(one.frame["patient"]))
    draw = np.random.default_rng(3)
    differences: dict[str, list[float]] = {"accuracy": [], "log_loss": []}
    for _ in range(80):
        who = [patients[n] for n in draw.integers(0, len(patients), len(patients))]
        rows = np.concatenate([np.flatnonzero(one.frame["patient"] == name) for name in who])
        truth = one.label_index[rows]
        right = [(t.predicted_index[rows] == truth).mean() for t in (one, other)]
        loss = [-np.log(t.probabilities[rows, truth]).mean() for t in (one, other)]
        differences["accuracy"].append(right[0] - right[1])
        differences["log_loss"].append(loss[0] - loss[1])
    for metric, values in differences.items():
        low, high = np.quantile(values, [0.025, 0.975])
        difference = found.difference("a", "b", metric)
        assert (difference.low, difference.high) == (pytest.approx(low), pytest.approx(high))


def test_each_model_keeps_the_figures_of_its_own_evaluation(drawn_table):
    one = drawn_table(images=150, patients=15, seed=1)
    comparison = compare_predictions({"a": one, "b": shifted(one, 1.0)}, resamples=100, seed=4)
    evaluation = evaluate_predictions(one, resamples=100, seed=4)
    for metric, scope in (("accuracy", ALL), ("sensitivity", ALL), ("f1", Scope("malignant"))):
        assert comparison.value("a", metric, scope) == evaluation.value(metric, scope)


def test_a_paired_interval_is_narrower_than_the_models_own(drawn_table):
    one = drawn_table(images=600, patients=30, seed=5)
    comparison = compare_predictions({"a": one, "b": shifted(one, 0.1)}, resamples=300)
    own, paired = comparison.value("a", "accuracy"), comparison.difference("a", "b")
    assert paired.high - paired.low < 0.5 * (own.high - own.low)


def test_identical_tables_differ_by_exactly_nothing_and_share_a_rank(drawn_table):
    table = drawn_table(Task("her2", ("0", "1+", "2+", "3+"), ordinal=True), images=120)
    comparison = compare_predictions({"a": table, "b": table, "c": table}, resamples=100)
    found = [difference.estimate for difference in comparison.differences]
    assert all((each.value, each.low, each.high) == (0, 0, 0) for each in found)
    assert not any(each.excludes_zero for each in found)
    assert [test.p_holm for test in comparison.tests] == [1.0] * 6
    assert comparison.primary_metric == "quadratic_kappa"
    for metric in ("accuracy", "quadratic_kappa", "log_loss"):
        assert [each.rank for each in comparison.ranking(metric)] == [1, 1, 1]


def test_a_clearly_better_model_has_rank_one_alone(drawn_table):
    table = drawn_table(images=600, patients=30, seed=2)
    models = {"weak": table, "weak too": shifted(table, 0.05, seed=1), "best": shifted(table, 3.0)}
    comparison = compare_predictions(models, resamples=300)
    for metric in ("accuracy", "balanced_accuracy"):
        ranking = comparison.ranking(metric)
        assert ranking[0].model == "best"
        assert [each.rank for each in ranking] == [1, 2, 2]
    first, second, _ = comparison.ranking("log_loss")  # lower is better
    assert (first.model, first.rank, second.rank) == ("best", 1, 2)
    p = {(t.first, t.second, t.unit): t.p_holm for t in comparison.tests}
    assert p["weak", "best", "patient"] < 0.001
    assert p["weak", "weak too", "patient"] > 0.05


def test_a_difference_asked_the_other_way_round_is_its_mirror(drawn_table):
    one = drawn_table(images=200, seed=3)
    other = shifted(one, 0.5)
    here = compare_predictions({"a": one, "b": other}, resamples=100)
    there = compare_predictions({"b": other, "a": one}, resamples=100)
    for metric in here.metrics:
        asked, mirrored = here.difference("b", "a", metric), there.difference("b", "a", metric)
        assert asked.value == mirrored.value
        assert (asked.low, asked.high) == pytest.approx((mirrored.low, mirrored.high), abs=1e-15)
    assert [t.p for t in here.tests] == [t.p for t in there.tests]


def test_the_rule_of_ranks_compares_with_the_first_of_the_rank_only():
    values = {"a": 0.90, "b": 0.88, "c": 0.86, "d": 0.80}
    told_apart = {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}
    ranked = rank_in_groups(
        values, apart=lambda one, other: (one, other) in told_apart, higher_is_better=True
    )
    assert [(each.rank, each.model) for each in ranked] == [
        (1, "a"),
        (1, "b"),
        (2, "c"),
        (2, "d"),
    ]
    lower = rank_in_groups(values, apart=lambda *_: True, higher_is_better=False)
    assert [each.model for each in lower] == ["d", "c", "b", "a"]


def test_images_that_not_all_tables_have_are_left_out_and_counted(pair):
    fewer = pair["ResNet50"].where(np.arange(8) != 4)
    comparison = compare_predictions({**pair, "ResNet50": fewer}, resamples=200)
    assert comparison.images == 7
    assert comparison.left_out == {"VGG16": 1, "ResNet50": 0}
    assert any("VGG16: 1 of 8 images left out" in note for note in comparison.notes)


def test_the_order_of_rows_does_not_matter(pair):
    shuffled = replace(pair["ResNet50"], frame=pair["ResNet50"].frame.iloc[::-1])
    mixed = compare_predictions({**pair, "ResNet50": shuffled}, resamples=200)
    assert mixed.differences == compare_predictions(pair, resamples=200).differences


def test_an_image_with_two_labels_is_refused_by_name(pair, small_table):
    other = pair["ResNet50"].frame.copy()
    other.loc[3, "label"] = MALIGNANT
    with pytest.raises(DataError, match=r"SOB_003.png: label 'benign' in VGG16, 'malignant'"):
        compare_predictions({**pair, "ResNet50": replace(pair["ResNet50"], frame=other)})


def test_models_of_different_classes_are_refused(pair, drawn_table):
    her2 = drawn_table(Task("her2", ("0", "1+", "2+", "3+"), ordinal=True))
    with pytest.raises(DataError, match=r"VGG16 answers for the classes \['benign', 'malignant'\]"):
        compare_predictions({"VGG16": pair["VGG16"], "HER2": her2})


def test_tables_of_other_images_an_image_twice_and_a_single_table_are_refused(pair):
    elsewhere = pair["ResNet50"].frame.assign(path=[f"/x/{n}.png" for n in range(8)])
    with pytest.raises(DataError, match="no image is in all tables"):
        compare_predictions({**pair, "x": replace(pair["ResNet50"], frame=elsewhere)})
    twice = pair["ResNet50"].frame.assign(path="/bh/SOB_000.png")
    with pytest.raises(DataError, match=r"x: has /bh/SOB_000.png twice"):
        compare_predictions({**pair, "x": replace(pair["ResNet50"], frame=twice)})
    with pytest.raises(DataError, match="two or more predictions tables, got 1"):
        compare_predictions({"VGG16": pair["VGG16"]})


def test_protocols_that_differ_are_allowed_and_said_loudly(pair, small_table):
    assert compare_predictions(pair, resamples=200).warnings == ()
    leaky = replace(
        pair["ResNet50"].provenance, protocol=Protocol("image", "70/15/15", leaky=True, seed=7)
    )
    mixed = {**pair, "ResNet50": replace(pair["ResNet50"], provenance=leaky)}
    (warning,) = compare_predictions(mixed, resamples=200).warnings
    assert "patient-level, 5-fold: VGG16; image-level (leaky), 70/15/15: ResNet50" in warning
    reseeded = replace(leaky, protocol=Protocol("patient", "5-fold", seed=8))
    mixed = {**pair, "ResNet50": replace(pair["ResNet50"], provenance=reseeded)}
    (warning,) = compare_predictions(mixed, resamples=200).warnings
    assert "patient-level, 5-fold with seed 8: ResNet50" in warning


def test_without_patients_there_is_no_patient_level_test(pair):
    unknown = {
        name: replace(
            table,
            frame=table.frame.assign(patient=""),
            provenance=replace(table.provenance, protocol=Protocol(patients_known=False)),
        )
        for name, table in pair.items()
    }
    comparison = compare_predictions(unknown, resamples=200)
    assert [test.unit for test in comparison.tests] == ["image"]
    assert "patient_recognition_rate" not in comparison.metrics
    assert any("Patients are unknown" in note for note in comparison.notes)


def test_asking_for_what_is_not_there_names_what_is(pair):
    comparison = compare_predictions(pair, resamples=200)
    with pytest.raises(DataError, match=r"no model 'VGG'.*\['VGG16', 'ResNet50'\]"):
        comparison.value("VGG", "accuracy")
    with pytest.raises(DataError, match="no metric 'kappa'"):
        comparison.ranking("kappa")
    with pytest.raises(DataError, match="two models"):
        comparison.difference("VGG16", "VGG16")


def test_a_metric_without_a_value_cannot_rank(small_table):
    benign = small_table([("14-22549", BENIGN, 0.1), ("14-9133", BENIGN, 0.6)])
    comparison = compare_predictions({"a": benign, "b": benign}, resamples=200)
    assert comparison.difference("a", "b", "roc_auc").value is None
    with pytest.raises(DataError, match="cannot rank by 'roc_auc': undefined"):
        comparison.ranking("roc_auc")


def test_the_written_comparison_and_its_tables_hold_the_same_figures(pair, tmp_path: Path):
    comparison = compare_predictions(pair, resamples=200, seed=5)
    comparison.write(tmp_path / "comparison.json")
    fields = json.loads((tmp_path / "comparison.json").read_text())
    assert (fields["kind"], list(fields["provenance"])) == ("comparison", ["VGG16", "ResNet50"])
    assert fields["rankings"]["accuracy"][0] == {"rank": 1, "model": "VGG16", "value": 0.75}
    frame = comparison.frame()
    row = frame[(frame["metric"] == "accuracy") & (frame["scope"] == "all")].iloc[0]
    written = next(d["estimate"] for d in fields["differences"])
    assert written["metric"] == "accuracy"
    assert (row["difference"], row["low"]) == (written["value"], written["low"])
    models = comparison.model_frame()
    assert set(models["protocol"]) == {"patient-level, 5-fold"}
    assert not models["leaky"].any()
    accuracy = models[(models["metric"] == "accuracy") & (models["scope"] == "all")]
    assert accuracy["value"].tolist() == [0.75, 0.5]
