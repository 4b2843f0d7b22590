"""The vote of the nearest training images: scikit-learn's answers, and a Run like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from typer.testing import CliRunner

from eosin.artefacts.predictions import read_predictions
from eosin.cli.app import app
from eosin.data.splits import split_into_folds
from eosin.errors import ConfigError, ModelError
from eosin.evaluation.calibration import apply_temperature, fit_temperature
from eosin.inference.predict import predict
from eosin.networks.cam import class_maps, grad_cam, respond
from eosin.networks.knn_head import KnnHead
from eosin.networks.run import read_run
from eosin.networks.weights import load_classifier
from eosin.training.config import TrainingConfig
from eosin.training.heads import SampleWeighting, fit_knn, read_head
from eosin.training.probe import Labelled, ProbeOptions, fit_probe
from eosin.training.train import train


def drawn(n: int, *, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, 12)) + 1.5 * np.eye(12)[labels], labels.astype(np.int64)


def by_scikit(k: int, features: np.ndarray, labels: np.ndarray) -> KNeighborsClassifier:
    """The vote of DINO's evaluation: by cosine, with exp(cosine / 0.07)."""
    return KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda away: np.exp((1 - away) / 0.07)
    ).fit(features, labels)


def shares(logits: np.ndarray, k: int) -> np.ndarray:
    """The shares of the k votes, without the one that is spread over all classes."""
    return (np.exp(logits) * (k + 1) - 1 / logits.shape[1]) / k


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_shares_equal_scikit_learns_votes_by_cosine(classes: int, k: int) -> None:
    features, labels = drawn(90, classes=classes, seed=1)
    asked, _ = drawn(40, classes=classes, seed=2)
    head = fit_knn(features, labels, classes=classes, strength=1 / k, weights=np.ones(90))
    wanted = by_scikit(k, features, labels).predict_proba(asked)
    np.testing.assert_allclose(shares(head.logits(asked), k), wanted, atol=2e-5)
    assert (head.logits(asked).argmax(axis=1) == wanted.argmax(axis=1)).all()
    np.testing.assert_allclose(np.exp(head.logits(asked)).sum(axis=1), 1.0, atol=1e-6)


def test_twice_the_weight_is_the_image_twice() -> None:
    features, labels = drawn(30, classes=3, seed=3)
    asked, _ = drawn(8, classes=3, seed=4)
    weights = np.ones(30)
    weights[7] = 2.0
    once = fit_knn(features, labels, classes=3, strength=1 / 30, weights=weights)
    rows = [*range(30), 7]
    twice = fit_knn(features[rows], labels[rows], classes=3, strength=1 / 31, weights=np.ones(31))
    np.testing.assert_allclose(
        shares(once.logits(asked), 30), shares(twice.logits(asked), 31), atol=1e-5
    )


def test_a_class_that_no_neighbour_has_is_improbable_and_not_impossible() -> None:
    features, labels = drawn(30, classes=2, seed=5)
    head = fit_knn(features, labels, classes=3, strength=1 / 4, weights=np.ones(30))
    np.testing.assert_allclose(np.exp(head.logits(features))[:, 2], 1 / 3 / 5, rtol=1e-5)


def test_the_neighbours_are_chosen_on_patients_kept_whole_by_the_losses_that_scikit_learn_has():
    """Sixteen sectors of a circle, of either class in turn: many neighbours reach across them."""
    turns = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
    labels = (turns // (np.pi / 8)).astype(np.int64) % 2
    features = np.c_[np.cos(turns), np.sin(turns)]
    patients = np.arange(400) % 20
    probe = fit_probe(
        Labelled(features, labels, patients.astype(str)),
        classes=2,
        options=ProbeOptions(
            kind="knn",
            strengths=[1 / k for k in (5, 20, 50, 200)],
            weighing=SampleWeighting(classes=False, groups=False),
            rule="least-loss",
        ),
    )
    _, codes = np.unique(patients.astype(str), return_inverse=True)
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(codes, labels, codes))
    truth = np.concatenate([labels[held] for _, held in folds])
    losses = {}
    for k in (5, 20, 50, 200):
        chances = [
            by_scikit(k, features[i], labels[i]).predict_proba(features[o]) for i, o in folds
        ]
        logits = np.log((k * np.concatenate(chances) + 0.5) / (k + 1))
        losses[k] = log_loss(truth, apply_temperature(logits, fit_temperature(logits, truth)))
    assert {round(1 / each): loss for each, loss in probe.losses.items()} == pytest.approx(
        losses, abs=1e-4
    )
    assert int(probe.head.neighbours) == min(losses, key=losses.get) == 5
    assert probe.losses[1 / 200] > probe.losses[1 / 5] + 0.1


