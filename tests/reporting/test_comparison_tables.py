"""What a comparison advises, and its tables and pictures: against figures counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from eosin.artefacts.comparison import Comparison
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.evaluation.compare import compare_predictions
from eosin.protocol import Protocol
from eosin.reporting.canvas import EOSIN, VIOLET
from eosin.reporting.comparison_figures import measure_pictures, overlap_picture
from eosin.reporting.comparison_page import next_steps, write_comparison
from eosin.reporting.comparison_tables import (
    difference_table,
    measure_table,
    mistake_table,
    model_table,
    pair_table,
    ranking_table,
)
from eosin.tasks import Task

if TYPE_CHECKING:
    from .conftest import Page

HONEST = Protocol("patient", "5-fold")
LEAKY = Protocol("image", "5-fold", leaky=True)
# Of the five images of each of ten patients: how many a model gets right.
RIGHT = {"best": 5, "good": 4, "poor": 1}
Tables = Callable[..., dict[str, Predictions]]


@pytest.fixture(scope="module")
def tables(patients_table: Callable[..., Predictions]) -> Tables:
    """Tables of ten patients of five images, of which the last so many are right."""

    def build(right: dict[str, int], protocol: Protocol = HONEST) -> dict[str, Predictions]:
        return {
            name: patients_table(
                np.where(np.tile(np.arange(5) >= 5 - count, (10, 1)), 0.8, 0.2),
                Provenance(
                    runs=(f"/home/someone/runs/{name}",),
                    dataset="breakhis",
                    protocol=protocol,
                    split="test",
                    model=name,
                ),
            )
            for name, count in right.items()
        }

    return build


@pytest.fixture(scope="module")
def compared(tables: Tables) -> Callable[..., Comparison]:
    return lambda right, *rest: compare_predictions(tables(right, *rest), resamples=40)


@pytest.fixture(scope="module")
def comparison(compared: Callable[..., Comparison]) -> Comparison:
    return compared(RIGHT)


@pytest.fixture(scope="module")
def honest(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three models that the images tell apart."""
    return write_comparison(comparison, tmp_path_factory.mktemp("honest"), runs={}).parent


@pytest.fixture(scope="module")
def page(honest: Path, parsed: Callable[[str], Page]) -> Page:
    return parsed((honest / "comparison.html").read_text(encoding="utf-8"))


def test_the_ranking_has_each_models_figure_and_its_difference_to_the_first(
    comparison: Comparison,
) -> None:
    found = ranking_table(comparison, "accuracy")
    assert found.caption == "By accuracy."
    assert found.columns == ("Model", "Rank", "Accuracy", "Minus the first\nmodel here")
    assert found.rows == (
        ("best", "1", "1.000\n[1.000,\xa01.000]", "–"),
        ("good", "2", "0.800\n[0.800,\xa00.800]", "−0.200\n[−0.200,\xa0−0.200]"),
        ("poor", "3", "0.200\n[0.200,\xa00.200]", "−0.800\n[−0.800,\xa0−0.800]"),
    )


def test_measures_that_are_better_when_lower_say_so_in_their_heading(
    comparison: Comparison,
) -> None:
    found = measure_table(comparison)
    heads = dict(head.partition("\n")[::2] for head in found.columns)
    lower = {name for name, said in heads.items() if said == "lower is better"}
    assert lower == {"Log loss", "Brier score", "Calibration error"}
    assert len(found.columns) == 1 + len(comparison.metrics)
    loss = found.rows[0][1 + comparison.metrics.index("log_loss")]
    assert loss.startswith(f"{-np.log(0.8):.3f}\n")


def test_a_star_marks_every_difference_whose_interval_excludes_zero(
    compared: Callable[..., Comparison],
) -> None:
    found = difference_table(compared({"one": 4, "same": 4, "poor": 1}))
    cells = {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.rows}
    assert set(cells) == {"one\nminus same", "one\nminus poor", "same\nminus poor"}
    assert cells["one\nminus same"]["Accuracy"] == "0.000\n[0.000,\xa00.000]"
    assert cells["one\nminus poor"]["Accuracy"] == "+0.600\xa0★\n[+0.600,\xa0+0.600]"


