"""A stress card: paired changes, the severity at which accuracy is lost, coverage and flags."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eosin.artefacts.predictions import Predictions
from eosin.trust.stress_card import stress_card

PATIENTS, IMAGES = 20, 10
Table = Callable[[int], Predictions]


@pytest.fixture
def table(patients_table: Callable[..., Predictions]) -> Table:
    """Twenty patients of ten images, of each patient so many wrong, one more or less by turns."""

    def build(wrong_of_ten: int) -> Predictions:
        turn = np.arange(PATIENTS)[:, None] // 2 % 3 - 1  # -1, 0, +1
        wrong = np.arange(IMAGES) < wrong_of_ten + turn * (wrong_of_ten > 1)
        return patients_table(np.where(wrong, 0.2, 0.8))

    return build


def test_accuracy_is_lost_from_the_first_severity_after_which_it_never_comes_back(
    table: Table,
) -> None:
    wrong = {1: 1, 2: 4, 3: 1, 4: 4, 5: 5}
    card = stress_card(table(1), {("blur", k): table(n) for k, n in wrong.items()}, resamples=500)
    assert card.unchanged.accuracy.value == 0.9
    assert card.lost_from("blur") == 4  # severity 2 loses it too, and 3 has it back
    changes = [each.change.value for each in card.of("blur")]
    assert changes[0] == 0
    assert np.isclose(changes[4], -0.4, atol=0.02)


def test_a_shift_that_changes_nothing_has_an_interval_that_holds_zero(table: Table) -> None:
    card = stress_card(table(1), {("hue", k): table(1) for k in range(1, 6)}, resamples=500)
    assert card.lost_from("hue") is None
    change = card.of("hue")[4].change
    assert (change.value, change.low, change.high) == (0, 0, 0)


def test_an_image_that_one_condition_lacks_is_left_out_of_all(table: Table) -> None:
    short = table(1)
    short = short.where(short.frame["path"] != "/bh/0.png")
    card = stress_card(table(1), {("blur", 1): short}, resamples=500)
    assert card.unchanged.accuracy.images == card.of("blur")[0].accuracy.images == 199


def test_the_table_has_a_row_a_figure_with_its_n(table: Table) -> None:
    frame = stress_card(table(1), {("blur", 1): table(4)}, resamples=500).frame()
    assert list(frame["shift"].unique()) == ["unchanged", "blur"]
    assert set(frame["what"]) == {"accuracy", "change of accuracy", "calibration error"}
    assert set(frame["n_patients"]) == {20}
    assert frame[["value", "low", "high"]].notna().all().all()
