"""The verdict's sentences: who was scored, what guessing gives, and every reason for doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eosin.artefacts.estimate import Estimate
from eosin.artefacts.predictions import make_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.protocol import Protocol
from eosin.reporting.verdict import (
    banners,
    headline_panels,
    remarks,
    verdict_sentence,
    what_was_seen,
)
from eosin.tasks import Task

from .conftest import BY_PATIENT, SLIDES, Experiment

STRANGERS = ("14-4659", "14-13418")
UNKNOWN = Protocol("external", patients_known=False)
LEAKY = Protocol("image", "70/15/15", leaky=True)
PSEUDO = Protocol("patient", "5-fold", patients_known=True, pseudo=True)
SHARE = Estimate(0.834, 0.71, 0.926, 36, 12, "accuracy")


def sure(experiment: Experiment, *, right: bool = True) -> list[float]:
    """Probabilities of malignant of a model that is always right, or always wrong."""
    return [0.9 if (n == "malignant") == right else 0.1 for n in experiment.rows["label"]]


@pytest.mark.parametrize(
    ("trained", "validated", "split", "patients", "themselves"),
    [
        (STRANGERS, (), "test", 0, ""),
        (SLIDES[:2], (), "test", 2, ""),
        (SLIDES[:2], SLIDES[2:3], "test", 3, ""),
        (SLIDES, (), "test", 12, ""),
        (SLIDES, (), "train", 12, "trained"),
        ((*SLIDES, *STRANGERS), (), "train", 12, "trained"),
        (STRANGERS, SLIDES, "val", 12, "validated"),
        (STRANGERS, SLIDES, "train", 12, ""),
        (SLIDES, (), "out-of-fold", 0, ""),
    ],
)
def test_what_was_seen_is_counted_by_patient_and_by_image(
    experiment: Experiment,
    trained: tuple[str, ...],
    validated: tuple[str, ...],
    split: str,
    patients: int,
    themselves: str,
) -> None:
    run = experiment.run_with(train_patients=trained, val_patients=validated)
    seen = what_was_seen(run, experiment.predictions(split=split))
    assert (len(seen.patients), seen.images, seen.themselves) == (
        patients,
        3 * patients,
        themselves,
    )
    assert list(seen.patients) == sorted(seen.patients)


def test_a_slide_of_a_patient_that_was_seen_under_the_accession_is_seen(
    experiment: Experiment,
) -> None:
    run = experiment.run_with(train_patients=("14-22549",), val_patients=())
    table = experiment.predictions()
    frame = table.frame.replace({"patient": {"14-22549": "14-22549AB"}})
    assert what_was_seen(run, replace(table, frame=frame)).patients == ("14-22549AB",)


@pytest.mark.parametrize(
    ("changes", "whom"),
    [
        ({}, "On 12 patients it has not seen"),
        ({"protocol": PSEUDO}, "On 12 pseudo-patients it has not seen"),
        ({"protocol": UNKNOWN}, "On 36 images whose patients are not known"),
        ({"protocol": LEAKY}, "On 36 images of 12 patients whose other images it was trained on"),
        ({"seen_allowed": True}, "On 36 images of 12 patients, of whom it may have seen some"),
    ],
)
def test_the_sentence_names_whom_the_model_was_scored_on(
    experiment: Experiment, changes: dict[str, object], whom: str
) -> None:
    run = experiment.run_with(train_patients=STRANGERS, val_patients=())
    said = verdict_sentence(run, experiment.predictions(**changes), SHARE)  # type: ignore[arg-type]
    assert said.replace("\xa0", " ") == (
        f"{whom}, it gets 83 % of images right (95 % interval 71 to 93)."
    )


def test_validation_images_are_said_to_have_chosen_the_training(experiment: Experiment) -> None:
    run = experiment.run_with(train_patients=STRANGERS, val_patients=SLIDES)
    said = verdict_sentence(run, experiment.predictions(split="val"), SHARE)
    assert said.startswith("On 36 images that chose how it was trained (its validation images)")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            Estimate(0.5, None, None, 3, 1, "accuracy", note="one patient: no interval"),
            "it gets 50 % of images right (no interval: there is one patient).",
        ),
        (
            Estimate(0.5, None, None, 6, 2, "accuracy", note="undefined in most resamples"),
            "it gets 50 % of images right (no interval: too few patients).",
        ),
        (
            Estimate(None, None, None, 0, 2, "accuracy", note="undefined on this sample"),
            "no share of images classified right can be given: undefined on this sample.",
        ),
    ],
)
def test_a_share_without_interval_or_value_says_why(
    experiment: Experiment, found: Estimate, said: str
) -> None:
    run = experiment.run_with(train_patients=STRANGERS, val_patients=())
    sentence = verdict_sentence(run, experiment.predictions(), found)
    assert sentence.replace("\xa0", " ").endswith(f"it has not seen, {said}")


@pytest.mark.parametrize(
    ("trained", "changes", "titles"),
    [
        (STRANGERS, {}, []),
        (SLIDES[:1], {}, ["Scored on patients that the model has seen"]),
        (SLIDES, {"split": "train"}, ["Scored on the images that trained the model"]),
        (
            STRANGERS,
            {"seen_allowed": True},
            ["Scored without the guard against patients seen before"],
        ),
        (STRANGERS, {"protocol": LEAKY}, ["Protocol: image-level (leaky), 70/15/15"]),
        (
            SLIDES[:1],
            {"protocol": UNKNOWN, "seen_allowed": True},
            [
                "Scored on patients that the model has seen",
                "Protocol: external images (patients unknown)",
            ],
        ),
    ],
)
def test_every_reason_for_doubt_is_a_banner_and_what_was_seen_comes_first(
    experiment: Experiment, trained: tuple[str, ...], changes: dict[str, object], titles: list[str]
) -> None:
    run = experiment.run_with(train_patients=trained, val_patients=())
    found = banners(run, experiment.predictions(**changes))  # type: ignore[arg-type]
    assert [banner.title for banner in found] == titles
    assert all(banner.alarm for banner in found if "patients unknown" not in banner.title)
    assert not any(banner.alarm for banner in found if "patients unknown" in banner.title)


def test_of_many_patients_seen_ten_are_named_and_all_are_counted(experiment: Experiment) -> None:
    run = experiment.run_with(train_patients=SLIDES, val_patients=())
    (banner,) = banners(run, experiment.predictions())
    assert banner.text.startswith("12 patients trained or validated this Run: ")
    named = banner.text.split(": ")[1].split(", ...")[0].split(", ")
    assert named == sorted(SLIDES)[:10]
    assert banner.text.endswith("do not estimate accuracy on new patients.")


def test_images_seen_are_called_images_where_the_run_knew_no_patients(
    experiment: Experiment,
) -> None:
    stems = [f"image-{n}" for n in range(36)]
    unknown = Protocol("image", "70/15/15", patients_known=False)
    run = experiment.run_with(train_patients=tuple(stems[:5]), val_patients=(), protocol=unknown)
    table = experiment.predictions(protocol=unknown)
    table = replace(table, frame=table.frame.assign(patient=stems))
    first, _ = banners(run, table)
    assert first.title == "Scored on images that the model has seen"
    assert first.text.startswith("5 images trained or validated this Run: image-0, image-1")
    assert verdict_sentence(run, table, SHARE).startswith(
        "On 36 images whose patients are not known, 5 of which it has already seen, it gets"
    )


@pytest.mark.parametrize(
    ("right", "share", "said"),
    [
        (True, 1.0, "Balanced accuracy is 1.000 [1.000, 1.000]: better than guessing (0.500)."),
        (False, 0.0, "Balanced accuracy is 0.000 [0.000, 0.000]: worse than guessing (0.500)."),
    ],
)
def test_beside_guessing_the_model_is_better_or_worse_by_its_interval(
    experiment: Experiment, right: bool, share: float, said: str
) -> None:
    run = experiment.run_with(train_patients=STRANGERS, val_patients=())
    table = experiment.predictions(sure(experiment, right=right))
    evaluation = evaluate_predictions(table, resamples=100)
    assert evaluation.value("balanced_accuracy").value == share
    common, against = remarks(run, table, evaluation)
    assert common.replace("\xa0", " ") == "Always answering “benign” would get 50 % right."
    assert against.replace("\xa0", " ") == said


def test_an_interval_that_holds_chance_is_no_evidence(experiment: Experiment) -> None:
    run = experiment.run_with(train_patients=STRANGERS, val_patients=())
    half = [0.9 if n % 2 and n > 1 else 0.1 for n in range(36)]  # 10 of 18, and 9 of 18
    table = experiment.predictions(half)
    evaluation = evaluate_predictions(table, resamples=100)
    assert (evaluation.value("balanced_accuracy").value or 0) > 0.5
    lines = remarks(run, table, evaluation)
    assert lines[1].endswith(
        "the interval contains 0.500, so these images give no evidence that it does better than "
        "guessing."
    )


@pytest.mark.parametrize(
    ("trained", "changes", "but"),
    [
        (STRANGERS, {"protocol": LEAKY}, "remembering patients is enough to reach that"),
        (SLIDES[:1], {}, "it has already seen some of these patients: it may only remember them"),
        (
            STRANGERS,
            {"seen_allowed": True},
            "it has already seen some of these patients: it may only remember them",
        ),
        (STRANGERS, {"protocol": UNKNOWN}, "patients are not known: it may only remember them"),
        (
            SLIDES,
            {"split": "train"},
            "these very images trained the model: it says nothing of new ones",
        ),
    ],
)
def test_better_than_guessing_is_qualified_wherever_remembering_would_do(
    experiment: Experiment, trained: tuple[str, ...], changes: dict[str, object], but: str
) -> None:
    run = experiment.run_with(train_patients=trained, val_patients=())
    table = experiment.predictions(sure(experiment), **changes)  # type: ignore[arg-type]
    lines = remarks(run, table, evaluate_predictions(table, resamples=100))
    assert lines[1].endswith(f"better than guessing (0.500), but {but}.")


def test_without_an_interval_beating_guessing_proves_nothing(experiment: Experiment) -> None:
    table = experiment.predictions(sure(experiment))
    one = table.where(table.frame["patient"] == SLIDES[0])
    lines = remarks(experiment.run, one, evaluate_predictions(one, resamples=100))
    assert lines[0].replace("\xa0", " ") == "Always answering “benign” would get 100 % right."
    assert lines[1] == (
        "Balanced accuracy is 1.000, guessing gives 0.500; there is no interval for it, so that "
        "proves nothing."
    )


def test_a_panel_draws_value_and_interval_on_a_track_of_100_and_marks_chance(
    experiment: Experiment,
) -> None:
    evaluation = evaluate_predictions(experiment.predictions(), resamples=200)
    (panel,) = headline_panels(evaluation, title="By image", caption="36 images.")
    assert panel.title == "By image"
    assert panel.caption == (
        "36 images. Each image gets its most probable class, which is the decision at the locked "
        "threshold too."
    )
    rows = {row.label: row for row in panel.rows}
    accuracy, found = rows["Accuracy"], evaluation.value("accuracy")
    assert accuracy.value_at == round(100 * 30 / 36, 2)
    assert (accuracy.low_at, accuracy.high_at) == (
        round(100 * (found.low or 0), 2),
        round(100 * (found.high or 0), 2),
    )
    assert accuracy.chance_at == 50.0  # 18 of 36 are of the commonest class
    assert rows["ROC AUC"].chance_at == 50.0
    assert rows["Sensitivity"].chance_at is None
    assert all(row.drawn for row in panel.rows)


def test_chance_of_accuracy_is_the_commonest_class_and_of_balanced_accuracy_the_mean(
    experiment: Experiment,
) -> None:
    table = experiment.predictions()
    few = table.where((table.frame["label"] == "malignant") | (np.arange(36) < 6))
    (panel,) = headline_panels(evaluate_predictions(few, resamples=100), title="", caption="")
    rows = {row.label: row for row in panel.rows}
    assert rows["Accuracy"].chance_at == 75.0  # 18 of 24
    assert rows["Balanced accuracy"].chance_at == 50.0


def test_notes_are_written_once_below_and_their_rows_carry_the_mark(experiment: Experiment) -> None:
    table = experiment.predictions()
    one = table.where(table.frame["patient"] == SLIDES[0])
    evaluation = evaluate_predictions(one, resamples=100)
    (panel,) = headline_panels(evaluation, title="By image", caption="")
    notes = dict(panel.notes)
    assert list(notes) == [str(n) for n in range(1, len(notes) + 1)]
    assert len(set(notes.values())) == len(notes)
    said = {row.label: notes.get(row.mark, "") for row in panel.rows}
    assert said["Accuracy"] == "One patient: no interval."
    assert said["ROC AUC"] == "Undefined: no image of class malignant here."
    undrawn = {row.label for row in panel.rows if not row.drawn}
    assert undrawn == {"Sensitivity", "ROC AUC"}
    assert {row.number for row in panel.rows if not row.drawn} == {"–"}


@pytest.mark.parametrize(
    ("ordinal", "labels"),
    [
        (True, ["Quadratic-weighted kappa", "Adjacent-grade error", "Macro ROC AUC"]),
        (False, ["Macro F1", "Macro ROC AUC"]),
    ],
)
def test_grades_and_types_have_headlines_of_their_own(
    experiment: Experiment, ordinal: bool, labels: list[str]
) -> None:
    task = Task("her2", ("0", "1+", "2+"), ordinal=ordinal)
    rows = experiment.rows.assign(label=[task.classes[n % 3] for n in range(36)])
    chances = np.full((36, 3), 0.2) + 0.4 * np.eye(3)[(np.arange(36) // 2) % 3]
    table = make_predictions(rows, chances, task=task)
    (panel,) = headline_panels(
        evaluate_predictions(table, resamples=100), title="By image", caption="Of 36."
    )
    named = [row.label for row in panel.rows]
    assert named[:-1] == ["Accuracy", "Balanced accuracy", *labels]
    assert named[-1] == "Patient recognition rate"
    assert panel.caption == "Of 36. Each image gets its most probable class."


def test_a_figure_below_zero_is_named_and_not_drawn(experiment: Experiment) -> None:
    task = Task("her2", ("0", "1+", "2+"), ordinal=True)
    label = np.arange(36) % 3
    rows = experiment.rows.assign(label=[task.classes[n] for n in label])
    turned = np.full((36, 3), 0.1) + 0.7 * np.eye(3)[2 - label]  # the far end for the ends
    evaluation = evaluate_predictions(make_predictions(rows, turned, task=task), resamples=100)
    (panel,) = headline_panels(evaluation, title="", caption="")
    kappa = next(row for row in panel.rows if row.label.startswith("Quadratic"))
    assert evaluation.value("quadratic_kappa").value == pytest.approx(-1)
    assert (kappa.number, kappa.drawn, kappa.value_at) == ("-1.000", False, 0.0)


def test_an_evaluation_by_patient_says_so_in_its_caption(experiment: Experiment) -> None:
    evaluation = evaluate_predictions(experiment.predictions(), level="patient", resamples=100)
    (panel,) = headline_panels(evaluation, title="By patient", caption="12 patients.")
    assert "Each patient gets its most probable class" in panel.caption
    assert "Patient recognition rate" not in [row.label for row in panel.rows]
    assert evaluation.provenance.protocol == BY_PATIENT
