"""What a Run says of itself on a page: settings, fingerprints, choices, limits; no one's disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.predictions import Predictions
from eosin.artefacts.run import EnsembleRun, FoldsRun, Member
from eosin.errors import ModelError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.networks.run import Run, write_run
from eosin.protocol import Protocol
from eosin.reporting.learning import (
    describe_choices,
    describe_learning,
    histories_of,
    panel_figures,
    probe_choices,
    threshold_reason,
)
from eosin.reporting.record import limits_of, settings_of

if TYPE_CHECKING:
    from .conftest import Experiment

LOSSES = {"0.01": 0.62, "0.1": 0.51, "1": 0.55}


def facts(run: Run, predictions: Predictions) -> dict[str, dict[str, str]]:
    """By heading, the value of each name."""
    return {
        heading: {name: value for name, value, _ in group}
        for heading, group in settings_of(run, predictions)
    }


def ensemble(experiment: Experiment, vote: str, weights: tuple[float, ...] = ()) -> Run:
    fields = {
        name: value
        for name, value in dict(experiment.run.record).items()
        if name not in ("kind", "fold", "weights_sha256", "reference")
    }
    members = (Member(path="a", sha256="a1" * 32), Member(path="b", sha256="b2" * 32))
    record = EnsembleRun.model_validate(
        {
            **fields,
            "fold": None,
            "reference": None,
            "weights_sha256": "c3" * 32 if vote == "fusion" else None,
            "vote": vote,
            "weights": weights,
            "members": members,
        }
    )
    return Run(experiment.folder, record, "0" * 64)


def test_settings_tell_model_predictions_and_fingerprints(experiment: Experiment) -> None:
    found = facts(experiment.run, experiment.predictions())
    assert found["Model"] == {
        "Kind of Run": "trained",
        "Backbone": "tf_efficientnetv2_b0",
        "Started from": "file tf_efficientnetv2_b0.safetensors",
        "Temperature": "1.25",
        "Decision threshold": "0.5 of P(malignant)",
        "Seed": "0",
        "Trained on": "2 patients",
        "Validated on": "1 patient",
        "Training protocol": "patient-level, 5-fold",
    }
    assert found["Predictions"]["Seed of the split"] == "7"
    assert found["Predictions"]["Runs"] == "runs/bh"
    assert found["Fingerprints (SHA-256)"] == {
        "Training manifest": "5c" * 32,
        "model.safetensors": "0" * 64,
    }
    assert found["Versions"] == {"eosin": "0.1.0", "torch": "2.15.0"}


def test_no_absolute_path_of_a_disk_is_told_however_deep_it_lies(experiment: Experiment) -> None:
    training = {
        "weights": "/home/someone/w.safetensors",
        "many": ["/home/someone/a.csv", {"deep": "/home/someone/b.csv"}],
        "share": 0.123456,
        "none": None,
        "flag": True,
    }
    found = facts(experiment.run_with(training=training), experiment.predictions())
    assert found["Training settings"] == {
        "weights": "w.safetensors",
        "many": "a.csv, deep: b.csv",
        "share": "0.1235",
        "none": "none",
        "flag": "True",
    }


def test_what_was_not_recorded_is_said_to_be_so(experiment: Experiment) -> None:
    run = experiment.run_with(initial_weights="", fingerprint="", versions={}, training={})
    found = facts(run, experiment.predictions(protocol=Protocol("external")))
    assert found["Model"]["Started from"] == "not recorded"
    assert found["Fingerprints (SHA-256)"]["Training manifest"] == "not recorded"
    assert found["Predictions"]["Seed of the split"] == "–"
    assert "Versions" not in found  # a heading over nothing
    assert "Training settings" not in found


def test_runs_without_patients_count_images(experiment: Experiment) -> None:
    unknown = Protocol("image", "70/15/15", patients_known=False)
    run = experiment.run_with(protocol=unknown, val_patients=())
    found = facts(run, experiment.predictions())["Model"]
    assert (found["Trained on"], found["Validated on"]) == ("2 images", "0 images")


@pytest.mark.parametrize(
    ("threshold", "said"), [(0.41237, "0.4124 of P(malignant)"), (None, "each fold has its own")]
)
def test_the_threshold_told_is_that_of_the_predictions(
    experiment: Experiment, threshold: float | None, said: str
) -> None:
    table = experiment.predictions()
    table = replace(table, provenance=replace(table.provenance, threshold=threshold))
    assert facts(experiment.run, table)["Model"]["Decision threshold"] == said


def test_an_ensemble_tells_its_vote_weights_and_members(experiment: Experiment) -> None:
    run = ensemble(experiment, "weighted", (0.25, 0.75))
    found = facts(run, experiment.predictions())
    assert found["Model"]["Kind of Run"] == "ensemble"
    assert found["Model"]["Vote"] == "weighted"
    assert found["Chosen in training"]["weights"] == "0.25, 0.75"
    assert found["Fingerprints (SHA-256)"] == {
        "Training manifest": "5c" * 32,
        "Member a": "a1" * 32,
        "Member b": "b2" * 32,
    }
    fused = facts(ensemble(experiment, "fusion"), experiment.predictions())
    assert fused["Fingerprints (SHA-256)"]["model.safetensors"] == "c3" * 32
    assert "weights" not in fused.get("Chosen in training", {})


def test_limits_name_the_protocols_warning_second_and_every_note_once(
    experiment: Experiment,
) -> None:
    run = experiment.run_with(notes=("One note.", "Of the Run."))
    leaky = Protocol("image", "5-fold", leaky=True)
    table = experiment.predictions(protocol=leaky, notes=("One note.",))
    found = limits_of(run, table, evaluate_predictions(table, resamples=100))
    assert found[0].startswith("For research only.")
    assert found[1] == leaky.warning
    assert [found.count(note) for note in ("One note.", "Of the Run.")] == [1, 1]
    honest = experiment.predictions()
    assert leaky.warning not in limits_of(run, honest, evaluate_predictions(honest, resamples=100))


def threshold(candidate: float, gain: float, error: float, groups: int = 18) -> dict[str, object]:
    return {
        "value": candidate,
        "candidate": candidate,
        "gain": gain,
        "standard_error": error,
        "groups": groups,
    }


@pytest.mark.parametrize(
    ("locked", "chosen", "unit", "said"),
    [
        (0.5, threshold(0.5, 0.0, 0.0), "patient", "0.5 has the highest balanced accuracy"),
        (
            0.41,
            threshold(0.41, 0.05, 0.03),
            "patient",
            "0.410 gains +0.050 balanced accuracy, cross-validated over 18 patients: more than "
            "one standard error (0.030)",
        ),
        (
            0.5,
            threshold(0.41, 0.01, 0.03),
            "image",
            "0.410 gains +0.010 balanced accuracy, cross-validated over 18 images: not more than "
            "one standard error (0.030), so 0.5",
        ),
    ],
)
def test_the_reason_of_a_threshold_is_told_from_what_spoke_for_it(
    experiment: Experiment, locked: float, chosen: dict[str, object], unit: str, said: str
) -> None:
    protocol = Protocol(unit, "5-fold", leaky=unit == "image")  # type: ignore[arg-type]
    run = experiment.run_with(threshold=locked, choices={"threshold": chosen}, protocol=protocol)
    assert threshold_reason(run.record) == said
    assert facts(run, experiment.predictions())["Model"]["Why this threshold"] == said
    assert threshold_reason(experiment.run.record) == ""


def probe(experiment: Experiment, folder: Path, **choices: object) -> Run:
    record = with_changes(experiment.run.record, choices={"inner_log_loss": LOSSES, **choices})
    return write_run(folder, record)


def test_a_probe_tells_the_loss_at_the_strength_it_chose(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = probe(experiment, tmp_path, strength=0.1)
    found = probe_choices(run.record, run.folder)
    assert (found.chosen, found.loss, found.at_an_end) == ("0.1", 0.51, False)
    assert describe_choices(run) == (
        "a frozen training has no epochs; it chose inside its training patients (Model 1: C 0.1, "
        "inner log loss 0.510)"
    )
    assert describe_choices(experiment.run) == ""


@pytest.mark.parametrize(
    ("choices", "advice"),
    [
        ({"strength": 0.1}, "Next, compare it with another backbone or with fine-tuning"),
        ({"strength": 1}, "next, try stronger or weaker ones (`probe_c`)"),
        (
            {"strength": 0.1, "inner_log_loss": {"0.01": 0.75, "0.1": 0.69, "1": 0.8}},
            "That is hardly better: these features tell little of new patients",
        ),
    ],
)
def test_what_to_try_next_follows_from_the_inner_loss_and_where_it_was_least(
    experiment: Experiment, tmp_path: Path, choices: dict[str, object], advice: str
) -> None:
    lead = describe_learning(probe(experiment, tmp_path, **choices)).lead
    assert advice in lead
    assert "guessing has 0.693" in lead  # the log of two classes


def test_choices_that_are_no_numbers_name_the_run(experiment: Experiment, tmp_path: Path) -> None:
    run = probe(experiment, tmp_path, strength="strong")
    with pytest.raises(ModelError, match=f"{tmp_path}: the choices of its probe cannot be read"):
        describe_learning(run)


def test_folds_are_named_by_the_fold_that_they_held_out(
    experiment: Experiment, tmp_path: Path, folds_of: Callable[..., FoldsRun]
) -> None:
    members = []
    for fold in (2, 5):
        run = write_run(tmp_path / f"fold-{fold}", with_changes(experiment.run.record, fold=fold))
        (run.folder / "history.csv").write_text("epoch,train_loss,note\n1,0.5,a\n2,0.4,b\n")
        members.append(run)
    outer = write_run(tmp_path, folds_of(tmp_path, members))
    found = histories_of(outer)
    assert list(found) == ["Fold 2", "Fold 5"]
    assert set(found["Fold 2"]) == {"epoch", "train_loss"}  # words are no curve
    assert found["Fold 5"]["train_loss"].tolist() == [0.5, 0.4]
    (drawing,) = describe_learning(outer).drawings
    assert drawing.caption == "Violet: training patients. One line for each of 2 models."


def test_a_history_that_is_no_table_is_refused_by_name(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = write_run(tmp_path, experiment.run.record)
    (tmp_path / "history.csv").write_bytes(b"")
    with pytest.raises(ModelError, match=r"history\.csv: not a readable history .*train the Run"):
        histories_of(run)


def test_all_panels_share_their_axes_and_a_loss_that_is_no_number_moves_none() -> None:
    epochs = np.arange(1.0, 4.0)
    histories = {
        "calm": {"Model 1": {"epoch": epochs, "train_loss": np.array([0.7, 0.5, 0.4])}},
        "wild": {"Model 1": {"epoch": epochs[:2], "val_loss": np.array([np.inf, 2.0])}},
        "none": {"Model 1": {"epoch": epochs[:1], "val_loss": np.array([np.nan])}},
    }
    axes = {name: figure.axes[0] for name, figure in panel_figures(histories).items()}
    assert {each.get_xlim() for each in axes.values()} == {(0.5, 3.5)}
    assert [each.get_ylim() for each in axes.values()] == [(0.0, pytest.approx(2.1))] * 3
    assert axes["calm"].lines[0].get_ydata().tolist() == [0.7, 0.5, 0.4]
