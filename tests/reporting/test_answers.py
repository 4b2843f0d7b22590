"""What a Run and its predictions answer: each sentence against the artefacts it is drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from eosin.artefacts.codec import with_changes
from eosin.artefacts.estimate import Scope
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.artefacts.run import EnsembleRun, FoldsRun, Member
from eosin.networks.run import Run
from eosin.protocol import Protocol
from eosin.reporting.answers import RESEARCH_ONLY, Answers
from eosin.reporting.checklist import fill_checklist
from eosin.reporting.model_card import card_parts, model_card
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
BY_PATIENT = Protocol("patient", "70/15/15", seed=7)
ORIGIN = Provenance(protocol=BY_PATIENT, dataset="breakhis", split="test", threshold=0.5)
Scored = Callable[..., Predictions]


@pytest.fixture
def run(tmp_path: Path, make_record: Callable[..., object]) -> Run:
    record = make_record(
        task=BINARY,
        training={"freeze": True, "backbone": "b0", "epochs": 30, "class_weights": "balanced"},
        choices={"strength": 0.123456, "inner_log_loss": {"0.1": 0.5}},
        versions={"eosin": "0.1.0", "torch": "2.15.0"},
    )
    return Run(tmp_path, record, "0" * 64)  # type: ignore[arg-type]


@pytest.fixture
def scored(patients_table: Callable[..., Predictions]) -> Scored:
    """Ten patients of four images; the first image of each is classified wrongly."""

    def build(**changes: object) -> Predictions:
        truth = np.tile([0.2, 0.8, 0.8, 0.8], (10, 1))
        return patients_table(truth, replace(ORIGIN, **changes))  # type: ignore[arg-type]

    return build


def outer(run: Run, kind: type[FoldsRun] | type[EnsembleRun], **more: object) -> Run:
    own = {"kind", "fold", "weights_sha256", "reference"}
    fields = {name: value for name, value in dict(run.record).items() if name not in own}
    members = tuple(Member(path=name, sha256=f"{name}1" * 32) for name in "ab")
    fields |= {"fold": None, "reference": None, "weights_sha256": None, "members": members, **more}
    return replace(run, record=kind.model_validate(fields))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "title",
            "An image classifier (test_efficientnet) of breast tissue into benign, malignant "
            "(binary).",
        ),
        ("use", RESEARCH_ONLY),
        (
            "objective",
            "The artefacts are of development and evaluation: test images, patient-level, "
            "70/15/15.",
        ),
        ("data", "Trained on breakhis, scored on breakhis (test)."),
        ("outcome", "The label of each image, one of benign, malignant (binary)."),
        (
            "size",
            "Scored: 40 images of 10 patients. Whether that suffices for an effect of interest: "
            "`eosin power`.",
        ),
        ("missing", "No image of the table lacks a prediction. Nothing is imputed."),
        ("division", "Training: patient-level, 70/15/15, seed 1. Scored: patient-level, 70/15/15."),
        ("disjoint", "patient-level, 70/15/15."),
        ("selection", "Chosen on 1 validation patient: strength = 0.1235."),
        ("ensemble", "No: one network."),
        ("uncertainty", "95 % percentile intervals from 2,000 resamples of whole patients."),
        (
            "imbalance",
            "Scored images: benign 20, malignant 20. Class weights in training: balanced.",
        ),
        (
            "output",
            "A probability of each class; the decision is made at a threshold of 0.5, set on "
            "training data.",
        ),
        ("code", "eosin is open source (MIT). Versions: eosin 0.1.0, torch 2.15.0."),
        ("initial", "random weights"),
        (
            "clusters",
            "Share of images classified right, by patient: from 0.750 to 0.750, median 0.750 (10 "
            "patients).",
        ),
        ("acquisition", "Magnification: 100X."),
        ("poor_input", "A file that is damaged or incomplete is named and not scored."),
    ],
)
def test_an_answer_says_what_the_artefacts_hold(
    run: Run, scored: Scored, name: str, said: str
) -> None:
    assert Answers(run, scored()).to(name) == said


def test_of_a_frozen_training_only_settings_that_a_head_depends_on_are_told(
    run: Run, scored: Scored
) -> None:
    frozen = Answers(run, scored()).to("building")
    assert str(frozen).endswith("Settings: freeze = True, backbone = b0, class_weights = balanced.")
    tuned = {**run.record.training, "freeze": False}
    record = with_changes(run.record, training=tuned)
    assert "epochs = 30" in str(Answers(replace(run, record=record), scored()).to("building"))


def test_what_is_external_is_evaluation_and_has_no_internal_performance(
    run: Run, scored: Scored
) -> None:
    answers = Answers(run, scored(protocol=Protocol("external"), dataset="hospital"))
    assert answers.to("internal") is None
    assert str(answers.to("external")).startswith("external images: accuracy 0.750")
    assert str(answers.to("objective")).startswith("The artefacts are of evaluation: ")
    assert answers.subject == "test_efficientnet on hospital, binary"


def test_images_that_could_not_be_read_are_what_is_missing(run: Run, scored: Scored) -> None:
    notes = ("2 images could not be read and are not scored.", "Another note.")
    said = Answers(run, scored(notes=notes)).to("missing")
    assert said == "2 images could not be read and are not scored. Nothing is imputed."


def test_without_patients_no_sentence_counts_them(run: Run, scored: Scored) -> None:
    table = scored(protocol=Protocol("official", patients_known=False))
    bare = replace(table, frame=table.frame.assign(patient=""))
    answers = Answers(run, bare)
    assert answers.to("clusters") is None
    assert str(answers.to("size")).startswith("Scored: 40 images; patients are not known.")
    assert "patients are not known" in str(answers.to("performance"))


def test_folds_and_ensembles_say_whether_several_networks_answer(
    run: Run, scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = Answers(outer(run, FoldsRun, vote=None), scored())
    assert folds.to("ensemble") == "No: 2 folds, each scored by the network that did not see it."
    voting = Answers(outer(run, EnsembleRun, vote="soft", weights=()), scored())
    assert voting.to("ensemble") == "2 members (a, b), soft vote."
    assert "a (SHA-256 a1a1a1a1a1a1...), b (SHA-256 b1b1b1b1b1b1...)" in str(voting.to("model"))


def test_each_fold_may_have_a_threshold_of_its_own(run: Run, scored: Scored) -> None:
    answers = Answers(run, scored(threshold=None))
    assert "the decision is made at a threshold of each fold, set" in str(answers.to("output"))


def test_several_classes_are_decided_by_the_most_probable_one(run: Run, scored: Scored) -> None:
    her2 = Task("her2", ("benign", "malignant"), ordinal=True)
    record = with_changes(run.record, task=her2, threshold=None)
    table = replace(scored(threshold=None), task=her2)
    answers = Answers(replace(run, record=record), table)
    assert answers.to("output") == ("A probability of each class; the most probable one is chosen.")
    assert [found.metric for found in answers.headlines] == [
        "accuracy",
        "balanced_accuracy",
        "macro_roc_auc",
    ]


def test_the_stain_step_is_told_with_the_preprocessing(run: Run, scored: Scored) -> None:
    plain = str(Answers(run, scored()).to("preprocessing"))
    assert plain.startswith("RGB image, stretch to 64 x 64 px; mean (0.485, 0.456, 0.406)")
    assert plain.endswith("; no stain normalisation.")


def test_the_measures_named_are_those_of_the_evaluation(run: Run, scored: Scored) -> None:
    answers = Answers(run, scored())
    said = str(answers.to("measures"))
    names = said.partition(";")[0].removesuffix("; confusion").split(", ")
    assert len(names) == len(set(names))
    assert {"accuracy", "sensitivity", "ROC AUC", "calibration error"} <= set(names)
    assert "quadratic-weighted kappa" not in names


def test_no_item_of_any_standard_is_answered_with_nothing(run: Run, scored: Scored) -> None:
    for standard in ("tripod-ai", "claim", "metrics"):
        for item in fill_checklist(run, scored(), standard).items:
            assert item.answer is None or item.answer.strip()
            assert "None" not in (item.answer or "").split()


def test_the_page_of_a_checklist_has_every_item_with_its_answer(
    run: Run, scored: Scored, parsed: Callable[..., object]
) -> None:
    filled = fill_checklist(run, scored(), "claim")
    page = parsed(filled.page())
    items = [
        " ".join(" ".join(each.itertext()).split())
        for each in page.root.iter("li")  # type: ignore[attr-defined]
    ]
    assert items == [
        " ".join(f"{item.number} {item.ask} {item.answer or 'Open: for the authors'}".split())
        for item in filled.items
    ]
    assert f"{len(filled.items) - len(filled.open_items)} of {len(filled.items)} items" in (
        filled.summary
    )


def test_the_head_of_a_model_card_is_yaml_with_the_headline_figures(
    run: Run, scored: Scored
) -> None:
    table = scored(dataset='lab "A" \\ <b>')
    card = model_card(run, table)
    head = yaml.safe_load(card.split("---\n")[1])
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert model["name"] == "test_efficientnet"
    assert result["dataset"]["name"] == 'lab "A" \\ <b>'
    answers = Answers(run, table)
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        (found.metric, round(found.value or 0.0, 4)) for found in answers.headlines
    ]
    assert result["metrics"][0]["name"] == "accuracy, patient-level, 70/15/15"
    assert "<b>" not in card.split("---\n", 2)[2]  # a name is no markup of the hub's page


def test_a_name_is_no_markup_in_the_title_of_a_checklist(run: Run, scored: Scored) -> None:
    text = fill_checklist(run, scored(dataset="lab <b>"), "claim").markdown()
    assert text.startswith("# ")
    assert "<b>" not in text


def test_the_median_of_an_even_number_of_patients_lies_between_the_middle_two(
    run: Run, patients_table: Callable[..., Predictions]
) -> None:
    right = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    table = patients_table(np.where(right, 0.8, 0.2), ORIGIN)
    assert "from 0.000 to 1.000, median 0.375 (4 patients)" in str(
        Answers(run, table).to("clusters")
    )


def test_the_parts_of_a_card_stand_below_their_headings_in_order(run: Run, scored: Scored) -> None:
    parts = card_parts(Answers(run, scored()))
    assert [title for title, _ in parts] == [
        *("What it is", "Use", "Data", "Protocol", "Figures", "Input", "Training", "Limits"),
        "Open",
    ]
    assert all(text.strip() for _, text in parts)
    card = model_card(run, scored())
    places = [card.index(f"\n## {title}\n") for title, _ in parts]
    assert places == sorted(places)


def test_a_card_says_in_one_sentence_that_the_initial_weights_are_not_recorded(
    run: Run, scored: Scored
) -> None:
    bare = replace(run, record=with_changes(run.record, initial_weights=""))
    assert "Started from: not recorded. Chosen " in model_card(bare, scored())


def test_a_figure_without_a_value_is_left_out_of_the_headlines(run: Run, scored: Scored) -> None:
    table = scored()
    benign = table.where(table.frame["label"] == "benign")
    answers = Answers(run, benign)
    assert [found.metric for found in answers.headlines] == ["accuracy", "balanced_accuracy"]
    assert answers.evaluation.value("recall", Scope("malignant")).value is None
    assert "None" not in model_card(run, benign)
