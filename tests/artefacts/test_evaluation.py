"""An Evaluation and a Comparison hold together, on disk as in memory; one Estimate, one rule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.codec import (
    parse_artefact,
    parse_fields,
    plain,
    read_artefact,
    sealed,
    validated,
    with_changes,
)
from eosin.artefacts.comparison import Comparison
from eosin.artefacts.estimate import ALL, Estimate, Scope
from eosin.artefacts.evaluation import Evaluation, PatientRow, read_evaluation
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.cli.console import print_evaluation
from eosin.errors import DataError
from eosin.evaluation.compare import compare_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.protocol import Protocol
from eosin.tasks import Task

OLD = Path(__file__).parent / "written_by_0_1_0"
DUCTAL = Task("binary", ("benign", "carcinoma, ductal"), positive="carcinoma, ductal")
ACCURACY = Estimate(0.75, 0.5, 0.875, 24, 6, "accuracy")


def table(
    task: Task = DUCTAL, *, images: int = 24, patients: int = 6, seed: int = 1
) -> Predictions:
    """Drawn predictions of patients with one label each, at two magnifications."""
    draw = np.random.default_rng(seed)
    patient = np.arange(images) % patients
    label = (patient % len(task.classes)).astype(int)
    p = draw.dirichlet(np.ones(len(task.classes)), images)
    frame = pd.DataFrame(
        {
            "path": [f"/bh/{n}.png" for n in range(images)],
            "patient": [f"14-{22000 + n}" for n in patient],
            "magnification": np.where(np.arange(images) // patients % 2, "100", "40"),
            "label": np.array(task.classes)[label],
            "fold": "",
        }
    )
    origin = Provenance(("runs/bh",), "breakhis", Protocol("patient", "5-fold", seed=7), "test")
    return make_predictions(frame, p, task=task, provenance=origin)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate_predictions(table(), resamples=100)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_predictions({"a": table(), "b": table(seed=2)}, resamples=100)


def test_an_interval_excludes_zero_unrounded_and_only_where_there_is_one() -> None:
    for low, high, excludes in (
        (-0.138, -0.0004, True),
        (0.0001, 0.2, True),
        (-0.138, 0.0, False),
        (-0.1, 0.1, False),
    ):
        assert replace(ACCURACY, value=-0.01, low=low, high=high).excludes_zero is excludes
    alone = replace(ACCURACY, low=None, high=None, note="one patient: no interval")
    assert not alone.excludes_zero


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": None}, "half of an interval"),
        ({"value": None, "note": "undefined"}, "an interval of nothing"),
        ({"low": 0.9}, "low lies above high"),
        ({"value": None, "low": None, "high": None}, "note = '' does not say"),
        ({"metric": "auc"}, "metric = 'auc' is unknown"),
    ],
)
def test_an_estimate_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        replace(ACCURACY, **change)


def test_a_scope_is_a_value_and_a_text_only_when_printed() -> None:
    assert [str(s) for s in (ALL, Scope("a, b"), Scope(None, "40"), Scope("a", "40"))] == [
        "all",
        "class a, b",
        "magnification 40",
        "magnification 40, class a",
    ]
    assert Scope("x", "40") != Scope("40, class x")


def test_a_class_with_a_comma_in_its_name_has_its_table_on_the_terminal(
    evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    print_evaluation(evaluation)
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in said if line.startswith("image level, ")] == [
        "image level, all",
        "image level, class benign",
        "image level, class carcinoma, ductal",
        "image level, magnification 40",
        "image level, magnification 100",
    ]


@pytest.mark.parametrize("name", ["by-image", "by-patient", "of-grades"])
def test_evaluations_of_0_1_0_are_read_with_the_same_meaning(name: str, tmp_path: Path) -> None:
    path = OLD / f"evaluation-{name}.json"
    found, old = read_evaluation(path), json.loads(path.read_text())
    names = ("metric", "value", "low", "high", "images", "patients", "note")
    assert [
        {"scope": str(e.scope), **{n: getattr(e, n) for n in names}} for e in found.estimates
    ] == list(old["metrics"])
    assert found.provenance.protocol.name == old["provenance"]["protocol"]["name"]
    assert {str(m.scope): [list(row) for row in m.predicted] for m in found.confusion} == (
        old["confusion"]
    )
    assert (found.counts().decided is None) == (not old["decision_confusion"])
    assert [row.recognition_rate for row in found.patient_table] == [
        row["recognition_rate"] for row in old["patient_table"]
    ]
    found.write(tmp_path / "e.json")
    assert read_evaluation(tmp_path / "e.json") == found


def test_classes_of_0_1_0_that_are_named_like_scopes_keep_their_figures() -> None:
    found = read_evaluation(OLD / "evaluation-of-grades.json")
    assert found.task.classes == ("0", "magnification 40, class 1+", "2+, class 0", "3+")
    for name in found.task.classes:
        for step in (None, "40", "100"):
            assert found.value("recall", Scope(name, step)).scope == Scope(name, step)
    assert len(found.scopes) == 3 * 5


def test_an_evaluation_of_0_1_0_is_read_as_strictly(tmp_path: Path) -> None:
    old = json.loads((OLD / "evaluation-by-image.json").read_text())
    path = tmp_path / "e.json"
    for change, said in (
        ({"seed": "3"}, "seed = '3'"),
        ({"extra": 1}, "extra is unknown"),
        ({"metrics": None}, "not whole"),
        ({"decision_confusion": {}}, "decided do not fit the task"),
        ({"metrics": [{**old["metrics"][0], "scope": "class x"}]}, "'class x'"),
        ({"confusion": {**old["confusion"], "x": [[1, 0], [0, 1]]}}, "decision_confusion"),
        ({"provenance": {**old["provenance"], "seen_allowed": "no"}}, "seen_allowed = 'no'"),
    ):
        path.write_text(json.dumps({**old, **change}))
        with pytest.raises(DataError, match=r"e\.json: .*eosin evaluate") as refused:
            read_evaluation(path)
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"level": "slide"}, "level = 'slide'"),
        ({"confidence": 1.0}, "confidence = 1.0"),
        ({"images": -1}, "images = -1"),
        ({"images": 25}, "counts \\[24\\] of all for 25 scored"),
        ({"patients": 7}, "does not name 7 patients"),
        ({"estimates.0.value": 1.5}, "accuracy, all: value = 1.5"),
        ({"estimates.0.value": None}, "an interval of nothing"),
        ({"estimates.0.high": -2}, "low lies above high"),
        ({"estimates.0.metric": "mcc"}, "mcc, all stands twice"),
        ({"estimates.0.level": "patient"}, "level = 'patient', but the level scored is 'image'"),
        ({"estimates.0.scope.class_name": "x"}, "class_name is none of"),
        ({"confusion.0.predicted": [[24]]}, "predicted is not 2 x 2"),
        ({"confusion.0.decided": None}, "decided do not fit the task"),
        ({"patient_table.0.recognition_rate": 1.1}, "recognition_rate = 1.1"),
        ({"patient_table.0.probabilities": [0.5, 0.6]}, "probabilities = \\[0.5, 0.6\\]"),
        ({"patient_table.0.probabilities": [1.0]}, "probabilities = \\[1.0\\]"),
        ({"patient_table.0.labels": ["x"]}, "labels = \\['x'\\]"),
        ({"provenance.protocol.leaky": True}, "its name and warning"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_by_name(
    change: dict[str, Any], said: str, evaluation: Evaluation
) -> None:
    fields = json.loads(json.dumps(plain(evaluation)))
    for field, value in change.items():
        *way, last = [int(key) if key.isdigit() else key for key in field.split(".")]
        inside = fields
        for key in way:
            inside = inside[key]
        inside[last] = value
    with pytest.raises(DataError, match=f"e.json: .*{said}"):
        validated(Evaluation, fields, "e.json", fix="evaluate again")


def parse(model: type[Evaluation] | type[Comparison], text: str) -> None:
    fields = parse_fields(text.encode(), "e.json", fix="write it again")
    parse_artefact(model, fields, "e.json", fix="write it again")


def test_no_damage_to_a_field_of_an_evaluation_or_a_comparison_goes_unnoticed(
    evaluation: Evaluation,
    comparison: Comparison,
    every_mutation: Callable[[dict[str, Any]], list[Any]],
) -> None:
    few = {name: own[:2] for name, own in comparison.estimates.items()}
    for whole in (
        with_changes(evaluation, estimates=evaluation.estimates[:2]),
        with_changes(comparison, estimates=few, differences=comparison.differences[:2]),
    ):
        found = every_mutation(sealed(whole))
        assert len(found) > 2000
        for mutation in found[::2]:
            with pytest.raises(DataError, match=r"e\.json") as refused:
                parse(type(whole), mutation.text)
            assert len(str(refused.value)) < 1500, mutation


def test_a_comparison_read_back_says_the_same_but_the_names_of_images(
    comparison: Comparison, tmp_path: Path
) -> None:
    comparison.write(tmp_path / "c.json")
    found = read_artefact(Comparison, tmp_path / "c.json", fix="compare again")
    assert plain(found) == plain(comparison)
    for metric in found.metrics:
        assert found.ranking(metric) == comparison.ranking(metric)
        assert found.difference("b", "a", metric) == comparison.difference("b", "a", metric)
    pd.testing.assert_frame_equal(found.model_frame(), comparison.model_frame())
    assert len(comparison.mistakes.frame()) == found.mistakes.images_any_gets_wrong
    with pytest.raises(DataError, match=r"mistakes\.csv"):
        found.mistakes.frame()


def test_a_ranking_that_the_differences_do_not_give_is_refused(comparison: Comparison) -> None:
    fields = plain(comparison)
    (first, second) = fields["rankings"]["accuracy"]  # type: ignore[index]
    first["rank"], second["rank"] = second["rank"] + 1, 1
    with pytest.raises(DataError, match="rankings: accuracy is not what the differences say"):
        validated(Comparison, fields, "c.json", fix="compare again")


def test_ten_thousand_patients_are_written_and_read_within_seconds(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    row = {"labels": ("benign",), "images": 2, "recognition_rate": 0.5, "probabilities": (0.5, 0.5)}
    many = tuple(PatientRow(patient=f"14-{n}", **row) for n in range(10_000))
    large = with_changes(evaluation, patients=10_000, patient_table=many)
    began = time.process_time()
    large.write(tmp_path / "e.json")
    assert read_evaluation(tmp_path / "e.json") == large
    assert time.process_time() - began < 4  # about one
