"""The leakage meter: the difference a leak makes, paired by patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.errors import DataError
from eosin.evaluation.leakage import measure_leakage
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def table(right: list[list[bool]]) -> Predictions:
    """One patient a row, one image a column; every other patient is malignant."""
    labels = [TASK.classes[p % 2] for p, row in enumerate(right) for _ in row]
    correct = np.array([hit for row in right for hit in row])
    images = pd.DataFrame(
        {
            "path": [f"/i/{p}-{k}.png" for p, row in enumerate(right) for k in range(len(row))],
            "patient": [f"14-{p}" for p, row in enumerate(right) for _ in row],
            "label": labels,
            "magnification": "100",
            "fold": "",
        }
    )
    malignant = np.where(np.array(labels) == "malignant", correct, ~correct)
    chance = np.where(malignant, 0.9, 0.1)
    return make_predictions(images, np.c_[1 - chance, chance], task=TASK)


def test_the_meter_reads_the_difference_of_the_two_accuracies() -> None:
    leaky = table([[True] * 4] * 8)
    honest = table([[True, False, True, False]] * 8)
    accuracy, area = measure_leakage(leaky, honest, resamples=200)
    assert (accuracy.leaky, accuracy.honest) == (1.0, 0.5)
    assert accuracy.added.value == 0.5
    assert area.added.metric == "roc_auc"
    assert accuracy.inflates


def test_a_difference_alike_in_every_patient_has_an_interval_without_width() -> None:
    leaky = table([[True] * 4] * 8)
    honest = table([[True, False, True, False]] * 8)
    accuracy, _ = measure_leakage(leaky, honest, resamples=200)
    assert (accuracy.added.low, accuracy.added.high) == (0.5, 0.5)  # unpaired draws would spread
    assert accuracy.added.patients == 8


def test_a_difference_that_comes_from_one_patient_is_none_beyond_chance() -> None:
    leaky = table([[True] * 4, *[[True, True, False, True]] * 7])
    honest = table([[False] * 4, *[[True, True, False, True]] * 7])
    accuracy, _ = measure_leakage(leaky, honest, resamples=500)
    assert accuracy.added.value == pytest.approx(4 / 32)
    assert accuracy.added.low == 0.0
    assert not accuracy.inflates


def test_a_protocol_that_takes_something_away_is_not_said_to_differ_by_chance() -> None:
    worse, better = table([[True, False, True, False]] * 8), table([[True] * 4] * 8)
    accuracy, _ = measure_leakage(worse, better, resamples=200)
    assert accuracy.added.excludes_zero
    assert not accuracy.inflates
    assert accuracy.added.value == -0.5


def test_a_class_without_images_has_no_area_to_compare() -> None:
    leaky = table([[True] * 4] * 8)
    benign = leaky.where(leaky.frame["label"] == "benign")
    accuracy, area = measure_leakage(leaky, benign, resamples=200)
    assert (accuracy.leaky, accuracy.honest) == (1.0, 1.0)
    assert (area.leaky, area.honest, area.added.value) == (1.0, None, None)
    assert area.added.note.startswith("undefined in 100.0% of resamples")


def test_tables_of_other_classes_cannot_be_metered() -> None:
    other = Task("her2", ("0", "1+"), positive="1+")
    honest = table([[True] * 2] * 4)
    renamed = honest.frame.rename(columns={"p_benign": "p_0", "p_malignant": "p_1+"})
    names = {"benign": "0", "malignant": "1+"}
    for column in ("label", "predicted", "decision"):
        renamed[column] = renamed[column].map(names)
    with pytest.raises(DataError, match="other classes"):
        measure_leakage(honest, Predictions(renamed, other))


def test_what_one_table_alone_can_show_is_not_compared() -> None:
    both = table([[True] * 4] * 8)
    patient = both.frame["patient"].replace({"14-1": "14-0"})  # has images of both classes
    leaky = replace(both, frame=both.frame.assign(patient=patient))
    honest = both.where(~both.frame["patient"].isin(["14-0", "14-1"]))
    for pair in ((leaky, honest), (honest, leaky)):
        found = [leak.added.metric for leak in measure_leakage(*pair, resamples=200)]
        assert found == ["accuracy", "roc_auc"]  # and no area within patients
