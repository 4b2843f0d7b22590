"""The report as a reader meets it: what it says, what it warns of, and that it stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Provenance, make_predictions
from eosin.errors import DataError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.protocol import Protocol
from eosin.reporting.galleries import Caption, Gallery, tiles_of
from eosin.reporting.report import write_report
from eosin.tasks import Task

from .conftest import SLIDES, Experiment, Page

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions

QUICK = 200  # resamples: enough to write a page


def page_of(experiment: Experiment, predictions: Predictions, tmp_path: Path) -> str:
    path = write_report(experiment.run, predictions, tmp_path / "report.html", resamples=QUICK)
    return path.read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return Page(page).words()


def test_the_verdict_says_in_plain_words_how_many_images_of_new_patients_are_right(
    experiment: Experiment, tmp_path: Path
) -> None:
    predictions = experiment.predictions()
    accuracy = evaluate_predictions(predictions, resamples=QUICK).value("accuracy")
    low, high = round(100 * (accuracy.low or 0)), round(100 * (accuracy.high or 0))
    words = words_of(page_of(experiment, predictions, tmp_path))
    assert accuracy.value == pytest.approx(30 / 36)
    assert (
        f"On 12 patients it has not seen, it gets 83 % of images right "
        f"(95 % interval {low} to {high})."
    ) in words
    assert "Always answering “benign” would get 50 % right." in words


def test_every_headline_figure_carries_its_interval_at_both_levels(
    experiment: Experiment, tmp_path: Path
) -> None:
    predictions = experiment.predictions()
    page = page_of(experiment, predictions, tmp_path).replace("\xa0", " ")
    headline = page[page.index('id="verdict"') : page.index('id="data"')]
    for level in ("image", "patient"):
        evaluation = evaluate_predictions(predictions, level=level, resamples=QUICK)
        for metric in ("accuracy", "balanced_accuracy", "roc_auc", "sensitivity", "specificity"):
            found = evaluation.value(metric)
            assert f"<b>{found.value:.3f}</b>" in headline
            assert f"[{found.low:.3f}, {found.high:.3f}]" in headline


def test_a_leaky_protocol_stands_in_the_title_the_ribbon_the_banner_and_on_every_printed_page(
    experiment: Experiment, tmp_path: Path
) -> None:
    leaky = Protocol("image", "70/15/15", leaky=True)
    page = page_of(experiment, experiment.predictions(protocol=leaky), tmp_path)
    name = "image-level (leaky), 70/15/15"
    assert f"breakhis: binary · {name} · eosin report</title>" in page
    assert f'<div class="ribbon">Protocol: {name}</div>' in page
    assert f"<strong>Protocol: {name}</strong>" in page
    assert r'content: "image\2d level \28 leaky\29 \2c  70\2f 15\2f 15"' in page
    words = words_of(page)
    assert "of 12 patients whose other images it was trained on, it gets 83 %" in words
    assert "it has not seen" not in words
    assert words.count(leaky.warning or "") == 2  # in the banner and among the limits


def test_an_honest_protocol_raises_no_banner(experiment: Experiment, tmp_path: Path) -> None:
    page = page_of(experiment, experiment.predictions(), tmp_path)
    assert 'class="banner' not in page
    assert '<div class="ribbon' not in page


def test_patients_that_the_run_was_validated_on_are_named_in_a_banner(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = experiment.run_with(val_patients=("14-2523",))
    predictions = experiment.predictions(seen_allowed=True)
    path = write_report(run, predictions, tmp_path / "report.html", resamples=QUICK)
    words = words_of(path.read_text(encoding="utf-8"))
    assert "1 patient trained or validated this Run: 14-2523." in words
    assert "of 12 patients, 1 of whom it has already seen, it gets 83 %" in words


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol("patient", "5-fold"),
        Protocol("image", "70/15/15", leaky=True),
        Protocol("image", "70/15/15", patients_known=False),
        Protocol("external"),
    ],
    ids=lambda protocol: protocol.name,
)
def test_training_images_look_like_it_under_every_protocol(
    experiment: Experiment, tmp_path: Path, protocol: Protocol
) -> None:
    run = experiment.run_with(train_patients=SLIDES, val_patients=())
    chances = [0.9 if label == "malignant" else 0.1 for label in experiment.rows["label"]]
    predictions = experiment.predictions(chances, protocol=protocol, split="train")
    path = write_report(run, predictions, tmp_path / "report.html", resamples=QUICK)
    page = path.read_text(encoding="utf-8")
    title = "Scored on the images that trained the model"
    assert f'<div class="ribbon">{title}</div>' in page
    words = words_of(page)
    assert "On 36 images that it was trained on, it gets 100 % of images right" in words
    assert "other images" not in words[: words.index("Always answering")]
    better = words[words.index("better than guessing (0.500)") :].split(". ")[0]
    assert "these very images trained the model: it says nothing of new ones" in better


def test_seen_patients_in_bare_files_raise_the_alarm_and_qualify_the_verdict(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = experiment.run_with(train_patients=SLIDES[:4])
    chances = [0.9 if label == "malignant" else 0.1 for label in experiment.rows["label"]]
    unknown = Protocol("external", patients_known=False)
    predictions = experiment.predictions(chances, protocol=unknown, split="files")
    path = write_report(run, predictions, tmp_path / "report.html", resamples=QUICK)
    page = path.read_text(encoding="utf-8")
    assert '<div class="ribbon">Scored on patients that the model has seen</div>' in page
    words = words_of(page)
    assert "12 of which it has already seen, it gets 100 % of images right" in words
    assert "(0.500), but it has already seen some of these patients" in words


def test_each_headline_table_has_one_rule_of_deciding(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = page_of(experiment, experiment.predictions(), tmp_path)
    assert "<h3>By image</h3>" in one
    chances = experiment.predictions().probabilities
    moved = make_predictions(
        experiment.rows,
        chances,
        task=experiment.run.record.task,
        threshold=0.7,
        provenance=replace(experiment.predictions().provenance, threshold=0.7),
    )
    page = page_of(experiment, moved, tmp_path)
    probable, locked = (
        page[page.index(f"<h3>By image, {rule}</h3>") :].split("</table>")[0]
        for rule in ("most probable class", "locked threshold")
    )
    evaluation = evaluate_predictions(moved, resamples=QUICK)
    for name in ("Accuracy", "Balanced accuracy", "Recall", "Specificity"):
        assert f'<th scope="row">{name}' in probable
    for name in ("Sensitivity", "Specificity", "Balanced accuracy of the decision"):
        assert f'<th scope="row">{name}' in locked
    assert "Sensitivity" not in probable
    for metric in ("sensitivity", "specificity", "decided_balanced_accuracy"):
        assert f"<b>{evaluation.value(metric).value:.3f}</b>" in locked


def test_unknown_patients_are_said_to_be_unknown_and_get_no_patient_level(
    experiment: Experiment, tmp_path: Path
) -> None:
    rows = experiment.rows.assign(patient=[Path(p).stem for p in experiment.rows["path"]])
    known = experiment.predictions()
    predictions = make_predictions(
        rows,
        known.probabilities,
        task=known.task,
        provenance=Provenance(protocol=Protocol("image", "5-fold", patients_known=False)),
    )
    words = words_of(page_of(experiment, predictions, tmp_path))
    assert "On 36 images whose patients are not known, it gets 83 %" in words
    assert "Patients are not known, so there is nothing to show for each of them." in words
    assert "By patient" not in words
    assert "Class 100× 400× Images benign 12 6 18 malignant 12 6 18 All 24 12 36" in words
    assert "benign · 18 images" in words
    assert "18 patients" not in words


def test_names_from_data_are_escaped(experiment: Experiment, tmp_path: Path) -> None:
    task = Task("t", ("<i>benign</i>", "a & $b$"), positive="a & $b$")
    names = dict(zip(("benign", "malignant"), task.classes, strict=True))
    rows = experiment.rows.assign(
        label=[names[label] for label in experiment.rows["label"]],
        patient=[f"<script>{patient}" for patient in experiment.rows["patient"]],
    )
    known = experiment.predictions()
    predictions = make_predictions(rows, known.probabilities, task=task)
    run = experiment.run_with(task=task)
    path = write_report(run, predictions, tmp_path / "report.html", resamples=QUICK)
    page = path.read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<i>benign" not in page
    assert "a & $b$" in words_of(page)


def test_an_image_that_cannot_be_read_is_named_in_its_place(
    experiment: Experiment, tmp_path: Path
) -> None:
    predictions = experiment.predictions()
    wrong = np.flatnonzero(predictions.label_index != predictions.predicted_index)[0]
    gone = str(tmp_path / "SOB_B_F-14-22549AB-100-009.png")
    frame = predictions.frame.copy()
    frame.loc[wrong, "path"] = gone
    words = page_of(experiment, replace(predictions, frame=frame), tmp_path)
    assert '<span class="missing">SOB_B_F-14-22549AB-100-009.png: cannot be opened' in words


def test_the_same_predictions_give_the_same_bytes(experiment: Experiment, tmp_path: Path) -> None:
    predictions = experiment.predictions()
    assert page_of(experiment, predictions, tmp_path) == page_of(experiment, predictions, tmp_path)


def test_a_single_class_and_a_single_patient_still_make_a_plain_page(
    experiment: Experiment, tmp_path: Path
) -> None:
    predictions = experiment.predictions()
    one = predictions.where(predictions.frame["patient"] == "14-2523")
    words = words_of(page_of(experiment, one, tmp_path))
    assert "On 1 patient it has not seen, it gets" in words
    assert "of images right (no interval: there is one patient)" in words
    assert "All images are of one class, so there is nothing to rank." in words
    assert "nan" not in words.lower().split()


def test_eight_classes_get_a_curve_each_and_an_eight_by_eight_matrix(
    experiment: Experiment, tmp_path: Path
) -> None:
    task = Task("subtype", ("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"))
    rng = np.random.default_rng(0)
    column = np.arange(36) % 8
    probabilities = rng.dirichlet(np.ones(8), 36) * 0.5
    probabilities[np.arange(36), column] += 0.5
    rows = experiment.rows.assign(label=[task.classes[p] for p in column])
    predictions = make_predictions(rows, probabilities, task=task)
    run = experiment.run_with(task=task, threshold=None)
    path = write_report(run, predictions, tmp_path / "report.html", resamples=QUICK)
    page = path.read_text(encoding="utf-8")
    assert len(re.findall(r'aria-labelledby="roc-\d-t"', page)) == 8
    assert len(re.findall(r'aria-labelledby="precision-\d-t"', page)) == 8
    matrix = page[page.index('<section id="confusion"') : page.index('<section id="curves"')]
    assert len(re.findall(r'<td class="(?:right|wrong)', matrix)) == 2 * 64
    assert "Sensitivity" not in page[page.index('id="verdict"') : page.index('id="data"')]


def test_a_gallery_of_ones_own_becomes_a_section_with_a_place_in_the_contents(
    experiment: Experiment, tmp_path: Path
) -> None:
    heat = np.full((40, 60, 3), 200, np.uint8)
    tiles = tiles_of([(heat, Caption("Warm here", ("Grad-CAM",), "SOB_M_DC-14-2523-100-001"))])
    gallery = Gallery("heatmaps", "Heatmaps", "Where did it look?", (("", tiles),))
    path = write_report(
        experiment.run,
        experiment.predictions(),
        tmp_path / "report.html",
        galleries=[gallery],
        resamples=QUICK,
    )
    page = path.read_text(encoding="utf-8")
    assert '<section id="heatmaps">' in page
    assert page.count('<a href="#heatmaps">Heatmaps</a>') == 2  # at the side and folded on a phone
    assert "Warm here" in words_of(page)


def test_the_run_record_is_shown_without_telling_whose_disk_it_was(
    experiment: Experiment, tmp_path: Path
) -> None:
    page = page_of(experiment, experiment.predictions(notes=("One note.",)), tmp_path)
    words = words_of(page)
    assert "5c" * 32 in words
    assert "b0.safetensors" in words
    assert "/home/someone" not in page
    assert "One note." in words
    assert "not a medical device" in words


def test_predictions_of_other_classes_than_the_runs_are_refused(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = experiment.run_with(
        threshold=None, task=Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
    )
    with pytest.raises(DataError, match=r"answers for the classes \['0', '1\+', '2\+', '3\+'\]"):
        write_report(run, experiment.predictions(), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_an_evaluation_of_other_images_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    predictions = experiment.predictions()
    half = predictions.where(predictions.frame["magnification"] == "100")
    for evaluation, reason in (
        (evaluate_predictions(half, resamples=QUICK), "the evaluation is of 24 images"),
        (
            evaluate_predictions(predictions, level="patient", resamples=QUICK),
            "got the patient-level",
        ),
        (
            evaluate_predictions(predictions, confidence=0.9, resamples=QUICK),
            "states 95 % intervals, the evaluation has 90%",
        ),
    ):
        with pytest.raises(DataError, match=reason):
            write_report(
                experiment.run, predictions, tmp_path / "report.html", evaluation=evaluation
            )


def test_an_image_without_a_label_is_refused_by_name(
    experiment: Experiment, tmp_path: Path
) -> None:
    predictions = experiment.predictions()
    frame = predictions.frame.assign(label=["", *predictions.frame["label"][1:]])
    with pytest.raises(DataError, match=r"SOB_B_F-14-22549-100-001\.png: has no label"):
        page_of(experiment, replace(predictions, frame=frame), tmp_path)


def test_422_real_images_fit_in_three_megabytes(
    experiment: Experiment, real_data: Path, tmp_path: Path
) -> None:
    paths = sorted((real_data / "breakhis100x").rglob("*.png"))
    rows = pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "patient": [re.sub(r"[A-Z]+$", "", "-".join(p.name.split("-")[1:3])) for p in paths],
            "magnification": "100",
            "label": ["malignant" if "_M_" in path.name else "benign" for path in paths],
            "fold": "",
        }
    )
    chances = np.random.default_rng(0).random(len(rows))
    probabilities = np.stack([1 - chances, chances], axis=1)
    predictions = make_predictions(rows, probabilities, task=experiment.run.record.task)
    path = write_report(experiment.run, predictions, tmp_path / "report.html", resamples=QUICK)
    page = path.read_text(encoding="utf-8")
    assert len(rows) == 422
    assert page.count("data:image/jpeg") == 2 * 6 + 24
    assert 100_000 < path.stat().st_size < 3_000_000


def test_reporting_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, eosin.reporting.report, eosin.reporting.curves as c;"
        "from eosin.reporting.canvas import new_figure; new_figure();"
        "print(sorted({'torch', 'timm', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
