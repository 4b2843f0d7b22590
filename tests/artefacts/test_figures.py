"""Estimates, what metrics mean, and rankings: values that a reader and a page rely on."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eosin.artefacts.comparison import Difference, primary_metric_of, rank_models
from eosin.artefacts.estimate import ALL, Estimate, Scope, figure_frame
from eosin.artefacts.evaluation import require_figures
from eosin.artefacts.glossary import GLOSSARY, Meaning
from eosin.artefacts.looks import figure_rows
from eosin.artefacts.mistakes import Mistakes
from eosin.artefacts.shared_ranks import Ranked, rank_in_groups
from eosin.errors import DataError
from eosin.tasks import Task

ACCURACY = Estimate(0.75, 0.5, 0.875, 24, 6, "accuracy")
UNDEFINED = Estimate(None, None, None, 24, 6, "roc_auc", note="one class only: undefined")
GRADES = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
BINARY = Task("binary", ("benign", "malignant"), positive="malignant")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (ACCURACY, "Accuracy 0.750 [0.500, 0.875] (24 images, 6 patients)"),
        (UNDEFINED, "ROC AUC: one class only: undefined"),
        (
            replace(ACCURACY, low=None, high=None, note="one patient", scope=Scope("A")),
            "Accuracy of class A 0.750 no interval (24 images, 6 patients)",
        ),
        (
            replace(ACCURACY, metric="f1", scope=Scope("A", "40")),
            "F1 of magnification 40, class A 0.750 [0.500, 0.875] (24 images, 6 patients)",
        ),
    ],
)
def test_an_estimate_reads_as_a_sentence(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


@pytest.mark.parametrize(
    ("changes", "least", "most", "inside"),
    [
        ({}, 0, 1, True),
        ({}, 0.5, 0.875, True),
        ({}, 0.5, 0.87, False),
        ({}, 0.51, 1, False),
        ({"value": 1 + 1e-10, "high": 1 + 1e-10}, 0, 1, True),  # of a sum of shares
        ({"value": 1 + 1e-6, "high": 1 + 1e-6}, 0, 1, False),
        ({"value": 0.75, "low": None, "high": None, "note": "x"}, 0.7, 0.8, True),
        ({"value": 0.75, "low": None, "high": None, "note": "x"}, 0.8, 0.9, False),
        ({"value": None, "low": None, "high": None, "note": "x"}, 5, 6, True),
    ],
)
def test_a_figure_lies_within_a_range_with_all_that_is_known_of_it(
    changes: dict[str, object], least: float, most: float, inside: bool
) -> None:
    assert replace(ACCURACY, **changes).lies_within(least, most) is inside


def test_figures_become_rows_in_order_and_what_is_missing_is_no_number() -> None:
    frame = figure_frame([({"model": "a"}, ACCURACY), ({"model": "b"}, UNDEFINED)])
    assert frame.columns.tolist() == [
        *("model", "metric", "scope", "value", "low", "high", "n_images", "n_patients", "note")
    ]
    assert frame["model"].tolist() == ["a", "b"]
    assert frame["value"].tolist()[0] == 0.75
    assert frame.loc[1, ["value", "low", "high"]].isna().all()
    assert frame["value"].dtype == float
    only = figure_frame([({}, UNDEFINED)])
    assert only["value"].dtype == float  # a column of nothing is one of numbers too
    assert only["note"].tolist() == ["one class only: undefined"]


def test_rows_for_a_reader_have_no_interval_where_there_is_none() -> None:
    rows = figure_rows([("Accuracy", ACCURACY), ("ROC AUC", UNDEFINED)], 0.95)
    assert rows["95 % interval"].tolist() == ["[0.500, 0.875]", ""]
    assert rows[["images", "patients"]].to_numpy().tolist() == [[24, 6]] * 2


@pytest.mark.parametrize("name", GLOSSARY)
def test_every_metric_has_a_name_of_its_own_and_chance_within_its_range(name: str) -> None:
    meaning = GLOSSARY[name]
    assert meaning.name
    assert meaning.sentence.endswith(".")
    assert [other for other in GLOSSARY.values() if other.name == meaning.name] == [meaning]
    assert meaning.least < meaning.most
    if meaning.chance is not None:
        assert meaning.least <= meaning.chance <= meaning.most
    assert meaning.title[1:] == meaning.name[1:]


@pytest.mark.parametrize(
    ("name", "better", "least", "most", "chance"),
    [
        ("accuracy", "higher", 0, 1, None),
        ("roc_auc", "higher", 0, 1, 0.5),
        ("mcc", "higher", -1, 1, 0),
        ("quadratic_kappa", "higher", -1, 1, 0),
        ("log_loss", "lower", 0, math.inf, None),
        ("brier", "lower", 0, 2, None),
        ("ece", "lower", 0, 1, None),
        ("adjacent_error", "lower", 0, 1, None),
        ("abstention", "lower", 0, 1, None),
    ],
)
def test_the_range_and_the_better_side_of_a_metric_are_those_of_its_definition(
    name: str, better: str, least: float, most: float, chance: float | None
) -> None:
    found = GLOSSARY[name]
    assert (found.better, found.least, found.most, found.chance) == (better, least, most, chance)


def test_a_heading_begins_with_a_capital_and_changes_nothing_else() -> None:
    assert Meaning("F1", "x.").title == "F1"
    assert Meaning("ece of all", "x.").title == "Ece of all"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ([ACCURACY, replace(ACCURACY, value=0.6)], "accuracy, all stands twice"),
        ([replace(ACCURACY, scope=Scope("DC"))], "class_name is none of"),
        ([replace(ACCURACY, level="patient")], "level = 'patient', but the level scored is"),
        ([replace(ACCURACY, high=1.1)], "value = 0.75, low = 0.5, high = 1.1 do not lie where"),
        ([replace(ACCURACY, low=-0.1)], "do not lie where this metric can"),
    ],
)
def test_a_figure_that_does_not_belong_is_refused(figures: list[Estimate], said: str) -> None:
    with pytest.raises(DataError, match=said):
        require_figures(tuple(figures), BINARY, level="image")


def test_the_same_metric_of_another_class_or_magnification_is_another_figure() -> None:
    scopes = (ALL, Scope("benign"), Scope("malignant"), Scope(None, "40"), Scope("benign", "40"))
    require_figures(tuple(replace(ACCURACY, scope=s) for s in scopes), BINARY, level="image")
    loss = Estimate(7.5, 2.0, 90.0, 24, 6, "log_loss")
    require_figures((loss,), BINARY, level="image")  # no upper end
    with pytest.raises(DataError, match="accuracy"):
        require_figures((replace(ACCURACY, scope=scopes[4]),) * 2, BINARY, level="image")


def test_grades_are_judged_by_kappa_and_classes_by_balanced_accuracy() -> None:
    assert primary_metric_of(GRADES) == "quadratic_kappa"
    assert primary_metric_of(BINARY) == "balanced_accuracy"
    assert primary_metric_of(Task("subtype", ("A", "F", "DC"))) == "balanced_accuracy"


def ranks(ranked: tuple[Ranked, ...]) -> dict[str, int]:
    return {each.model: each.rank for each in ranked}


def test_models_that_are_not_told_apart_from_the_best_of_a_rank_share_it() -> None:
    values = {"a": 0.9, "b": 0.8, "c": 0.7}
    near = {("a", "b"), ("b", "c")}  # each next to the other, and a and c apart
    found = rank_in_groups(
        values, apart=lambda one, other: (one, other) not in near, higher_is_better=True
    )
    assert ranks(found) == {"a": 1, "b": 1, "c": 2}
    assert rank_in_groups({}, apart=lambda *_: True, higher_is_better=True) == ()
    alone = rank_in_groups({"a": 1.0}, apart=lambda *_: True, higher_is_better=False)
    assert alone == (Ranked(1, "a", 1.0),)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.booleans())
def test_ranks_begin_at_one_rise_by_one_and_follow_the_values(
    values: list[int], higher: bool
) -> None:
    given_values = {f"m{n}": float(value) for n, value in enumerate(values)}
    found = rank_in_groups(
        given_values,
        apart=lambda one, other: given_values[one] != given_values[other],
        higher_is_better=higher,
    )
    ordered = [each.value for each in found]
    assert ordered == sorted(values, reverse=higher)
    assert found[0].rank == 1
    distinct = sorted(set(values), reverse=higher)
    assert all(each.rank == 1 + distinct.index(each.value) for each in found)


def test_models_are_ranked_by_the_side_that_is_better_for_the_metric() -> None:
    def estimates(metric: str) -> dict[str, list[Estimate]]:
        return {
            name: [Estimate(value, 0.0, 1.0, 24, 6, metric)]
            for name, value in (("a", 0.2), ("b", 0.4))
        }

    def apart(metric: str, low: float) -> list[Difference]:
        return [Difference("a", "b", Estimate(-0.2, low, -0.1, 24, 6, metric))]

    first = rank_models(estimates("accuracy"), apart("accuracy", -0.3), "accuracy")
    assert ranks(first) == {"b": 1, "a": 2}
    loss = rank_models(estimates("log_loss"), apart("log_loss", -0.3), "log_loss")
    assert ranks(loss) == {"a": 1, "b": 2}
    spans = [Difference("a", "b", Estimate(-0.2, -0.5, 0.1, 24, 6, "accuracy"))]
    assert ranks(rank_models(estimates("accuracy"), spans, "accuracy")) == {"a": 1, "b": 1}
    other = rank_models(estimates("accuracy"), apart("mcc", -0.3), "accuracy")
    assert ranks(other) == {"a": 1, "b": 1}  # a difference in another metric tells nothing here
    with pytest.raises(DataError, match="cannot rank by 'roc_auc': one class only: undefined"):
        rank_models({"a": [UNDEFINED]}, [], "roc_auc")


def mistakes(**changes: object) -> Mistakes:
    fields = {
        "wrong": (3, 4),
        "wrong_alone": (1, 2),
        "wrong_shared": ((3, 2), (2, 4)),
        "images_all_get_wrong": 2,
        "images_any_gets_wrong": 5,
    }
    return Mistakes.model_validate({**fields, **changes})


def test_mistakes_overlap_as_shared_over_either_and_the_order_does_not_matter() -> None:
    found = mistakes()
    assert found.jaccard(0, 1) == found.jaccard(1, 0) == 2 / 5
    assert found.jaccard(0, 0) == found.jaccard(1, 1) == 1
    apart = mistakes(wrong_shared=((3, 0), (0, 4)))
    assert apart.jaccard(0, 1) == 0
    none = mistakes(wrong=(0, 4), wrong_shared=((0, 0), (0, 4)))
    assert none.jaccard(0, 0) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wrong": (3,)}, "count other numbers of models"),
        ({"wrong_alone": (1, 2, 3)}, "count other numbers of models"),
        ({"wrong_shared": ((3, 2),)}, "count other numbers of models"),
        ({"wrong_shared": ((3, 2), (2,))}, "count other numbers of models"),
        ({"wrong_shared": ((2, 2), (2, 4))}, "its diagonal is not wrong"),
    ],
)
def test_counts_of_mistakes_that_contradict_each_other_are_refused(
    change: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        mistakes(**change)


def test_images_are_named_only_where_the_comparison_was_just_made() -> None:
    table = pd.DataFrame({"path": ["/bh/1.png"]})
    found = mistakes()
    assert found.naming(table).frame() is table
    with pytest.raises(DataError, match="a comparison's file counts its images"):
        found.frame()
    assert found.naming(table).model_dump() == found.model_dump()
