"""Figures draw the numbers that they are given, in the house look, as small accessible SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from eosin.evaluation.curves import CurveBand
from eosin.reporting.canvas import EOSIN, VIOLET, as_svg, new_figure
from eosin.reporting.curves import (
    joint_figure,
    learning_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from eosin.reporting.measures import count_matrix, row_matrix

GRID = np.linspace(0, 1, 5)
BAND = CurveBand(GRID, np.array([0, 0.6, 0.8, 0.9, 1.0]), GRID, np.ones(5))


def test_a_roc_figure_draws_the_curve_its_band_and_the_ring_at_the_threshold() -> None:
    (axes,) = roc_figure(BAND, at=(0.25, 0.6)).axes
    diagonal, curve, ring = axes.lines
    assert curve.get_ydata().tolist() == BAND.y.tolist()
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert ring.get_xydata().tolist() == [[0.25, 0.6]]
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {(0.25, 0.25), (0.25, 1.0)} <= {tuple(corner) for corner in corners.tolist()}


def test_a_curve_without_an_interval_has_no_band() -> None:
    (axes,) = roc_figure(CurveBand(GRID, BAND.y, None, None, "one patient")).axes
    assert len(axes.collections) == 0


def test_guessing_reaches_a_precision_of_the_prevalence() -> None:
    (axes,) = precision_recall_figure(BAND, prevalence=0.3).axes
    assert list(axes.lines[0].get_ydata()) == [0.3, 0.3]


def test_a_learning_figure_draws_training_in_violet_and_validation_in_pink_for_every_fold() -> None:
    history = {"epoch": np.arange(1.0, 4), "train_loss": np.array([0.7, 0.5, 0.3])}
    other = {**history, "val_loss": np.array([0.7, 0.6, 0.8])}
    figure = learning_figure(
        {"Fold 1": history, "Fold 2": other}, columns=("train_loss", "val_loss"), title="Loss"
    )
    colours = [to_hex(line.get_color()) for line in figure.axes[0].lines]
    assert colours == [VIOLET, VIOLET, EOSIN]
    assert figure.axes[0].lines[2].get_ydata().tolist() == [0.7, 0.6, 0.8]


def test_a_reliability_figure_puts_each_bin_at_its_confidence_and_counts_its_images() -> None:
    bins = pd.DataFrame(
        {
            "low": [0.6, 0.8],
            "high": [0.8, 1.0],
            "images": [1200, 300],
            "confidence": [0.7, 0.9],
            "accuracy": [0.5, 0.95],
        }
    )
    top, bottom = reliability_figure(bins).axes
    points = top.collections[-1]
    assert points.get_offsets().tolist() == [[0.7, 0.5], [0.9, 0.95]]
    assert points.get_sizes()[0] > points.get_sizes()[1]
    assert [bar.get_height() for bar in bottom.patches] == [1200, 300]
    assert [text.get_text() for text in bottom.texts] == ["1,200", "300"]


def test_a_figure_becomes_well_formed_svg_with_a_name_a_description_and_text_as_text() -> None:
    figure, (axes,) = new_figure()
    axes.set_xlabel("False positive rate")
    svg = as_svg(figure, name="roc", title="ROC of A & B", description="Area <0.9>")
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.get("width") is None
    assert root.findtext(f"{space}title") == "ROC of A & B"
    assert root.findtext(f"{space}desc") == "Area <0.9>"
    assert "False positive rate" in [text.text for text in root.iter(f"{space}text")]
    assert len(svg) < 30_000


def test_svg_takes_its_colours_from_the_page_and_is_the_same_twice() -> None:
    def draw() -> str:
        return as_svg(roc_figure(BAND), name="roc", title="ROC", description="")

    assert draw() == draw()
    assert f"var(--eosin, {EOSIN})" in draw()
    assert "DejaVu" not in draw()


def test_confusion_matrices_show_counts_and_the_share_of_each_true_class() -> None:
    counts = np.array([[150, 50], [0, 0]])
    classes = ("benign", "malignant")
    shown = count_matrix(counts, classes)
    assert [[cell.text for cell in row] for _, row in shown.rows] == [["150", "50"], ["0", "0"]]
    assert [cell.shade for cell in shown.rows[0][1]] == [100, 33]
    assert [cell.right for cell in shown.rows[1][1]] == [False, True]
    shares = row_matrix(counts, classes, suffix=", at the locked threshold")
    assert shares.title == "Share of each true class, at the locked threshold"
    assert [[cell.text for cell in row] for _, row in shares.rows] == [
        ["0.750", "0.250"],
        ["–", "–"],
    ]


def test_a_joint_figure_has_every_class_the_averages_axis_titles_and_a_legend() -> None:
    classes = {"A$b$ (0.812)": BAND, "F (0.700)": BAND}
    averages = {"micro average (0.750)": BAND, "macro average (0.756)": BAND}
    for precision, across in ((False, "False positive rate (1 − specificity)"), (True, "Recall")):
        figure = joint_figure(classes, averages, precision=precision)
        (axes,) = figure.axes
        assert axes.get_xlabel().startswith(across)
        assert axes.get_ylabel() in ("Sensitivity", "Precision")
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [*classes, *averages]
        as_svg(figure, name="joint", title="", description="")  # a class is no formula


def test_small_panels_have_axis_titles_too() -> None:
    (axes,) = roc_figure(BAND, small=True).axes
    assert axes.get_xlabel() == "False positive rate (1 − specificity)"
    assert axes.get_ylabel() == "Sensitivity"


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_epochs_are_whole_numbers_on_the_axis_of_a_learning_figure(epochs: int) -> None:
    history = {"epoch": np.arange(1.0, epochs + 1), "val_loss": np.linspace(0.7, 0.2, epochs)}
    (axes,) = learning_figure({"Fold 1": history}, columns=("val_loss",), title="Loss").axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)
