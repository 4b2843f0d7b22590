"""The sections on probabilities: captions whose figures are the evaluation's, rings and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from eosin.artefacts.estimate import Scope
from eosin.artefacts.evaluation import Evaluation
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.reporting import probabilities
from eosin.reporting.curves import roc_figure
from eosin.reporting.probabilities import RankingSection, calibration_section, ranking_section
from eosin.reporting.wording import figure
from eosin.tasks import Task

if TYPE_CHECKING:
    from .conftest import Experiment

TYPES = Task("subtype", ("A", "F", "<DC>"))


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Bands of forty draws: quick, and as true of what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probabilities, "BAND_RESAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def three_types(experiment: Experiment) -> Predictions:
    """Twelve patients of three types in turn; one image of six of each is wrong."""
    label = np.repeat(np.arange(12) % 3, 3)
    chosen = np.where(np.arange(36) % 6 == 5, (label + 1) % 3, label)
    chances = np.full((36, 3), 0.15) + 0.55 * np.eye(3)[chosen]
    rows = experiment.rows.assign(label=np.array(TYPES.classes)[label])
    return make_predictions(rows, chances, task=TYPES)


@pytest.fixture(scope="module")
def evaluation(three_types: Predictions) -> Evaluation:
    return evaluate_predictions(three_types, resamples=100)


@pytest.fixture(scope="module")
def section(three_types: Predictions, evaluation: Evaluation) -> RankingSection:
    return ranking_section(three_types, evaluation)


def test_two_classes_have_one_pair_of_curves_with_area_and_guessing_in_their_captions(
    experiment: Experiment,
) -> None:
    table = experiment.predictions()
    evaluation = evaluate_predictions(table, resamples=100)
    found = ranking_section(table, evaluation)
    assert found.lead.startswith("How well the probability of “malignant” ranks images.")
    assert found.lead.endswith("Protocol: patient-level, 5-fold.")
    ((roc, precision),) = [group.drawings for group in found.groups]
    area = evaluation.value("roc_auc")
    assert roc.caption == (
        f"Area {figure(area)}. The ring is the decision at the locked threshold 0.5."
    )
    average = evaluation.value("average_precision", Scope("malignant"))
    assert precision.caption == f"Average precision {figure(average)}. Guessing gives 0.500."
    assert [drawing.title for drawing in (roc, precision)] == [
        "ROC curve",
        "Precision-recall curve",
    ]


def test_each_of_several_classes_has_small_curves_of_its_own_and_all_stand_together(
    section: RankingSection, evaluation: Evaluation
) -> None:
    assert [(group.title, len(group.drawings), group.small) for group in section.groups] == [
        ("All classes", 2, False),
        ("ROC of each class", 3, True),
        ("Precision-recall of each class", 3, True),
    ]
    for drawing, name in zip(section.groups[1].drawings, TYPES.classes, strict=True):
        assert drawing.title == name
        assert drawing.caption == f"Area {figure(evaluation.value('roc_auc', Scope(name)))}."
        assert "ring" not in drawing.caption
    for drawing in section.groups[2].drawings:
        assert drawing.caption.endswith("Guessing gives 0.333.")


def test_the_legend_of_all_classes_names_each_with_its_figure(
    section: RankingSection, evaluation: Evaluation
) -> None:
    roc, precision = section.groups[0].drawings
    for drawing, metric in ((roc, "roc_auc"), (precision, "average_precision")):
        root = ElementTree.fromstring(drawing.svg)
        words = {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
        for name in TYPES.classes:
            assert f"{name} ({evaluation.value(metric, Scope(name)).value:.3f})" in words
        macro = evaluation.value(f"macro_{metric}").value
        assert f"macro average ({macro:.3f})" in words
    assert "micro average (" in roc.svg
    assert "micro average (" not in precision.svg


def test_a_class_that_no_image_has_is_left_out_of_the_curves(three_types: Predictions) -> None:
    two = three_types.where(three_types.frame["label"] != "F")
    found = ranking_section(two, evaluate_predictions(two, resamples=100))
    assert [drawing.title for drawing in found.groups[1].drawings] == ["A", "<DC>"]


def test_images_of_one_class_leave_nothing_to_rank(experiment: Experiment) -> None:
    table = experiment.predictions()
    benign = table.where(table.frame["label"] == "benign")
    found = ranking_section(benign, evaluate_predictions(benign, resamples=100))
    assert found.groups == ()
    assert found.lead == "All images are of one class, so there is nothing to rank."


def test_a_class_of_one_patient_has_no_band_and_its_caption_says_so(experiment: Experiment) -> None:
    table = experiment.predictions()
    frame = table.frame
    few = table.where((frame["label"] == "benign") | (frame["patient"] == "14-2523"))
    found = ranking_section(few, evaluate_predictions(few, resamples=100))
    roc, precision = found.groups[0].drawings
    assert roc.caption.endswith(" One patient of class 'malignant': no band.")
    assert precision.caption.endswith(" One patient of class 'malignant': no band.")
    assert "Guessing gives 0.143." in precision.caption  # 3 of 21


def test_the_ring_stands_at_false_positive_rate_and_sensitivity_of_the_decision(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def kept(*given: object, **options: object) -> Figure:
        drawn.append(roc_figure(*given, **options))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(probabilities, "roc_figure", kept)
    table = experiment.predictions()
    found = evaluate_predictions(table, resamples=100)
    ranking_section(table, found)
    ring = drawn[0].axes[0].lines[-1]
    alarms = 1 - (found.value("specificity").value or 0.0)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (alarms, found.value("sensitivity").value)


def test_without_a_single_locked_threshold_the_ring_says_at_which_it_stands(
    experiment: Experiment,
) -> None:
    table = experiment.predictions()
    bare = replace(table, provenance=replace(table.provenance, threshold=None))
    roc, _ = ranking_section(bare, evaluate_predictions(bare, resamples=100)).groups[0].drawings
    assert "The ring is the decision at the threshold 0.5: no single locked one is known." in (
        roc.caption
    )


def test_the_diagram_says_calibration_error_log_loss_and_brier_score_of_the_evaluation(
    experiment: Experiment,
) -> None:
    table = experiment.predictions()
    evaluation = evaluate_predictions(table, resamples=100)
    (drawing,) = calibration_section(table, evaluation).drawings
    for said in (
        f"Calibration error {figure(evaluation.value('ece'))},",
        f"log loss {evaluation.value('log_loss').value:.3f},",
        f"Brier score {evaluation.value('brier').value:.3f}.",
        "Protocol: patient-level, 5-fold.",
    ):
        assert said in drawing.caption
    own = table.probabilities[np.arange(36), table.label_index]
    assert f"log loss {-np.log(own).mean():.3f}," in drawing.caption
