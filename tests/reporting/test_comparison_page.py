"""The folder of a comparison: what its page says, warns of and shows, and its files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.comparison import Comparison
from eosin.artefacts.estimate import Estimate
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.evaluation.compare import compare_predictions
from eosin.networks.run import write_run
from eosin.protocol import Protocol
from eosin.reporting.comparison_figures import learning_picture, measure_pictures
from eosin.reporting.comparison_page import write_comparison
from eosin.reporting.comparison_tables import p_value, pair_table, ranking_table
from eosin.reporting.dots import Dot, dots_figure, limits_of
from eosin.tasks import Task

HISTORY = "epoch,train_loss,val_loss\n1,0.70,0.72\n2,0.41,0.55\n3,0.22,0.58\n"


def named(experiment, model: str, chances: list[float] | None = None, **changes) -> Predictions:
    table = experiment.predictions(chances, **changes)
    return replace(table, provenance=replace(table.provenance, model=model))


@pytest.fixture(scope="module")
def tables(experiment) -> dict[str, Predictions]:
    """One that is always right, the usual one (6 of 36 wrong), and one that is always wrong."""
    sure = [0.9 if label == "malignant" else 0.1 for label in experiment.rows["label"]]
    return {
        "sure": named(experiment, "sure", sure),
        "usual": named(experiment, "usual"),
        "upside down": named(experiment, "upside down", [1 - p for p in sure]),
    }


@pytest.fixture(scope="module")
def comparison(tables) -> Comparison:
    return compare_predictions(tables, resamples=200)


@pytest.fixture(scope="module")
def written(comparison, tmp_path_factory) -> Path:
    """The folder of the comparison, written without any Run."""
    return write_comparison(comparison, tmp_path_factory.mktemp("deep") / "out", runs={}).parent


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return (written / "comparison.html").read_text()


def test_the_page_names_the_best_model_and_stands_alone(page: str):
    assert "sure has the best accuracy, 1.000" in page
    assert "the images tell it apart from the next best" in page
    assert "<h1>3 models on breakhis: binary</h1>" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r"http://www\.w3\.org/[^\"]*", "", page)


def test_every_file_is_written_and_holds_the_same_figures(written: Path):
    assert {path.name for path in written.iterdir()} == {
        "comparison.html",
        "comparison.json",
        "differences.csv",
        "tests.csv",
        "models.csv",
        "mistakes.csv",
        "accuracy.png",
        "precision.png",
        "recall.png",
        "f1.png",
        "mistakes.png",
    }
    table = pd.read_csv(written / "differences.csv")
    row = table[(table["metric"] == "accuracy") & (table["second"] == "upside down")].iloc[0]
    assert (row["first"], row["difference"]) == ("sure", 1.0)
    fields = json.loads((written / "comparison.json").read_text())
    assert fields["mistakes"]["wrong"] == [0, 6, 36]


def test_mistakes_are_named_by_paths_that_start_at_their_own_folder(written: Path):
    table = pd.read_csv(written / "mistakes.csv")
    assert len(table) == 36
    assert (table["models_wrong"].head(6) == 2).all()
    assert not any(Path(path).is_absolute() for path in table["path"])
    assert all((written / path).is_file() for path in table["path"])


def test_a_picture_is_drawn_and_not_blank(written: Path):
    for name in ("accuracy", "mistakes"):
        image = cv2.imread(str(written / f"{name}.png"))
        assert image.shape[1] > 500
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_the_images_that_all_models_get_wrong_are_shown(experiment, tmp_path: Path):
    usual = named(experiment, "one")
    comparison = compare_predictions({"one": usual, "two": usual}, resamples=100)
    page = write_comparison(comparison, tmp_path, runs={}).read_text()
    assert page.count('<li class="tile">') == 6
    assert "6 images of 6. Look for" in page
    assert "no other model can be told apart from it" in page


def test_protocols_that_differ_are_said_in_the_ribbon_and_leaks_by_name(tables, tmp_path: Path):
    leaky = replace(tables["usual"].provenance, protocol=Protocol("image", "70/15/15", leaky=True))
    mixed = {**tables, "usual": replace(tables["usual"], provenance=leaky)}
    comparison = compare_predictions(mixed, resamples=100)
    page = write_comparison(comparison, tmp_path, runs={}).read_text()
    assert '<div class="ribbon">The protocols differ</div>' in page
    assert "image-level (leaky), 70/15/15: usual" in page
    assert "usual: The same patients stand in training and test" in page
    assert "usual (leaky)" in page  # in the pictures too
    assert "Protocol" in ranking_table(comparison, "accuracy").columns


def test_without_any_alarm_there_is_no_ribbon(page: str):
    assert '<div class="ribbon' not in page
    assert "differ (" not in page


def test_images_left_out_and_patients_seen_are_banners(tables, experiment, tmp_path: Path):
    seen = replace(tables["sure"].provenance, seen_allowed=True)
    changed = {
        **tables,
        "usual": tables["usual"].where(np.arange(36) > 3),
        "sure": replace(tables["sure"], provenance=seen),
    }
    comparison = compare_predictions(changed, resamples=100)
    page = write_comparison(comparison, tmp_path, runs={}).read_text()
    assert "Left out: sure: 4, upside down: 4." in page
    assert '<div class="ribbon">Scored on patients seen in training</div>' in page


def test_learning_curves_come_from_the_runs_and_what_is_missing_is_said(
    comparison, experiment, tmp_path: Path
):
    trained = write_run(tmp_path / "runs" / "trained", experiment.run.record)
    (trained.folder / "history.csv").write_text(HISTORY)
    frozen = write_run(tmp_path / "runs" / "frozen", experiment.run.record)
    runs = {
        "sure": [trained.folder],
        "usual": [frozen.folder],
        "upside down": [tmp_path / "runs" / "gone"],
    }
    page = write_comparison(comparison, tmp_path / "out", runs=runs).read_text()
    assert (tmp_path / "out" / "learning.png").is_file()
    assert 'id="learning-1-t">sure</title>' in page
    assert "usual: its Run holds no history.csv" in page
    assert "gone: no such Run folder" in page


def test_a_picture_of_an_earlier_comparison_does_not_stay(comparison, tmp_path: Path):
    (tmp_path / "learning.png").write_bytes(b"\x89PNG\r\n\x1a\nof other models")
    (tmp_path / "notes.png").write_bytes(b"the user's own")
    write_comparison(comparison, tmp_path, runs={})
    assert not (tmp_path / "learning.png").exists()
    assert (tmp_path / "notes.png").exists()


def test_grades_of_unknown_patients_have_a_page_without_patients(tmp_path: Path):
    task = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
    truth = np.arange(40) % 4
    images = pd.DataFrame(
        {"path": [f"/bci/{n}.png" for n in range(40)], "label": np.array(task.classes)[truth]}
    ).assign(patient="", magnification="", fold="")
    provenance = Provenance(dataset="bci", protocol=Protocol("official", patients_known=False))
    tables = {}
    for name, wrong in (("inception_her2", 4), ("vgg16", 20)):
        chosen = np.where(np.arange(40) < wrong, (truth + 1) % 4, truth)
        p = np.where(np.eye(4)[chosen] > 0, 0.7, 0.1)
        tables[name] = make_predictions(images, p, task=task, provenance=provenance)
    comparison = compare_predictions(tables, resamples=100)
    page = write_comparison(comparison, tmp_path).read_text()
    assert "Macro precision" in page
    assert "inception_her2 has the best quadratic-weighted kappa" in page
    assert "p by patient" not in page
    assert "inception_her2: its predictions name no Run" in page
    assert '<div class="banner banner--note"' in page


def test_one_sheet_has_a_panel_for_each_model_on_one_scale():
    epochs = np.array([1.0, 2.0, 3.0])
    histories = {
        "vgg16": {"Model 1": {"epoch": epochs, "train_loss": epochs[::-1] / 4}},
        "resnet50": {
            "Fold 1": {"epoch": epochs[:2], "val_loss": epochs[:2] / 2},
            "Fold 2": {"epoch": epochs[:2], "val_loss": epochs[:2] / 5},
        },
    }
    panels = learning_picture(histories).figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["vgg16", "resnet50"]
    assert [len(axes.lines) for axes in panels] == [1, 2]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    assert panels[0].get_ylim()[1] >= 1.0


def test_the_four_measures_have_the_models_in_one_order_and_one_scale(comparison):
    pictures = measure_pictures(comparison)
    assert [picture.name for picture in pictures] == ["accuracy", "precision", "recall", "f1"]
    assert pictures[1].title == "Precision, malignant"
    axes = [picture.figure.axes[0] for picture in pictures]
    labels = {tuple(label.get_text() for label in each.get_yticklabels()) for each in axes}
    assert labels == {("sure", "usual", "upside down")}
    assert len({each.get_xlim() for each in axes}) == 1


def test_a_dot_stands_at_its_value_with_its_whisker():
    found = Estimate(0.8, 0.7, 0.9, 36, 12, "accuracy")
    alone = Estimate(0.5, None, None, 36, 1, "accuracy", note="one patient: no interval")
    dots = [Dot("a$b$", found), Dot("alone", alone, strong=False)]
    axes = dots_figure(dots).axes[0]
    whisker, first, second = axes.lines
    assert list(whisker.get_xdata()) == [0.7, 0.9]
    assert (first.get_xdata()[0], first.get_ydata()[0]) == (0.8, 0)
    assert (second.get_xdata()[0], second.get_markerfacecolor()) == (0.5, "none")
    low, high = limits_of(dots)
    assert low < 0.5
    assert high > 0.9


def test_a_pair_is_told_with_the_more_accurate_model_first(comparison):
    table = pair_table(comparison)
    assert [row[0] for row in table.rows] == [
        "sure\nagainst usual",
        "sure\nagainst upside down",
        "usual\nagainst upside down",
    ]
    # All 36 images of 12 patients: sure alone is right on all, 2 * 0.5 ** 12 by patient.
    assert table.rows[1][1:] == (
        "+1.000\n[+1.000,\u00a0+1.000]",
        "12 : 0",
        "<0.001\ncorrected 0.001",
        "36 : 0",
        "<0.001\ncorrected <0.001",
    )
    assert len(pair_table(comparison, best_only=True).rows) == 2


def test_p_values_are_not_zero():
    assert [p_value(p) for p in (0.0004, 0.0449, 1.0)] == ["<0.001", "0.045", "1.000"]
