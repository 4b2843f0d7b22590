"""Agreement of two readers: known answers, and intervals by patient."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from eosin.errors import DataError
from eosin.evaluation.agreement import cohen_kappa, reader_agreement
from eosin.evaluation.intervals import Bootstrap
from eosin.tasks import Task

HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
BINARY = Task("binary", ("benign", "malignant"), positive="malignant")


def two_readers(cases: int, *, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, cases)
    second = np.clip(first + rng.choice([-1, 0, 0, 0, 2], cases), 0, 3)
    return [HER2.classes[k] for k in first], [HER2.classes[k] for k in second]


@pytest.mark.parametrize("seed", range(3))
def test_kappas_are_those_of_scikit_learn(seed: int) -> None:
    first, second = two_readers(80, seed=seed)
    patients = [f"p{row // 4}" for row in range(80)]
    found = {each.metric: each for each in reader_agreement((first, second), patients, HER2)}
    labels = list(HER2.classes)
    plain = cohen_kappa_score(first, second, labels=labels)
    squared = cohen_kappa_score(first, second, labels=labels, weights="quadratic")
    assert found["cohen_kappa"].value == pytest.approx(plain, abs=1e-12)
    assert found["quadratic_kappa"].value == pytest.approx(squared, abs=1e-12)
    assert found["reader_agreement"].value == np.mean(np.array(first) == np.array(second))
    assert all((each.images, each.patients) == (80, 20) for each in found.values())
    assert all(each.low < each.value < each.high for each in found.values())


def test_kappa_of_a_table_is_what_one_reckons_by_hand() -> None:
    # 35 of 50 alike; by chance (25 * 30 + 25 * 20) / 50^2 = 0.5; so (0.7 - 0.5) / (1 - 0.5).
    assert cohen_kappa(np.array([[[20.0, 5.0], [10.0, 15.0]]]))[0] == pytest.approx(0.4)


def test_an_interval_resamples_patients_not_cases() -> None:
    first, second = two_readers(60, seed=5)
    alone = [f"p{row}" for row in range(60)]
    repeated = [name for name in alone for _ in range(8)]
    many = ([x for x in first for _ in range(8)], [x for x in second for _ in range(8)])
    bootstrap = Bootstrap(500, seed=2)
    by_case = reader_agreement((first, second), alone, HER2, bootstrap=bootstrap)
    by_patient = reader_agreement(many, repeated, HER2, bootstrap=bootstrap)
    for one, other in zip(by_case, by_patient, strict=True):  # eight copies add no patient
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_a_task_without_grades_has_no_weighted_kappa() -> None:
    labels = ["benign", "malignant", "benign", "malignant"]
    found = reader_agreement((labels, labels[::-1]), list("abcd"), BINARY)
    assert [each.metric for each in found] == ["reader_agreement", "cohen_kappa"]
    assert [each.value for each in found] == [0.0, -1.0]


def test_kappa_of_readers_who_gave_one_label_has_no_value_and_says_why() -> None:
    same = ["benign"] * 5
    agreed, kappa = reader_agreement((same, same), list("abcde"), BINARY)
    assert agreed.value == 1.0
    assert kappa.value is None
    assert kappa.note == "undefined: all images here are of class benign"


def test_one_patient_gives_no_interval_and_no_case_no_agreement() -> None:
    first, second = two_readers(30, seed=1)
    for each in reader_agreement((first, second), ["p"] * 30, HER2):
        assert (each.low, each.note) == (None, "one patient: no interval")
    with pytest.raises(DataError, match="no case in common"):
        reader_agreement(([], []), [], HER2)
    with pytest.raises(DataError, match="'4\\+' is not a class"):
        reader_agreement((["4+"], ["0"]), ["p"], HER2)
