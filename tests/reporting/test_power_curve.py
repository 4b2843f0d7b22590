"""A plan of patients in words and as a curve: known numbers, and where there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from eosin.reporting.power_curve import power_figure, power_sentences
from eosin.trust.power import Power, PowerPoint

CURVE = tuple(
    PowerPoint(patients, power, power - 0.04, power + 0.03)
    for patients, power in ((50, 0.4), (100, 0.7), (200, 0.9))
)
ONE = Power(
    metric="accuracy",
    models=("vgg16",),
    effect=-0.1,
    observed=(0.8, 0.712, 0.888),
    at_hand=40,
    target=0.8,
    needed=1250,
    low=900,
    high=2100,
    curve=CURVE,
)
TWO = replace(
    ONE, models=("vgg16", "resnet50"), effect=0.05, metric="roc_auc", observed=(-0.02, -0.1, 0.06)
)


def plain(power: Power) -> tuple[str, ...]:
    return tuple(said.replace("\xa0", " ") for said in power_sentences(power))


def test_one_model_is_planned_against_a_bound_at_the_size_of_the_effect() -> None:
    at_hand, needed, _ = plain(ONE)
    assert at_hand == "At hand: accuracy of vgg16: 0.800 [0.712, 0.888], from 40 patients."
    assert needed == (
        "To tell this model's accuracy from a bound 0.1 away, with a power of 80 %, a study needs "
        "1,250 patients [900, 2,100]; the interval says how roughly 40 patients show the spread "
        "between patients."
    )


def test_two_models_are_told_apart_by_a_signed_difference() -> None:
    at_hand, needed, _ = plain(TWO)
    assert at_hand == (
        "At hand: ROC AUC of vgg16 minus that of resnet50: −0.020 [−0.100, +0.060], from 40 "
        "patients."
    )
    assert needed.startswith("To tell two models apart whose ROC AUC differs by 0.05, with a power")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"high": None}, "needs 1,250 patients [900, more than 10,000]; the"),
        (
            {"low": None, "high": None},
            "needs 1,250 patients [more than 10,000, more than 10,000]; the",
        ),
        ({"needed": None, "low": None, "high": None}, "needs more than 10,000 patients."),
    ],
)
def test_more_patients_than_can_be_had_are_said_so(changes: dict[str, None], said: str) -> None:
    assert said in plain(replace(ONE, **changes))[1]


def test_what_the_plan_assumes_is_said_of_every_plan() -> None:
    assert plain(ONE)[2] == plain(TWO)[2]
    assert "New patients are taken to be like those at hand" in plain(ONE)[2]


def words(axes: Axes) -> list[str]:
    """All that is written in the figure."""
    return [each.get_text() for each in axes.figure.findobj(Text)]


def test_the_curve_goes_through_its_points_with_a_band_and_both_marks() -> None:
    (axes,) = power_figure(ONE).axes
    curve, wanted, patients = axes.lines
    assert list(curve.get_xdata()) == [50, 100, 200]
    assert list(curve.get_ydata()) == [0.4, 0.7, 0.9]
    assert list(wanted.get_ydata()) == [0.8, 0.8]
    assert list(patients.get_xdata()) == [1250, 1250]
    assert sum("1,250 patients" in text for text in words(axes)) == 1
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
    assert {(50, 0.36), (50, 0.43), (200, 0.86), (200, 0.93)} <= corners
    assert axes.get_xlabel() == "Patients in the study"


def test_a_plan_without_an_answer_marks_no_number_of_patients() -> None:
    (axes,) = power_figure(replace(ONE, needed=None)).axes
    assert len(axes.lines) == 2
    assert not [text for text in words(axes) if text.endswith(" patients")]
