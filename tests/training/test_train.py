"""Training as a user asks for it: frozen probes, folds, out-of-fold predictions, resuming."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.errors import ConfigError, DataError, EosinWarning, LeakageError, ModelError
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.classifier import build_classifier
from eosin.networks.run import read_run
from eosin.training import frozen
from eosin.training.config import TrainingConfig
from eosin.training.heads import LinearHead
from eosin.training.probe import Probe
from eosin.training.train import train


def test_every_image_is_scored_once_by_a_run_that_never_met_its_patient(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    trained = train(folds, tmp_path / "run", small_probe, fold="all")
    assert trained.predictions is not None
    assert trained.predictions.frame["path"].tolist() == folds.frame["path"].tolist()
    for fold, rows in trained.predictions.frame.groupby("fold"):
        run = read_run(tmp_path / "run" / f"fold-{fold}")
        assert not run.record.seen_patients & set(rows["patient"])
    assert trained.predictions.provenance.protocol.name == "patient-level, 3-fold"


def test_out_of_fold_predictions_equal_what_each_folds_network_says(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    trained = train(folds, tmp_path / "run", small_probe, fold="all")
    assert trained.predictions is not None
    scored = predict(read_run(tmp_path / "run" / "fold-2"), folds).predictions
    ours = trained.predictions.frame.set_index("path").loc[scored.frame["path"]]
    np.testing.assert_allclose(
        ours[["p_benign", "p_malignant"]].to_numpy(), scored.probabilities, atol=1e-5
    )
    assert ours["decision"].tolist() == scored.frame["decision"].tolist()


def test_the_written_predictions_and_runs_read_back_as_they_were(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=1)
    trained = train(folds, tmp_path / "run", small_probe, fold="all")
    assert trained.predictions is not None
    again = read_predictions(tmp_path / "run" / "predictions.csv")
    np.testing.assert_array_equal(again.probabilities, trained.predictions.probabilities)
    assert again.provenance == trained.predictions.provenance
    run = read_run(tmp_path / "run")
    assert run.record == trained.run.record
    assert len(run.open_members()) == 3


def test_changing_the_test_images_changes_nothing_that_was_trained(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    frame = divided.frame
    flipped = frame["label"].map({"benign": "malignant", "malignant": "benign"})
    poisoned = dataclasses.replace(
        divided, frame=frame.assign(label=frame["label"].mask(frame["split"] == "test", flipped))
    )
    first = train(divided, tmp_path / "a", small_probe).run
    second = train(poisoned, tmp_path / "b", small_probe).run
    assert first.record.weights_sha256 == second.record.weights_sha256
    assert first.record.temperature == second.record.temperature
    assert first.record.threshold == second.record.threshold


def test_a_run_of_folds_answers_with_the_mean_of_its_folds(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    run = train(folds, tmp_path / "run", small_probe, fold="all").run
    files, options = folds.paths[:4], PredictOptions(allow_seen=True)
    whole = predict(run, files, options).predictions.probabilities
    parts = [predict(member, files, options).predictions for member in run.open_members()]
    np.testing.assert_allclose(whole, np.mean([part.probabilities for part in parts], axis=0))


def test_training_on_a_manifest_that_hides_its_leak_names_the_patients(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    leaky = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), by="image", seed=0)
    renamed = dataclasses.replace(
        leaky, protocol=dataclasses.replace(leaky.protocol, unit="patient", leaky=False)
    )
    with pytest.raises(LeakageError, match=leaky.crossing_patients()[0]):
        train(renamed, tmp_path / "run", small_probe)
    assert not (tmp_path / "run").exists()


def test_a_leaky_protocol_follows_every_artefact(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    leaky = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), by="image", seed=0)
    run = train(leaky, tmp_path / "run", small_probe).run
    scored = predict(run, leaky).predictions
    scored.write(tmp_path / "p.csv")
    assert "image-level (leaky)" in read_run(tmp_path / "run").record.protocol.name
    assert "image-level (leaky)" in read_predictions(tmp_path / "p.csv").provenance.protocol.name


def test_a_finished_run_is_never_overwritten(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    first = train(divided, tmp_path / "run", small_probe).run
    with pytest.raises(ConfigError, match="finished Run"):
        train(divided, tmp_path / "run", small_probe)
    assert train(divided, tmp_path / "run", small_probe, resume=True).run == first
    other = small_probe.with_overrides({"seed": 1})
    with pytest.raises(ConfigError, match="seed was 0 and is 1"):
        train(divided, tmp_path / "run", other, resume=True)


def test_folds_already_trained_are_kept_when_training_goes_on(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    whole = train(folds, tmp_path / "whole", small_probe, fold="all").predictions
    train(folds, tmp_path / "part" / "fold-1", small_probe, fold=1)
    before = (tmp_path / "part" / "fold-1" / "run.json").stat().st_mtime_ns
    resumed = train(folds, tmp_path / "part", small_probe, fold="all", resume=True).predictions
    assert (tmp_path / "part" / "fold-1" / "run.json").stat().st_mtime_ns == before
    assert whole is not None
    assert resumed is not None
    np.testing.assert_allclose(resumed.probabilities, whole.probabilities, atol=1e-12)


def test_folds_without_a_word_on_which_to_hold_out_are_an_error(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    with pytest.raises(ConfigError, match="--fold all"):
        train(folds, tmp_path / "run", small_probe)
    with pytest.raises(ConfigError, match=r"fold 7 does not exist; want one of \[1, 2, 3\]"):
        train(folds, tmp_path / "run", small_probe, fold=7)
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    with pytest.raises(ConfigError, match="no folds"):
        train(divided, tmp_path / "run", small_probe, fold="all")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_image_without_a_patient_may_be_tested_and_trains_nothing(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path, split: str
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    frame = divided.frame.copy()
    row = frame.index[frame["split"] == split][0]
    frame.loc[row, "patient"] = ""
    nameless = dataclasses.replace(divided, frame=frame)
    if split == "test":
        assert train(nameless, tmp_path / "run", small_probe).predictions is not None
        return
    with pytest.raises(DataError, match=r"\.png: names no patient; fill in the column patient"):
        train(nameless, tmp_path / "run", small_probe)
    assert not (tmp_path / "run").exists()


def test_a_manifest_that_was_never_split_is_refused_before_weights_are_looked_for(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    nowhere = small_probe.with_overrides({"weights": "nowhere.safetensors"})
    with pytest.raises(ConfigError, match="no training images; divide it with `eosin split`"):
        train(drawn_breakhis, tmp_path / "run", nowhere)


def test_an_unreadable_image_is_left_out_and_named(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    broken = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    broken.write_bytes(divided.paths[0].read_bytes()[:200])
    paths = [str(broken), *divided.frame["path"][1:]]
    damaged = dataclasses.replace(divided, frame=divided.frame.assign(path=paths))
    trained = train(damaged, tmp_path / "run", small_probe)
    assert [item.path for item in trained.skipped] == [broken]
    table = tmp_path / "run" / "errors.csv"
    assert str(broken) in table.read_text()
    assert "1 file could not be read and was left out of training." in trained.run.record.notes
    assert train(damaged, tmp_path / "run", small_probe, resume=True).run == trained.run
    assert str(broken) in table.read_text()


def test_every_fold_and_every_figure_say_what_could_not_be_read(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    broken = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    broken.touch()
    frame = folds.frame.copy()
    frame.loc[0, "path"] = str(broken)
    home = frame.loc[0, "fold"]
    trained = train(
        dataclasses.replace(folds, frame=frame), tmp_path / "run", small_probe, fold="all"
    )
    assert trained.predictions is not None
    assert "1 image could not be read and is not scored." in trained.predictions.provenance.notes
    left_out = "1 file could not be read and was left out of training."
    others = [fold for fold in "123" if fold != home]
    said = [note for note in trained.run.record.notes if left_out in note]
    assert said == [f"Fold {fold}: {left_out}" for fold in others]
    assert trained.run.record.notes[: len(folds.notes)] == folds.notes


@pytest.mark.parametrize("freeze", [True, False])
def test_an_unreadable_image_does_not_estrange_a_run_from_its_own_test_split(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path, freeze: bool
) -> None:
    leaky = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), by="image", seed=0)
    broken = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    broken.touch()
    train_rows = np.flatnonzero(leaky.frame["split"] == "train")
    frame = leaky.frame.copy()
    frame.loc[train_rows[0], "path"] = str(broken)
    damaged = dataclasses.replace(leaky, frame=frame)
    config = small_probe.with_overrides({"freeze": freeze, "epochs": 1, "warmup_epochs": 0})
    trained = train(damaged, tmp_path / "run", config)
    scored = predict(trained.run, damaged).predictions
    assert len(scored) == (leaky.frame["split"] == "test").sum()
    assert not any("not scored" in note for note in scored.provenance.notes)
    assert scored.provenance.protocol.leaky
    assert train(damaged, tmp_path / "run", config, resume=True).run == trained.run
    assert str(broken) in (tmp_path / "run" / "errors.csv").read_text()


@pytest.mark.parametrize("freeze", [True, False])
def test_a_size_that_the_network_cannot_take_is_refused_before_an_image_is_read(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path, freeze: bool
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    gone = divided.frame.assign(path=[f"/gone/{n}.png" for n in range(len(divided))])
    config = small_probe.with_overrides(
        {"backbone": "inception_v3", "image_size": 64, "freeze": freeze, "stain": "macenko"}
    )
    with pytest.raises(ConfigError, match=r"'inception_v3' cannot take images of 64 pixels"):
        train(dataclasses.replace(divided, frame=gone), tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_a_frozen_network_whose_batchnorm_was_never_trained_is_warned_of(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path, told
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.6, 0.2, 0.2), seed=1)
    warning = "The network is frozen and its BatchNorm was never trained"
    run = train(divided, tmp_path / "random", small_probe, progress=told).run
    assert any(note.startswith(warning) for note in run.record.notes)
    assert any(note.startswith(warning) for note in told.notes)
    network = build_classifier("test_efficientnet", classes=2).backbone
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor += 0.1
    save_file(network.state_dict(), tmp_path / "trained.safetensors")
    config = small_probe.with_overrides({"weights": str(tmp_path / "trained.safetensors")})
    run = train(divided, tmp_path / "trained", config).run
    assert not any(warning in note for note in run.record.notes)


def test_a_family_name_trains_its_b0_and_that_is_said(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path, told
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.6, 0.2, 0.2), seed=1)
    config = small_probe.with_overrides({"backbone": "EfficientNetV1"})
    run = train(divided, tmp_path / "run", config, progress=told).run
    assert run.record.backbone == "efficientnet_b0"
    assert "EfficientNetV1 is a family of networks; its b0 is taken: efficientnet_b0." in told.notes


def test_a_head_that_is_not_finite_makes_no_run(
    drawn_breakhis: Manifest,
    small_probe: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = frozen.fit_probe

    def diverged(*args: object, **options: object) -> Probe:
        probe = real(*args, **options)
        return dataclasses.replace(probe, head=LinearHead(probe.head.weight * np.inf, np.zeros(2)))

    monkeypatch.setattr(frozen, "fit_probe", diverged)
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    with pytest.raises(ModelError, match=r"head\.weight holds values that are not finite"):
        train(divided, tmp_path / "run", small_probe)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_pilot_of_three_patients_a_class_and_one_image_each_scores_every_image(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    first = drawn_breakhis.frame.drop_duplicates("patient").groupby("label").head(3)
    rows = drawn_breakhis.frame.index.isin(first.index)
    folds = split_into_folds(drawn_breakhis.where(rows), 3, seed=0)
    predictions = train(folds, tmp_path / "run", small_probe, fold="all").predictions
    assert predictions is not None
    assert len(predictions) == 6
    assert np.isfinite(predictions.probabilities).all()


def test_real_images_by_image_look_learnable_and_by_patient_do_not(
    real_data: Path, weights_folder: Path, tmp_path: Path
) -> None:
    from eosin.data.breakhis import read_breakhis
    from eosin.evaluation.evaluate import evaluate_predictions

    manifest = read_breakhis(real_data / "breakhis100x").manifest
    config = TrainingConfig(
        weights=str(weights_folder / "tf_efficientnetv2_b0.safetensors"),
        freeze=True,
        image_size=96,
        probe_c=(0.01,),
        device="cpu",
    )
    figures = {}
    for by in ("image", "patient"):
        folds = split_into_folds(manifest, 5, by=by, seed=7)
        predictions = train(folds, tmp_path / by, config, fold="all").predictions
        assert predictions is not None
        figures[by] = evaluate_predictions(predictions, resamples=200).value("roc_auc").value
    assert figures["image"] is not None
    assert figures["patient"] is not None
    assert figures["image"] > 0.85
    assert figures["patient"] < 0.70


@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "fine-tuned"])
def test_the_test_split_is_scored_once_the_run_is_finished_and_kept_beside_it(
    freeze: bool, drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    config = small_probe.with_overrides({"freeze": freeze, "epochs": 1, "cache": False})
    trained = train(divided, tmp_path / "run", config)
    scored = predict(trained.run, divided).predictions
    assert trained.predictions is not None
    assert trained.predictions.frame["path"].tolist() == scored.frame["path"].tolist()
    assert trained.predictions.provenance == scored.provenance
    np.testing.assert_allclose(trained.predictions.probabilities, scored.probabilities, atol=1e-5)
    (tmp_path / "run" / "predictions.csv").unlink()  # as if killed before it was written
    again = train(divided, tmp_path / "run", config, resume=True).predictions
    assert again is not None
    np.testing.assert_array_equal(again.probabilities, trained.predictions.probabilities)


def test_the_fold_held_out_is_scored_and_without_a_test_split_nothing_is(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    held = train(folds, tmp_path / "held", small_probe, fold=2).predictions
    assert held is not None
    expected = folds.frame["path"][folds.frame["fold"] == "2"]
    assert sorted(held.frame["path"]) == sorted(expected)
    whole = folds.where(folds.frame["fold"] != "2")
    whole = dataclasses.replace(whole, frame=whole.frame.assign(split="train", fold=""))
    assert train(whole, tmp_path / "whole", small_probe).predictions is None
    with pytest.raises(ConfigError, match="fold 'al' does not exist; want one of"):
        train(folds, tmp_path / "typo", small_probe, fold="al")  # type: ignore[arg-type]


def test_test_images_that_cannot_be_read_are_told_and_the_run_is_finished(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    rows = [f"/gone/{row}.png" for row in range(len(divided))]
    gone = divided.frame["path"].mask(divided.frame["split"] == "test", rows)
    absent = dataclasses.replace(divided, frame=divided.frame.assign(path=gone))
    with pytest.warns(EosinWarning, match="no test image is scored: none of the 12 images"):
        trained = train(absent, tmp_path / "run", small_probe)
    assert trained.predictions is None
    assert len(trained.skipped) == 12
    assert read_run(tmp_path / "run").record == trained.run.record


def test_a_committee_answers_with_the_mean_of_its_networks_and_goes_on(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, by="patient", seed=0)
    both = small_probe.with_overrides(
        {"backbone": "test_efficientnet@stride4+8", "committee": ["test_efficientnet"]}
    )
    made = train(folds, tmp_path / "both", both, fold="all")
    assert made.predictions is not None
    alone = [
        train(folds, tmp_path / str(n), both.with_overrides({"backbone": name, "committee": []}),
              fold="all").predictions
        for n, name in enumerate((both.backbone, *both.committee))
    ]  # fmt: skip
    mean = np.mean([each.probabilities for each in alone if each is not None], axis=0)
    np.testing.assert_allclose(made.predictions.probabilities, mean, rtol=1e-6)
    again = train(folds, tmp_path / "both", both, fold="all", resume=True)
    assert again.run.sha256 == made.run.sha256
    with pytest.raises(ConfigError, match="holds a finished Run"):
        train(folds, tmp_path / "both", both, fold="all")
    other = both.with_overrides({"seed": 1})
    with pytest.raises(ConfigError, match="seed was 0 and is 1"):
        train(folds, tmp_path / "both", other, fold="all", resume=True)