def test_the_more_accurate_model_of_a_pair_comes_first_however_the_tables_came(
    compared: Callable[..., Comparison],
) -> None:
    turned = compared(dict(reversed(RIGHT.items())))
    assert [row[0] for row in difference_table(turned).rows] == [
        "best\nminus good",
        "best\nminus poor",
        "good\nminus poor",
    ]
    row = pair_table(turned).rows[2]
    assert row[0] == "good\nagainst poor"
    assert row[2] == "10 : 0"  # good gets more right of every patient
    assert row[4] == "30 : 0"  # three images each that good alone gets right


def test_mistakes_are_counted_with_their_share_and_those_made_alone(comparison: Comparison) -> None:
    found = mistake_table(comparison)
    assert found.rows == (
        ("best", "0", "0\xa0%", "0"),
        ("good", "10", "20\xa0%", "0"),
        ("poor", "40", "80\xa0%", "30"),
    )
    assert found.caption.startswith("Of 50 images; wrong alone")


def test_models_are_told_by_protocol_split_and_run_folder_without_whose_disk_it_was(
    comparison: Comparison,
) -> None:
    found = model_table(comparison)
    assert found.rows[0] == ("best", "patient-level, 5-fold", "test", "best", "0")
    assert "someone" not in str(found.rows)


def test_without_patients_a_pair_has_no_columns_about_them(tables: Tables) -> None:
    unknown = Protocol("external", patients_known=False)
    bare = {
        name: replace(table, frame=table.frame.assign(patient=""))
        for name, table in tables(RIGHT, unknown).items()
    }
    found = pair_table(compare_predictions(bare, resamples=40))
    assert len(found.columns) == 4
    assert not any("atient" in head for head in found.columns)
    assert "the images of one are not independent" not in found.caption


@pytest.mark.parametrize(
    ("right", "protocol", "said"),
    [
        (RIGHT, HONEST, "Next: confirm best on patients that took no part in this comparison"),
        ({"a": 4, "b": 4}, HONEST, "Next: choose among a and b by cost or calibration"),
        (
            {"a": 4, "b": 4, "c": 4, "d": 4, "e": 4, "f": 4},
            HONEST,
            "Next: choose among a, b, c, d and 2 others by cost or calibration",
        ),
        (RIGHT, LEAKY, "Next: split by patient (`eosin split --by patient`) and train again"),
    ],
)
def test_the_next_step_follows_from_protocol_and_ranks(
    right: dict[str, int], protocol: Protocol, said: str, compared: Callable[..., Comparison]
) -> None:
    (step,) = next_steps(compared(right, protocol))
    assert step.startswith(said)


def test_before_protocols_are_one_no_other_step_is_advised(tables: Tables) -> None:
    mixed = {**tables(RIGHT), **tables({"poor": 1}, LEAKY)}
    (step,) = next_steps(compare_predictions(mixed, resamples=40))
    assert step.startswith("Next: score all models under one protocol")


def test_where_no_patient_is_named_the_step_is_to_name_them(tables: Tables) -> None:
    unknown = Protocol("external", patients_known=False)
    bare = {
        name: replace(table, frame=table.frame.assign(patient=""))
        for name, table in tables(RIGHT, unknown).items()
    }
    (step,) = next_steps(compare_predictions(bare, resamples=40))
    assert step.startswith("Next: name the patients (`eosin data folder --patient PATTERN`)")


def test_the_first_sentence_says_who_leads_and_that_the_images_tell_it_apart(page: Page) -> None:
    assert (
        page.words("verdict")
        .partition("Verdict ")[2]
        .startswith("best has the best accuracy, 1.000 [1.000, 1.000]; the images tell it apart")
    )


