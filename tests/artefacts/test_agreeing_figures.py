"""Evaluations and comparisons whose parts contradict each other are refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eosin.artefacts.codec import plain, validated
from eosin.artefacts.comparison import Comparison
from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.evaluation import Evaluation, read_evaluation
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.errors import DataError
from eosin.evaluation.compare import compare_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.protocol import Protocol

Fields = dict[str, Any]
BY_PATIENT = Provenance(protocol=Protocol("patient", "5-fold"), threshold=0.3)


@pytest.fixture(scope="module")
def tables(patients_table: Callable[..., Predictions]) -> dict[str, Predictions]:
    """Of eight patients with three images each, the chances that two models give the truth."""
    rng = np.random.default_rng(3)
    return {name: patients_table(rng.uniform(0.2, 1, (8, 3)), BY_PATIENT) for name in "ab"}


@pytest.fixture(scope="module")
def comparison(tables: dict[str, Predictions]) -> Fields:
    return plain(compare_predictions(tables, resamples=50))


@pytest.fixture(scope="module")
def evaluation(tables: dict[str, Predictions]) -> Evaluation:
    return evaluate_predictions(tables["a"], resamples=50)


def one_model(fields: Fields) -> None:
    for name in ("provenance", "left_out", "estimates"):
        del fields[name]["b"]


def another_model_left_out(fields: Fields) -> None:
    fields["left_out"]["c"] = fields["left_out"].pop("b")


def a_figure_less_of_one(fields: Fields) -> None:
    fields["estimates"]["b"].pop()


def a_difference_less(fields: Fields) -> None:
    fields["differences"].pop()


def the_same_difference_twice(fields: Fields) -> None:
    fields["differences"][1] = fields["differences"][0]


def a_difference_beyond_the_range(fields: Fields) -> None:
    fields["differences"][0]["estimate"] |= {"value": 1.5, "low": 1.0, "high": 2.0}


def a_test_less(fields: Fields) -> None:
    fields["tests"].pop()


def pairs_the_other_way_round(fields: Fields) -> None:
    for test in fields["tests"]:
        test["first"], test["second"] = test["second"], test["first"]


def patients_that_nobody_knows(fields: Fields) -> None:
    fields["patients_known"] = False


def mistakes_of_three(fields: Fields) -> None:
    fields["mistakes"] |= {"wrong": [0] * 3, "wrong_alone": [0] * 3, "wrong_shared": [[0] * 3] * 3}


def a_rank_by_a_metric_without_one(fields: Fields) -> None:
    fields["rankings"]["kappa"] = fields["rankings"]["accuracy"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (one_model, "want the same two models or more"),
        (another_model_left_out, "want the same two models or more"),
        (a_figure_less_of_one, "estimates: not every model has the same figures"),
        (a_difference_less, "differences: want one of each pair of models and figure"),
        (the_same_difference_twice, "differences: want one of each pair of models and figure"),
        (a_difference_beyond_the_range, "lies where no such difference can"),
        (a_test_less, "tests: want one of each pair of models, by image, then by patient"),
        (pairs_the_other_way_round, "tests: want one of each pair of models"),
        (patients_that_nobody_knows, "tests: want one of each pair of models"),
        (mistakes_of_three, "mistakes: want counts of 2 models"),
        (a_rank_by_a_metric_without_one, "no metric 'kappa'"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_comparison_whose_parts_contradict_each_other_is_refused(
    damage: Callable[[Fields], None], said: str, comparison: Fields
) -> None:
    fields = copy.deepcopy(comparison)
    assert validated(Comparison, fields, "c.json", fix="compare again").models == ("a", "b")
    damage(fields)
    with pytest.raises(DataError, match=rf"c\.json: .*{said}.*; compare again"):
        validated(Comparison, fields, "c.json", fix="compare again")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: [*kept, kept[0]], r"confusion: counts \[24, 24\] of all for 24 scored"),
        (lambda kept: kept[:0], r"confusion: counts \[\] of all for 24 scored"),
        (
            lambda kept: [*kept, {**kept[0], "scope": {"class_name": "benign"}}],
            "confusion, class benign: scope or decided do not fit the task",
        ),
    ],
)
def test_an_evaluation_counts_everything_once_and_by_no_class(
    change: Callable[[list[Fields]], list[Fields]], said: str, evaluation: Evaluation
) -> None:
    fields = json.loads(json.dumps(plain(evaluation)))
    fields["confusion"] = [
        {**each, "scope": {"magnification": None, **each["scope"]}}
        for each in change(fields["confusion"])
    ]
    with pytest.raises(DataError, match=said):
        validated(Evaluation, fields, "e.json", fix="evaluate again")


def test_two_rules_are_one_where_they_choose_alike(
    tables: dict[str, Predictions], patients_table: Callable[..., Predictions]
) -> None:
    at_a_third = evaluate_predictions(tables["a"], resamples=50)
    assert at_a_third.counts().decided != at_a_third.counts().predicted
    assert not at_a_third.one_rule
    at_a_half = Provenance(protocol=BY_PATIENT.protocol, threshold=0.5)
    truth = np.random.default_rng(3).uniform(0.2, 1, (8, 3))
    assert evaluate_predictions(patients_table(truth, at_a_half), resamples=50).one_rule


def test_what_an_evaluation_does_not_have_is_answered_with_what_it_has(
    evaluation: Evaluation,
) -> None:
    assert evaluation.has("accuracy")
    assert not evaluation.has("accuracy", Scope("DC"))
    with pytest.raises(DataError, match=r"no scope Scope\(class_name='DC'.*it has \[Scope"):
        evaluation.value("accuracy", Scope("DC"))
    with pytest.raises(DataError, match=r"no metric 'kappa' for scope .*there are \['accuracy'"):
        evaluation.value("kappa")
    with pytest.raises(DataError, match="no confusion matrix of"):
        evaluation.counts(Scope(None, "400"))
    assert evaluation.counts(ALL).scope == ALL


def test_scopes_of_0_1_0_that_two_texts_could_mean_are_refused(tmp_path: Path) -> None:
    old = json.loads(
        (Path(__file__).parent / "written_by_0_1_0" / "evaluation-by-image.json").read_text()
    )
    for counts in (old["confusion"], old["decision_confusion"]):
        counts["magnification 40"] = counts["all"]
        counts["magnification 40, class benign"] = counts["all"]
    (tmp_path / "e.json").write_text(json.dumps(old))
    with pytest.raises(DataError, match=r"e\.json: not whole \(KeyError\('scope'\)"):
        read_evaluation(tmp_path / "e.json")
