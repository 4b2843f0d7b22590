"""The section on draws of the folds: means with the worst and the best draw, and gains over one."""

from __future__ import annotations

import math

from eosin.artefacts.estimate import Estimate, Level
from eosin.evaluation.draws import MeanFigure
from eosin.reporting.draws_section import DrawsRow, draws_frame, draws_tables

HONEST, LEAKY = "patient-level, 5-fold", "image-level (leaky), 5-fold"


def mean(
    value: float | None, low: float | None, high: float | None, *, level: Level = "image"
) -> MeanFigure:
    note = "" if low is not None else "one patient of class benign: no interval"
    metric = "accuracy" if level == "image" else "roc_auc"
    images, patients = (422, 23) if level == "image" else (410, 21)
    found = Estimate(value, low, high, images, patients, metric, level=level, note=note)
    ends = (None, None) if value is None else (value - 0.02, value + 0.03)
    return MeanFigure(found, *ends, 3)


ACCURACY, AREA = mean(0.8, 0.7, 0.9), mean(0.85, 0.75, 0.95, level="patient")
FIRST = DrawsRow("vgg16", HONEST, False, (ACCURACY, AREA))
SECOND = DrawsRow(
    "resnet50",
    HONEST,
    False,
    (mean(0.9, 0.8, 0.95), mean(None, None, None, level="patient")),
    "vgg16",
    (mean(0.1, -0.02, 0.2), mean(0.05, None, None, level="patient")),
)


def test_no_rows_no_tables() -> None:
    assert draws_tables([]) == ()
    assert draws_frame([]).empty


def test_the_means_stand_over_the_worst_and_the_best_draw() -> None:
    means, _ = draws_tables([FIRST, SECOND])
    assert means.columns == ("Model", "Accuracy", "ROC AUC by patient")
    assert means.rows[0] == (
        "vgg16",
        "0.800 [0.700,\xa00.900]\n0.780 to 0.830",
        "0.850 [0.750,\xa00.950]\n0.830 to 0.880",
    )
    assert means.rows[1][2] == "–\none patient of class benign: no interval"
    assert means.caption == (
        "patient-level, 5-fold: means over 3 draws of the folds, with 95 % intervals over patients "
        "(23 patients at image level; 21 patients at patient level); below them the worst and the "
        "best draw."
    )


def test_gains_are_signed_name_whom_they_are_counted_from_and_leave_that_model_out() -> None:
    _, gains = draws_tables([FIRST, SECOND])
    assert gains.caption.startswith("patient-level, 5-fold: each model minus vgg16, draw by draw")
    assert gains.rows == (
        (
            "resnet50",
            "+0.100\n[−0.020,\xa0+0.200]",
            "+0.050\none patient of class benign: no interval",
        ),
    )


def test_a_model_alone_under_its_protocol_has_means_and_no_gains() -> None:
    alone = DrawsRow("vgg16", LEAKY, True, (ACCURACY,))
    tables = draws_tables([FIRST, SECOND, alone])
    assert [table.caption.split(":")[0] for table in tables] == [HONEST, HONEST, LEAKY]
    assert tables[2].caption.startswith(f"{LEAKY}: means over 3 draws")
    assert all(table.numeric == frozenset(range(1, len(table.columns))) for table in tables)


def test_the_frame_has_a_row_a_figure_and_tells_gains_by_what_they_are_against() -> None:
    frame = draws_frame([FIRST, SECOND])
    assert list(frame["against"]) == ["", "", "", "", "vgg16", "vgg16"]
    assert list(frame["metric"]) == ["accuracy", "roc_auc"] * 3
    assert list(frame["level"]) == ["image", "patient"] * 3
    gain = frame.iloc[4]
    assert (gain["value"], gain["low"], gain["high"], gain["draws"]) == (0.1, -0.02, 0.2, 3)
    assert math.isnan(frame["value"][3])
    assert frame["note"][3] == "one patient of class benign: no interval"
    assert list(frame["patients"]) == [23, 21] * 3
