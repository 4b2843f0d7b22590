"""Neighbours on the slide in a Run: weighed inside training patients, applied where it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.run import Context
from eosin.data.folder import read_folder
from eosin.data.neighbours import find_neighbours
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.errors import ConfigError, DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation
from eosin.explanation.heatmap_checks import ScoreOptions
from eosin.inference.journal import journal_path
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run
from eosin.progress import Silent
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensemble
from eosin.training.probe import Labelled, fit_probe
from eosin.training.train import train

SIDE = 6  # patches along a drawn slide


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Slides of 10 patients, the left half of each without IDC: colours that noise hides."""
    top = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(5)
    for patient in range(8860, 8870):
        for row in range(SIDE):
            for column in range(SIDE):
                label = int(column >= SIDE // 2)
                colour = np.array([200.0, 170, 200]) - 12 * label + rng.normal(0, 18, 3)
                pixels = np.clip(colour + rng.normal(0, 12, (32, 32, 3)), 0, 255).astype(np.uint8)
                name = f"{patient}_idx5_x{1 + 50 * column}_y{1 + 50 * row}_class{label}.png"
                (top / str(label)).mkdir(exist_ok=True)
                assert cv2.imwrite(str(top / str(label) / name), pixels)
    return read_folder(top, patient=r"^(\d+)_").manifest


@pytest.fixture(scope="module")
def folds(patches: Manifest) -> Manifest:
    return split_into_folds(patches, 5, by="patient", seed=0)


@pytest.fixture(scope="module")
def config(small_probe: TrainingConfig) -> TrainingConfig:
    return small_probe.with_overrides({"context": "neighbours", "image_size": 64})


@pytest.fixture(scope="module")
def divided(patches: Manifest) -> Manifest:
    return split_by_fractions(patches, (0.5, 0.2, 0.3), seed=1)


@pytest.fixture(scope="module")
def run(divided: Manifest, config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(divided, tmp_path_factory.mktemp("runs") / "near", config).run


@pytest.fixture(scope="module")
def plain(
    divided: Manifest, config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    alone = config.with_overrides({"context": "none"})
    return train(divided, tmp_path_factory.mktemp("runs") / "plain", alone).run


def without_coordinates(manifest: Manifest) -> Manifest:
    return replace(manifest, frame=manifest.frame.drop(columns=["x", "y"]))


def test_neighbours_tell_more_of_patients_that_no_fold_met(
    folds: Manifest, config: TrainingConfig, tmp_path: Path
) -> None:
    near = train(folds, tmp_path / "near", config, fold="all").predictions
    other = config.with_overrides({"context": "none"})
    alone = train(folds, tmp_path / "alone", other, fold="all").predictions
    assert near is not None
    assert alone is not None
    first, second = (evaluate_predictions(each, resamples=50) for each in (near, alone))
    assert first.value("roc_auc").value > second.value("roc_auc").value + 0.05
    assert first.value("within_roc_auc").value > second.value("within_roc_auc").value + 0.05
    assert any("360 of 360 images have a neighbour" in note for note in near.provenance.notes)


def test_probabilities_are_those_by_hand_of_the_logits_and_their_means(
    run: Run, plain: Run, divided: Manifest
) -> None:
    known = run.record.context
    assert known is not None
    assert known.pitch == 50
    assert known.weight > 0
    test = divided.in_split("test")
    without = predict(plain, divided).predictions.probabilities
    logits = plain.record.temperature * np.log(without)  # but for a constant a row
    logits -= logits.mean(axis=1, keepdims=True)
    near = find_neighbours(test.frame)
    assert near is not None
    by_hand = apply_temperature(logits + known.weight * near.mean(logits), run.record.temperature)
    np.testing.assert_allclose(predict(run, divided).predictions.probabilities, by_hand, atol=1e-9)


def test_a_manifest_without_coordinates_is_scored_without_and_says_so(
    run: Run, plain: Run, divided: Manifest
) -> None:
    scored = predict(run, without_coordinates(divided), PredictOptions(split="test")).predictions
    alone = predict(plain, divided).predictions
    np.testing.assert_allclose(scored.probabilities, alone.probabilities, atol=1e-12)
    assert scored.provenance.threshold == alone.provenance.threshold == plain.record.threshold
    assert any(
        "scored without, at the temperature and thresh" in n for n in scored.provenance.notes
    )
    assert set(scored.frame["set"]) == {"0|1"}  # calibrated with neighbours: nothing is promised


def test_files_by_their_names_lie_where_the_names_say(run: Run, divided: Manifest) -> None:
    test = divided.in_split("test")
    named = predict(run, test.paths).predictions
    told = predict(run, divided).predictions
    order = told.frame.set_index("path").loc[named.frame["path"]]
    np.testing.assert_allclose(named.frame["p_1"], order["p_1"], atol=1e-9)


def test_the_weight_has_the_least_loss_of_the_predictions_inside_training_patients() -> None:
    rng = np.random.default_rng(0)
    features, labels, groups, near = drawn_slides(rng)
    probe = fit_probe(Labelled(features, labels, groups, near), classes=2, positive=1)
    assert probe.context is not None
    assert probe.context_losses[probe.context.weight] == min(probe.context_losses.values())
    assert probe.context_losses[probe.context.weight] < probe.context_losses[0.0] - 0.05
    alone = fit_probe(Labelled(features, labels, groups), classes=2, positive=1)
    assert probe.context.alone_temperature == alone.temperature
    np.testing.assert_array_equal(probe.head.weight, alone.head.weight)


def test_labels_of_held_out_patients_and_of_neighbours_change_nothing(
    folds: Manifest, config: TrainingConfig, run: Run, divided: Manifest, tmp_path: Path
) -> None:
    frame = folds.frame.copy()
    held = frame["fold"] == "1"
    frame.loc[held, "label"] = np.where(frame.loc[held, "label"] == "0", "1", "0")
    own, turned = (
        train(each, tmp_path / name, config, fold=1).run.record
        for name, each in (("own", folds), ("turned", replace(folds, frame=frame)))
    )
    assert own.context == turned.context
    assert (own.temperature, own.threshold) == (turned.temperature, turned.threshold)
    unlabelled = replace(divided, frame=divided.frame.assign(label=""))
    np.testing.assert_array_equal(
        predict(run, unlabelled).predictions.probabilities,
        predict(run, divided).predictions.probabilities,
    )


def test_temperature_and_threshold_are_refitted_with_the_neighbours() -> None:
    features, labels, groups, near = drawn_slides(np.random.default_rng(1))
    probe = fit_probe(Labelled(features, labels, groups, near), classes=2, positive=1)
    assert probe.context is not None
    assert probe.temperature > 1.5 * probe.context.alone_temperature
    confidence = probe.probabilities.max(axis=1).mean()
    right = (probe.probabilities.argmax(axis=1) == labels[probe.judged]).mean()
    assert abs(confidence - right) < 0.06


def test_a_stopped_prediction_goes_on_to_the_same_table_byte_for_byte(
    run: Run, divided: Manifest, tmp_path: Path
) -> None:
    options, whole, again = PredictOptions(batch_size=16), tmp_path / "a.csv", tmp_path / "b.csv"
    predict_to_table(run, divided, whole, options)

    class Stops(Silent):
        def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
            del errors, said
            self.done = getattr(self, "done", 0) + steps
            if self.done >= 32:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(run, divided, again, options, progress=Stops())
    assert journal_path(again).is_file()
    predict_to_table(run, divided, again, options, resume=True)
    assert again.read_bytes() == whole.read_bytes()


def test_an_ensemble_votes_on_answers_with_neighbours(
    run: Run, divided: Manifest, config: TrainingConfig, tmp_path: Path
) -> None:
    other = train(divided, tmp_path / "other", config.with_overrides({"seed": 4})).run
    both = make_ensemble([run, other], tmp_path / "both", manifest=divided)
    means = np.mean([predict(r, divided).predictions.probabilities for r in (run, other)], axis=0)
    np.testing.assert_allclose(predict(both, divided).predictions.probabilities, means, atol=1e-12)
    with pytest.raises(DataError, match="a fusion takes in features; choose a soft"):
        make_ensemble([run, other], tmp_path / "fused", vote="fusion", manifest=divided)
    with pytest.raises(DataError, match="no image here names x and y: give a manifest"):
        make_ensemble([run, other], tmp_path / "no", manifest=without_coordinates(divided))


def test_an_export_applies_the_same_neighbours(run: Run, divided: Manifest, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from eosin.export.export import export_run

    exported = export_run(run, tmp_path / "graph")
    assert exported.record.context == run.record.context
    here, there = (predict(each, divided).predictions for each in (run, exported))
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-4)


def test_an_explanation_gives_the_probabilities_of_the_prediction(
    run: Run, divided: Manifest
) -> None:
    told = predict(run, divided).predictions.frame.set_index("path")["p_1"]
    options = ExplainOptions(limit=5, score=ScoreOptions(randomisations=0, stability=False))
    explained = list(explain([run], divided, options))
    assert len(explained) == 5
    for each in explained:
        assert isinstance(each, Explanation)
        own = each.members[0].probabilities["1"]
        assert own == pytest.approx(told[str(each.path)], abs=1e-5)
        assert each.scores[0].probability == pytest.approx(each.members[0].probability, abs=1e-5)
    wrong = explain([run], divided, ExplainOptions(mistakes=True, limit=3))
    for each in wrong:
        assert isinstance(each, Explanation)
        assert (told[str(each.path)] > 0.5) != (each.label == "1")


def test_other_kinds_of_training_and_images_without_places_are_told(
    folds: Manifest, config: TrainingConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="fine-tuning has none; set freeze = true"):
        TrainingConfig(context="neighbours")
    with pytest.raises(DataError, match="none of the 288 images to learn from names x and y"):
        train(without_coordinates(folds), tmp_path / "run", config, fold=1)


def test_a_record_of_members_holds_no_context_and_a_weight_is_checked(run: Run) -> None:
    assert run.record.context is not None
    fields = dict(run.record.context)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Context.model_validate({**fields, "weight": -1.0})
    with pytest.raises(ValueError, match="alone_threshold"):
        with_changes(
            run.record, context=Context.model_validate({**fields, "alone_threshold": None})
        )


def drawn_slides(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, list[str], object]:
    """Weak features of 12 patients, whose slides are IDC in their right half."""
    import pandas as pd

    rows, labels = [], []
    for patient in range(12):
        for y in range(8):
            for x in range(8):
                rows.append(
                    {"path": f"{patient}/{x}/{y}", "patient": str(patient), "x": str(50 * x)}
                    | {"y": str(50 * y)}
                )
                labels.append(int(x >= 4))
    truth = np.array(labels)
    features = rng.normal(size=(len(truth), 4)) + 0.6 * truth[:, None]
    frame = pd.DataFrame(rows)
    return features, truth, frame["patient"].tolist(), find_neighbours(frame)
