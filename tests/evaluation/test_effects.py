"""What a change of recipe does to the same images: known differences, paired by patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.errors import DataError
from eosin.evaluation.effects import measure_effects
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def table(right: list[list[bool]], *, malignant: list[int] | None = None) -> Predictions:
    """One patient a row, one image a column; patients 1, 3, 5... are malignant unless told."""
    ill = malignant if malignant is not None else [p for p in range(len(right)) if p % 2]
    labels = [TASK.classes[p in ill] for p, row in enumerate(right) for _ in row]
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
    said = np.where(np.array(labels) == "malignant", correct, ~correct)
    chance = np.where(said, 0.9, 0.1)
    return make_predictions(images, np.c_[1 - chance, chance], task=TASK)


def test_a_change_that_helps_every_patient_alike_has_an_interval_without_width() -> None:
    better, worse = table([[True] * 4] * 8), table([[True, True, True, False]] * 8)
    accuracy, area, by_patient = measure_effects(better, worse, resamples=200)
    assert (accuracy.before, accuracy.change.value) == (0.75, 0.25)
    assert (accuracy.change.low, accuracy.change.high) == (
        0.25,
        0.25,
    )  # unpaired draws would spread
    assert accuracy.change.excludes_zero
    assert (accuracy.change.images, accuracy.change.patients) == (32, 8)
    assert (area.change.metric, area.change.level) == ("roc_auc", "image")
    assert (by_patient.change.metric, by_patient.change.level) == ("roc_auc", "patient")
    assert (by_patient.before, by_patient.change.value) == (
        1.0,
        0.0,
    )  # 3 of 4 right: ranked as well


def test_a_change_that_helps_one_patient_is_none_beyond_chance() -> None:
    better = table([[True] * 4, *[[True, False, True, True]] * 7])
    worse = table([[False] * 4, *[[True, False, True, True]] * 7])
    accuracy, *_ = measure_effects(better, worse, resamples=500)
    assert accuracy.change.value == pytest.approx(4 / 32)
    assert accuracy.change.low == 0.0  # the patient is in no draw often enough
    assert not accuracy.change.excludes_zero


def test_a_change_for_the_worse_is_below_zero() -> None:
    better, worse = table([[True] * 4] * 8), table([[True, False, True, False]] * 8)
    forth = measure_effects(better, worse, resamples=200)
    back = measure_effects(worse, better, resamples=200)
    assert [effect.change.value for effect in back] == [
        -(effect.change.value or 0) for effect in forth
    ]
    assert back[0].change.excludes_zero


def test_the_differences_are_those_of_the_two_evaluations() -> None:
    draw = np.random.default_rng(5)
    one, other = (table((draw.random((9, 5)) < share).tolist()) for share in (0.8, 0.6))
    accuracy, area, by_patient = measure_effects(one, other, resamples=100)
    for effect, level in ((accuracy, "image"), (area, "image"), (by_patient, "patient")):
        asked = [evaluate_predictions(t, level=level, resamples=100) for t in (one, other)]  # type: ignore[arg-type]
        values = [found.value(effect.change.metric).value or 0.0 for found in asked]
        assert effect.change.value == pytest.approx(values[0] - values[1])
        assert effect.before == pytest.approx(values[1])


def test_patients_with_images_of_two_labels_are_left_out_by_patient_alone() -> None:
    def mixed(found: Predictions) -> Predictions:
        frame = found.frame.copy()
        frame.loc[0, "label"] = "malignant"  # patient 14-0 is benign elsewhere
        return replace(found, frame=frame)

    one, other = mixed(table([[True] * 4] * 8)), mixed(table([[False] * 4] * 8))
    accuracy, _, by_patient = measure_effects(one, other, resamples=200)
    assert (accuracy.change.images, accuracy.change.patients) == (32, 8)
    assert (by_patient.change.images, by_patient.change.patients) == (28, 7)


def test_one_patient_of_a_class_gives_a_difference_without_an_interval() -> None:
    one = table([[True] * 4] * 6, malignant=[1, 2, 3, 4, 5])
    other = table([[False, True, True, True]] * 6, malignant=[1, 2, 3, 4, 5])
    _, area, by_patient = measure_effects(one, other, resamples=200)
    assert area.change.value is not None
    assert (area.change.low, area.change.high) == (None, None)
    assert area.change.note == "one patient of a class other than malignant: no interval"
    assert not by_patient.change.excludes_zero


def test_tables_of_other_images_have_no_difference() -> None:
    one = table([[True] * 4] * 8)
    moved = replace(one, frame=one.frame.assign(path="/other" + one.frame["path"]))
    with pytest.raises(DataError, match="no image is in all tables"):
        measure_effects(one, moved)