def test_a_leaky_comparison_names_who_cannot_be_told_apart_and_its_pictures_warn_in_red(
    compared: Callable[..., Comparison], honest: Path, tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    found = compared({"a": 4, "b": 4, "c": 1}, LEAKY)
    page = parsed(write_comparison(found, tmp_path, runs={}).read_text(encoding="utf-8"))
    assert (
        page.words("verdict")
        .partition("Verdict ")[2]
        .startswith(
            "a has the best accuracy, 0.800 [0.800, 0.800]; b cannot be told apart from it."
        )
    )
    red = {}
    for folder in (honest, tmp_path):
        with Image.open(folder / "accuracy.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        red[folder] = bool((pixels == (0xA3, 0x14, 0x0F)).all(axis=2).any())
    assert red == {honest: False, tmp_path: True}


def test_the_page_counts_pairs_that_differ_by_patient_and_by_image(page: Page) -> None:
    said = page.words("verdict")
    # By patient: 2 * 0.5^10 of three pairs; by image also 10, 40 and 30 images of one alone.
    assert "By patient, 3 of 3 pairs differ in accuracy with a corrected p below 0.05." in said
    assert "By image, 3 of 3 pairs differ in accuracy" in said
    assert "All on the same 50 images of 10 patients." in said
    lead = page.words("mistakes")
    assert "40 images of 50 are wrong for at least one model, 0 for all." in lead


def test_every_table_of_the_comparison_stands_on_the_page_cell_by_cell(
    comparison: Comparison, page: Page
) -> None:
    expected = [
        *(ranking_table(comparison, metric) for metric in ("accuracy", "balanced_accuracy")),
        measure_table(comparison),
        pair_table(comparison),
        difference_table(comparison),
        mistake_table(comparison),
        model_table(comparison),
    ]
    shown = page.tables()
    assert [(t.caption, t.heads, t.rows) for t in shown] == [
        (t.caption, t.columns, t.rows) for t in expected
    ]


def test_shared_mistakes_are_counts_in_a_square_whose_colour_is_their_share(
    comparison: Comparison,
) -> None:
    (axes,) = overlap_picture(comparison).figure.axes
    assert [text.get_text() for text in axes.texts] == [
        *("0", "0", "0"),
        *("0", "10", "10"),
        *("0", "10", "40"),
    ]
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert [colours[k] for k in (0, 4, 8)] == [VIOLET] * 3
    assert {colours[k] for k in (1, 2, 3, 5, 6, 7)} == {EOSIN}
    fill = [patch.get_alpha() for patch in axes.patches]
    assert fill[5] == fill[7] == pytest.approx(0.06 + 0.9 * 10 / 40)  # of 40 that either errs on
    assert fill[1] == pytest.approx(0.06)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["best  ·  1", "good  ·  2", "poor  ·  3"]


def test_pictures_fill_the_dots_of_the_first_rank_and_mark_leaky_models(tables: Tables) -> None:
    mixed = {**tables({"a": 4, "b": 4}), **tables({"poor": 1}, LEAKY)}
    accuracy, *_ = measure_pictures(compare_predictions(mixed, resamples=40))
    (axes,) = accuracy.figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a", "b", "poor (leaky)"]
    faces = [line.get_markerfacecolor() for line in axes.lines if len(line.get_xdata()) == 1]
    assert faces == [EOSIN, EOSIN, "none"]


def test_a_class_whose_name_is_broken_mathematics_is_drawn_all_the_same(
    patients_table: Callable[..., Predictions], tmp_path: Path
) -> None:
    strange = Task("t", ("benign", r"$\q$ & <b>"), positive=r"$\q$ & <b>")
    table = patients_table(np.full((4, 3), 0.8))
    renamed = table.frame.replace({"malignant": strange.classes[1]})
    renamed = renamed.rename(columns={"p_malignant": f"p_{strange.classes[1]}"})
    made = replace(table, frame=renamed, task=strange)
    found = compare_predictions({r"$\q$": made, "b": made}, resamples=40)
    for picture in (*measure_pictures(found), overlap_picture(found)):
        picture.write(tmp_path, footnote="patient-level")
        assert strange.classes[1] in picture.title or picture.name in ("accuracy", "mistakes")
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_a_measure_without_a_value_has_no_picture(
    patients_table: Callable[..., Predictions],
) -> None:
    table = patients_table(np.full((4, 3), 0.8))
    benign = table.where(table.frame["label"] == "benign")
    found = measure_pictures(compare_predictions({"a": benign, "b": benign}, resamples=40))
    assert [picture.name for picture in found] == ["accuracy"]
