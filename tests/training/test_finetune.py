"""Fine-tuning learns, keeps the best epoch, says so in its Run, and never reads the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from eosin.errors import ConfigError, DataError, LeakageError, ModelError
from eosin.evaluation.calibration import apply_temperature, choose_threshold, fit_temperature
from eosin.networks.run import HISTORY_NAME, read_run
from eosin.networks.weights import load_classifier
from eosin.pixels.batches import read_batches
from eosin.training.epochs import judge
from eosin.training.finetune import finetune
from eosin.training.learner import Learner


@pytest.fixture
def trained(tiny_manifest, tiny_config, tmp_path):
    return finetune(tiny_manifest, tmp_path / "run", tiny_config, fold=2).run


def val_logits(run, manifest):
    val = manifest.in_split("val")
    network = load_classifier(run)
    (batch,) = read_batches(val.paths, run.record.preprocessing)
    with torch.inference_mode():
        return network(torch.from_numpy(batch.pixels)).numpy().astype(float), val.label_index


def test_a_tiny_network_learns_pink_from_purple_and_the_run_says_how(
    trained, tiny_manifest, tiny_config
):
    record = read_run(trained.folder).record
    assert record.backbone == "test_efficientnet"
    assert record.preprocessing.size == 32
    assert record.train_patients == ("14-1001", "14-1002", "14-1003", "14-1004")
    assert record.val_patients == ("14-2001", "14-2002")
    assert (record.dataset, record.fold, record.seed) == ("breakhis", 2, 11)
    assert record.protocol == tiny_manifest.protocol
    assert record.fingerprint == tiny_manifest.fingerprint
    assert record.training == tiny_config.model_dump(mode="json")
    assert record.initial_weights == "random weights"
    assert record.versions["torch"] == torch.__version__.partition("+")[0]
    names = sorted(path.name for path in trained.folder.iterdir())
    assert names == ["history.csv", "model.safetensors", "reference.safetensors", "run.json"]


def test_the_weights_kept_are_those_of_the_best_epoch_and_calibrated_on_validation_only(
    trained, tiny_manifest
):
    logits, labels = val_logits(trained, tiny_manifest)
    history = pd.read_csv(trained.folder / HISTORY_NAME)
    best = history.loc[history["val_loss"].idxmin()]
    assert judge(logits, labels)[:2] == pytest.approx(
        (best["val_loss"], best["val_accuracy"]), rel=1e-4
    )
    record = trained.record
    assert record.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-4)
    scores = apply_temperature(logits, record.temperature)[:, 1]
    assert record.threshold == pytest.approx(choose_threshold(scores, labels == 1), abs=1e-3)


def test_the_last_epoch_can_be_kept_whatever_validation_says_and_pixels_left_unnormalised(
    tiny_manifest, tiny_config, tmp_path
):
    config = tiny_config.with_overrides({"monitor": "last", "normalisation": "none"})
    run = finetune(tiny_manifest, tmp_path / "run", config).run
    spec = run.record.preprocessing
    assert (spec.mean, spec.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (batch,) = read_batches(tiny_manifest.in_split("val").paths, spec)
    assert 0 <= batch.pixels.min() < 0.3 < 0.9 < batch.pixels.max() <= 1
    logits, labels = val_logits(run, tiny_manifest)
    last = pd.read_csv(run.folder / HISTORY_NAME).iloc[-1]
    assert judge(logits, labels)[0] == pytest.approx(last["val_loss"], rel=1e-4)


def test_a_training_that_keeps_the_last_epoch_needs_no_validation_images(
    tiny_manifest, tiny_config, tmp_path
):
    unvalidated = tiny_manifest.where(tiny_manifest.frame["split"] != "val")
    config = tiny_config.with_overrides({"monitor": "last", "epochs": 2})
    record = finetune(unvalidated, tmp_path / "run", config).run.record
    assert (record.val_patients, record.temperature, record.threshold) == ((), 1.0, None)
    assert record.notes == ("There were no validation images: probabilities are not calibrated.",)
    history = pd.read_csv(tmp_path / "run" / HISTORY_NAME)
    assert history["val_loss"].isna().all()
    assert history["train_loss"].notna().all()
    with pytest.raises(DataError, match="no image in split 'val'"):
        finetune(unvalidated, tmp_path / "other", tiny_config)


def test_the_test_split_is_never_read(tiny_manifest, tiny_config, tmp_path):
    for path in tiny_manifest.in_split("test").paths:
        path.unlink()
    run = finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides({"epochs": 1})).run
    assert run.record.notes == ()
    assert not (run.folder / "errors.csv").exists()


def test_the_order_of_rows_the_readers_and_the_callers_random_state_change_nothing(
    trained, tiny_manifest, tiny_config, tmp_path
):
    shuffled = tiny_manifest.frame.sample(frac=1, random_state=3).reset_index(drop=True)
    torch.manual_seed(99)
    expected = torch.rand(1)
    torch.manual_seed(99)
    again = finetune(
        replace(tiny_manifest, frame=shuffled),
        tmp_path / "again",
        tiny_config.with_overrides({"workers": 5}),
        fold=2,
    ).run
    assert torch.equal(torch.rand(1), expected)
    first, second = load_file(trained.weights_path), load_file(again.weights_path)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_another_network(trained, tiny_manifest, tiny_config, tmp_path):
    config = tiny_config.with_overrides({"seed": 12})
    other = finetune(tiny_manifest, tmp_path / "other", config).run
    first, second = load_file(trained.weights_path), load_file(other.weights_path)
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_unreadable_images_are_listed_told_and_left_out(tiny_manifest, tiny_config, tmp_path):
    bad = [tiny_manifest.in_split(split).paths[0] for split in ("train", "val")]
    bad[0].write_bytes(b"")
    bad[1].write_text("not an image")
    made = finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides({"epochs": 2}))
    table = pd.read_csv(made.run.folder / "errors.csv")
    assert [Path(name) for name in table["file"]] == bad
    assert "empty" in table["reason"][0]
    assert [item.path for item in made.skipped] == bad
    assert made.run.record.notes == ("2 files could not be read and were left out of training.",)


def test_a_split_without_a_readable_image_ends_in_a_sentence(tiny_manifest, tiny_config, tmp_path):
    for path in tiny_manifest.in_split("val").paths:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 12 validation images"):
        finetune(tiny_manifest, tmp_path / "run", tiny_config)


def test_a_manifest_without_validation_or_under_a_false_name_is_refused(
    tiny_manifest, tiny_config, tmp_path
):
    frame = tiny_manifest.frame
    lone = tiny_manifest.where((frame["split"] != "val").to_numpy())
    with pytest.raises(DataError, match=r"no image in split 'val'.*`eosin split --keep-test`"):
        finetune(lone, tmp_path / "run", tiny_config)
    crossing = replace(tiny_manifest, frame=frame.assign(patient="14-1001"))
    with pytest.raises(LeakageError, match="14-1001"):
        finetune(crossing, tmp_path / "run", tiny_config)


def test_settings_that_cannot_train_are_refused_before_any_epoch(
    tiny_manifest, tiny_config, tmp_path
):
    for settings, error, message in (
        ({"freeze": True}, ConfigError, "freeze"),
        ({"batch_size": 1}, ConfigError, "BatchNorm needs at least 2"),
        ({"device": "cuda:9"}, ConfigError, "cuda"),
        ({"backbone": "test_efficientnett"}, ModelError, "nearest names are test_efficientnet"),
    ):
        with pytest.raises(error, match=message):
            finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides(settings))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal is for machines without a GPU")
def test_a_gpu_that_is_not_there_is_not_silently_replaced(tiny_manifest, tiny_config, tmp_path):
    with pytest.raises(ConfigError, match="sees no GPU"):
        finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides({"device": "cuda"}))


def test_a_loss_that_is_no_number_stops_the_training_with_advice(
    tiny_manifest, tiny_config, tmp_path
):
    wild = {"learning_rate": 1e30, "head_learning_rate": 1e30, "warmup_epochs": 0, "ema": 0.0}
    with pytest.raises(ModelError, match=r"the loss of epoch \d is (nan|inf); lower"):
        finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides(wild))


def test_weights_that_are_no_numbers_after_the_last_step_make_no_run(
    tiny_manifest, tiny_config, tmp_path, monkeypatch
):
    learn = Learner.learn

    def last_step_diverges(self, *args, **options):
        done = learn(self, *args, **options)
        self.network.backbone.bn1.running_mean.fill_(float("nan"))
        return done

    monkeypatch.setattr(Learner, "learn", last_step_diverges)
    config = tiny_config.with_overrides({"epochs": 1, "ema": 0.0, "freeze_batchnorm": True})
    with pytest.raises(ModelError, match=r"run: .*(loss|logits).*lower learning_rate"):
        finetune(tiny_manifest, tmp_path / "run", config)
    assert list((tmp_path / "run").iterdir()) == []


def test_patience_ends_a_training_that_no_longer_gains(tiny_manifest, tiny_config, tmp_path):
    settings = {
        "epochs": 30,
        "early_stopping_patience": 2,
        "monitor": "val_accuracy",
        "learning_rate": 1e-12,
        "head_learning_rate": 1e-12,
        "freeze_batchnorm": True,
        "ema": 0.0,
    }
    run = finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides(settings)).run
    history = pd.read_csv(run.folder / HISTORY_NAME)
    assert len(history) < 30
    assert history["val_accuracy"].nunique() == 1


def test_three_classes_have_no_threshold_and_an_absent_class_is_noted(
    tiny_manifest, tiny_config, tmp_path
):
    task = replace(tiny_manifest.task, classes=("benign", "malignant", "other"), positive=None)
    manifest = replace(tiny_manifest, task=task)
    run = finetune(manifest, tmp_path / "run", tiny_config.with_overrides({"epochs": 1})).run
    assert run.record.threshold is None
    assert run.record.notes == (
        "No training image shows other.",
        "No validation image shows other.",
    )
    assert np.isfinite(load_file(run.weights_path)["head.weight"].numpy()).all()


def test_real_tissue_and_real_weights_train_end_to_end(
    real_data, weights_folder, tiny_config, tmp_path
):
    from eosin.data.breakhis import read_breakhis
    from eosin.data.splits import split_by_fractions

    whole = read_breakhis(real_data / "breakhis100x").manifest
    some = whole.where(np.arange(len(whole)) % 12 == 0)
    split = split_by_fractions(some, (0.6, 0.2, 0.2), by="image", seed=1)
    weights = weights_folder / "tf_efficientnetv2_b0.safetensors"
    config = tiny_config.with_overrides(
        {"backbone": "efficientnetv2-b0", "weights": str(weights), "epochs": 1, "ema": 0.0}
    )
    run = finetune(split, tmp_path / "run", config).run
    assert run.record.initial_weights == "file tf_efficientnetv2_b0.safetensors"
    assert run.record.protocol.leaky
    start, end = load_file(weights), load_file(run.weights_path)
    moved = (end["backbone.conv_stem.weight"] - start["conv_stem.weight"]).abs().max()
    assert 0 < moved < 0.1