def test_the_validation_images_change_neither_the_vote_nor_how_many_take_part() -> None:
    features, labels = drawn(60, classes=2, seed=8)
    patients = [str(n // 3) for n in range(60)]
    options = ProbeOptions(kind="knn", strengths=[1 / 5, 1 / 20])
    other = Labelled(features[:24] + 5, labels[:24], np.array(patients[:24]))
    images = Labelled(features, labels, patients)
    inner = fit_probe(images, classes=2, options=options)
    held = fit_probe(images, classes=2, held=other, options=options)
    assert held.strength == inner.strength
    assert torch.equal(held.head.bank, inner.head.bank)


def test_patients_alike_weighs_the_votes() -> None:
    features, labels = drawn(40, classes=2, seed=6)
    patients = ["a"] * 20 + [f"p{n}" for n in range(20)]
    options = ProbeOptions(kind="knn", strengths=[1 / 5], inner_folds=3)
    head = fit_probe(Labelled(features, labels, patients), classes=2, options=options).head
    wanted = SampleWeighting().weights(labels, np.array(patients))
    np.testing.assert_allclose(head.votes.sum(dim=1), wanted, rtol=1e-6)
    assert (head.votes.argmax(dim=1).numpy() == labels).all()


def test_no_more_vote_than_there_are() -> None:
    features, labels = drawn(30, classes=2, seed=7)
    head = fit_knn(features, labels, classes=2, strength=1 / 200, weights=np.ones(30))
    assert int(head.neighbours) == 30


@pytest.fixture
def frozen(tiny_config: TrainingConfig) -> TrainingConfig:
    return tiny_config.with_overrides({"freeze": True, "probe": "knn", "probe_k": (3, 9)})


def test_a_run_keeps_the_vote_and_answers_as_it_was_fitted(tiny_manifest, frozen, tmp_path):
    made = train(tiny_manifest, tmp_path / "run", frozen)
    run = read_run(tmp_path / "run")
    assert run.record.choices["neighbours"] in (3, 9)
    assert run.record.choices["log_loss_of_neighbours"].keys() <= {"3", "9"}
    network, head = load_classifier(run), read_head(run)
    assert isinstance(network.head, KnnHead)
    assert network.head.bank.shape == (24, network.feature_count)  # one row a training image
    pixels = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features, logits = network.features(pixels), network(pixels)
    np.testing.assert_allclose(head.logits(features.numpy()), logits.numpy(), atol=1e-6)
    assert made.predictions.frame["predicted"].eq(made.predictions.frame["label"]).mean() > 0.9


def test_out_of_fold_predictions_are_those_of_the_folds_own_runs(tiny_manifest, frozen, tmp_path):
    folds = split_into_folds(tiny_manifest, 2, seed=0)
    made = train(folds, tmp_path / "run", frozen, fold="all")
    scored = predict(read_run(tmp_path / "run" / "fold-2"), folds).predictions
    ours = made.predictions.frame.set_index("path").loc[scored.frame["path"]]
    np.testing.assert_allclose(
        ours[["p_benign", "p_malignant"]].to_numpy(), scored.probabilities, atol=1e-5
    )


def test_maps_have_no_closed_form_and_take_a_gradient(tiny_manifest, frozen, tmp_path):
    network = load_classifier(train(tiny_manifest, tmp_path / "run", frozen).run)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ModelError, match="does not end in an average and one linear layer"):
        class_maps(network, pixels)
    maps = grad_cam(network, respond(network, pixels), torch.tensor([0, 1]))
    assert maps.shape[0] == 2
    assert torch.isfinite(maps).all()


def test_a_vote_needs_frozen_features() -> None:
    with pytest.raises(ConfigError, match=r"probe = 'knn' votes on frozen features; set freeze"):
        TrainingConfig(probe="knn")


def call(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return str(result.exception) if code else result.output


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
def test_it_is_trained_scored_reported_and_exported_from_the_command_line(
    backbone, tiny_manifest, tmp_path
):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed here")
    tiny_manifest.write(tmp_path / "s.csv")
    made, graph, table = tmp_path / "run", tmp_path / "graph", tmp_path / "p.csv"
    words = ["--freeze", "--probe", "knn", "--backbone", backbone, "--weights", "none"]
    call("train", tmp_path / "s.csv", "-o", made, *words, "--device", "cpu")
    call("evaluate", made / "predictions.csv", "-o", tmp_path / "e.json")
    call("report", made, made / "predictions.csv", "-o", tmp_path / "r.html", "--heatmaps")
    assert "neighbours" in (tmp_path / "r.html").read_text(encoding="utf-8")
    call("export", made, "-o", graph)
    assert json.loads((graph / "run.json").read_text())["graph"]["parity"]["probabilities"] < 1e-4
    call("predict", graph, tmp_path / "s.csv", "-o", table)
    ours, theirs = read_predictions(made / "predictions.csv"), read_predictions(table)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
    said = call("explain", graph, tmp_path / "s.csv", "-o", tmp_path / "cams", code=1)
    assert "need a gradient; explain with the Run it was exported from" in said
    call("report", graph, table, "-o", tmp_path / "x.html", "--heatmaps")
    assert "There is no heatmap of this model" in (tmp_path / "x.html").read_text(encoding="utf-8")
