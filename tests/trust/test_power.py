"""Planned patients against textbook sample sizes, whatever images of one patient share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eosin.artefacts.predictions import Predictions, Provenance
from eosin.errors import ConfigError, DataError
from eosin.protocol import Protocol
from eosin.trust.power import plan_patients

Table = Callable[..., Predictions]


@pytest.fixture
def table(patients_table: Callable[..., Predictions]) -> Table:
    """A row a patient, a column an image: whether each image is classified right."""
    return lambda right, *rest: patients_table(np.where(right, 0.9, 0.1), *rest)


def share_right(patients: int, images: int, share: float) -> np.ndarray:
    """Patients whose images are all right, and the others whose images are all wrong."""
    return np.repeat(np.arange(patients) < share * patients, images).reshape(patients, images)


def test_one_image_a_patient_needs_the_patients_of_the_textbook(table: Table) -> None:
    # n = (1.96 + 0.8416)^2 0.8 0.2 / 0.1^2 = 125.6 for an accuracy of 0.8 and a bound at 0.7
    power = plan_patients({"b0": table(share_right(200, 1, 0.8))}, effect=0.1)
    assert power.observed[0] == pytest.approx(0.8)
    assert power.observed[1] < 0.8 < power.observed[2]
    assert power.needed is not None
    assert abs(power.needed - 125.6) < 0.12 * 125.6
    assert power.low is not None
    assert power.high is not None
    assert power.low < 125.6 < power.high


def test_more_images_of_patients_who_are_all_alike_do_not_replace_patients(table: Table) -> None:
    # Every image of a patient is right or wrong with the others: 20 images say what one does.
    power = plan_patients({"b0": table(share_right(200, 20, 0.8))}, effect=0.1)
    assert power.needed is not None
    assert abs(power.needed - 125.6) < 0.12 * 125.6


def test_paired_models_need_fewer_patients_the_more_mistakes_they_share(table: Table) -> None:
    draw = np.random.default_rng(0)
    first = draw.random((100, 5)) < 0.8
    alike, apart = first.copy(), draw.random((100, 5)) < 0.8
    changed = draw.random(first.shape) < 0.05
    alike[changed] = ~alike[changed]
    close = plan_patients({"b0": table(first), "b1": table(alike)}, effect=0.05, studies=100)
    far = plan_patients({"b0": table(first), "b1": table(apart)}, effect=0.05, studies=100)
    assert close.needed is not None
    assert far.needed is not None
    assert close.needed < far.needed / 3


def test_a_study_without_an_effect_finds_one_in_about_a_twentieth_of_cases(table: Table) -> None:
    power = plan_patients({"b0": table(share_right(100, 4, 0.7))}, effect=1e-4, studies=800)
    assert power.needed is None  # far beyond ten thousand patients
    assert power.curve[-1].low <= 0.06
    assert power.curve[-1].power < 0.09


def test_the_area_under_the_curve_can_be_planned_for(table: Table) -> None:
    right = np.random.default_rng(1).random((40, 6)) < 0.75
    power = plan_patients({"b0": table(right)}, effect=0.1, metric="roc_auc", studies=100)
    assert power.metric == "roc_auc"
    assert power.needed is not None
    assert power.curve[0].power < power.curve[-1].power


def test_where_no_size_about_the_formula_suffices_larger_studies_are_simulated(
    table: Table,
) -> None:
    # One patient of twelve is benign: most small studies meet none, and have no area to judge.
    whole = table(np.random.default_rng(3).random((22, 4)) < 0.75)
    rare = whole.where((whole.frame["label"] == "malignant") | (whole.frame["patient"] == "14-0"))
    power = plan_patients({"b0": rare}, effect=0.45, metric="roc_auc", studies=100)
    assert power.needed is not None
    *_, before, last = power.curve
    assert before.power < 0.8 <= last.power
    assert before.patients < power.needed <= last.patients


def test_what_cannot_be_planned_is_said(table: Table) -> None:
    fine = table(share_right(20, 2, 0.8))
    with pytest.raises(DataError, match="7 patients at hand"):
        plan_patients({"b0": table(share_right(7, 2, 0.6))}, effect=0.1)
    own = Protocol(unit="image", design="5-fold", patients_known=False)
    unknown = table(share_right(20, 1, 0.8), Provenance(protocol=own))
    with pytest.raises(DataError, match="whose images they are"):
        plan_patients({"b0": unknown}, effect=0.1)
    with pytest.raises(DataError, match="whoever the patients are"):
        plan_patients({"b0": table(share_right(20, 2, 1.0))}, effect=0.1)
    with pytest.raises(ConfigError, match=r"effect = 5: want a distance between 0 and 1"):
        plan_patients({"b0": fine}, effect=5)
    with pytest.raises(ConfigError, match="got 3 tables"):
        plan_patients({"a": fine, "b": fine, "c": fine}, effect=0.1)
