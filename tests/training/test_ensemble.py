"""Ensembles are Runs: their votes, what they learn from whom, their guard, and their folds."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.run import EnsembleRun, FoldsRun, Vote
from eosin.data.splits import By, hold_out, split_by_fractions, split_into_folds
from eosin.errors import ConfigError, DataError, LeakageError, ModelError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.votes import fit_weights, hard_vote, soft_vote, weighted_vote
from eosin.networks.run import Run, read_run
from eosin.protocol import Protocol
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import EnsembleOptions, make_ensemble, make_ensembles
from eosin.training.ensemble_record import common_division
from eosin.training.fusion import FusionOptions, fit_fusion
from eosin.training.readings import predict_together
from eosin.training.train import train

VOTES: tuple[Vote, ...] = ("soft", "hard", "weighted", "fusion")
FEW = EnsembleOptions(device="cpu", fusion=FusionOptions(epochs=8))
P = ["p_benign", "p_malignant"]


@pytest.fixture(scope="module")
def divided(drawn_breakhis: Manifest) -> Manifest:
    return split_by_fractions(drawn_breakhis, (0.4, 0.35, 0.25), seed=0)


@pytest.fixture(scope="module")
def settings(small_probe: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """Three members that differ in seed, and one of them in what it sees."""
    quick = small_probe.with_overrides({"probe_c": (0.1,), "fold_validation": True})
    return (
        quick,
        quick.with_overrides({"seed": 1, "image_size": 48}),
        quick.with_overrides({"seed": 2}),
    )


@pytest.fixture(scope="module")
def runs(
    divided: Manifest,
    settings: tuple[TrainingConfig, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Run]:
    home = tmp_path_factory.mktemp("members")
    return [train(divided, home / f"m{k}", each).run for k, each in enumerate(settings)]


@pytest.fixture(scope="module")
def folds(drawn_breakhis: Manifest) -> Manifest:
    return split_into_folds(drawn_breakhis, 3, seed=0)


@pytest.fixture(scope="module")
def fold_runs(
    folds: Manifest,
    settings: tuple[TrainingConfig, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Run]:
    home = tmp_path_factory.mktemp("folded")
    return [
        train(folds, home / f"m{k}", each, fold="all").run for k, each in enumerate(settings[:2])
    ]


def said_by(runs: list[Run], images: Manifest, **options: str) -> np.ndarray:
    """Each member's own probabilities, shape (members, n, classes)."""
    asked = PredictOptions(allow_seen=True, device="cpu", **options)
    return np.stack([predict(run, images, asked).predictions.probabilities for run in runs])


def test_every_vote_predicts_what_its_members_predictions_say_by_hand(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    made = make_ensembles(
        runs, {vote: tmp_path / vote for vote in VOTES[:3]}, manifest=divided, options=FEW
    )
    members = said_by(runs, divided)
    validation = divided.in_split("val")
    weights = fit_weights(said_by(runs, divided, split="val"), validation.label_index)
    by_hand = {
        "soft": soft_vote(members),
        "hard": hard_vote(members),
        "weighted": weighted_vote(members, weights),
    }
    for vote, expected in by_hand.items():
        scored = predict(read_run(tmp_path / vote), divided).predictions
        np.testing.assert_allclose(scored.probabilities, expected, atol=1e-4)
    np.testing.assert_allclose(made["weighted"].run.record.weights, weights, atol=1e-3)


def test_scoring_together_gives_what_scoring_alone_gives(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    made = make_ensembles(
        runs, {vote: tmp_path / vote for vote in VOTES}, manifest=divided, options=FEW
    )
    every = [*runs, *(each.run for each in made.values())]
    for run, together in zip(every, predict_together(every, divided), strict=True):
        alone = predict(run, divided).predictions
        np.testing.assert_allclose(
            together.predictions.probabilities, alone.probabilities, atol=1e-5
        )
        assert together.predictions.provenance == alone.provenance


def test_each_network_is_opened_once_for_all_votes(
    runs: list[Run], divided: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import eosin.training.readings as room

    opened: list[Path] = []
    real = room.load_classifier

    def counting(run: Run) -> object:
        opened.append(run.folder)
        return real(run)

    monkeypatch.setattr(room, "load_classifier", counting)
    made = make_ensembles(
        runs, {vote: tmp_path / vote for vote in VOTES}, manifest=divided, options=FEW
    )
    assert sorted(opened) == sorted(run.folder for run in runs)
    opened.clear()
    predict_together([*runs, *(each.run for each in made.values())], divided)
    assert len(opened) == len(runs)


def test_nothing_an_ensemble_learns_depends_on_the_test_split(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    frame = divided.frame
    test = frame["split"] == "test"
    flipped = frame["label"].map({"benign": "malignant", "malignant": "benign"})
    gone = [str(tmp_path / f"no such image {k}.png") for k in range(len(frame))]
    poisoned = dataclasses.replace(
        divided,
        frame=frame.assign(
            label=frame["label"].mask(test, flipped), path=frame["path"].where(~test, gone)
        ),
    )
    clean = make_ensembles(
        runs, {vote: tmp_path / "a" / vote for vote in VOTES}, manifest=divided, options=FEW
    )
    other = make_ensembles(
        runs, {vote: tmp_path / "b" / vote for vote in VOTES}, manifest=poisoned, options=FEW
    )
    for vote in VOTES:
        first, second = clean[vote].run.record, other[vote].run.record
        assert first.choices == second.choices
        assert first.threshold == second.threshold
        assert first.temperature == second.temperature
        assert first.weights_sha256 == second.weights_sha256
        assert not other[vote].skipped  # it never so much as looked for the test images
    assert clean["fusion"].run.record.weights_sha256


def test_changing_the_validation_labels_does_change_what_is_learned(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    frame = divided.frame
    flipped = frame["label"].map({"benign": "malignant", "malignant": "benign"})
    other = dataclasses.replace(
        divided, frame=frame.assign(label=frame["label"].mask(frame["split"] == "val", flipped))
    )
    first = make_ensemble(runs, tmp_path / "a", vote="fusion", manifest=divided, options=FEW)
    second = make_ensemble(runs, tmp_path / "b", vote="fusion", manifest=other, options=FEW)
    assert first.record.weights_sha256 != second.record.weights_sha256


@pytest.mark.parametrize("by", ["patient", "image"])
def test_a_fusions_inner_folds_cut_no_patient_unless_the_protocol_does(
    drawn_breakhis: Manifest,
    settings: tuple[TrainingConfig, ...],
    by: By,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import eosin.training.voting as room

    asked: list[np.ndarray] = []

    def noting(features: np.ndarray, labels: np.ndarray, inner: np.ndarray, **rest: Any) -> Any:
        asked.append(inner)
        return fit_fusion(features, labels, inner, **rest)

    monkeypatch.setattr(room, "fit_fusion", noting)
    split = split_by_fractions(drawn_breakhis, (0.4, 0.35, 0.25), by=by, seed=0)
    members = [train(split, tmp_path / f"m{k}", settings[k]).run for k in range(2)]
    make_ensemble(members, tmp_path / "f", vote="fusion", manifest=split, options=FEW)
    inner = split.in_split("val").frame.assign(inner=asked[0])
    folds = inner.groupby("patient")["inner"].nunique()
    assert (folds > 1).any() == (by == "image")


def test_the_record_names_members_patients_and_where_the_threshold_comes_from(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    plain = make_ensemble(runs, tmp_path / "plain").record
    thresholds = [run.record.threshold for run in runs if run.record.threshold is not None]
    assert plain.threshold == pytest.approx(np.mean(thresholds))
    assert plain.choices["threshold_from"] == "the members' mean"
    assert plain.train_patients == divided.in_split("train").patients
    assert plain.val_patients == divided.in_split("val").patients
    assert plain.fingerprint == divided.fingerprint
    assert plain.temperature == 1.0
    assert plain.choices["input_sizes"] == [32, 48, 32]
    assert plain.backbone == "soft vote of " + " + ".join(["test_efficientnet"] * 3)
    refitted = make_ensemble(runs, tmp_path / "refitted", manifest=divided, options=FEW).record
    assert refitted.choices["threshold_from"] == "validation patients"
    hard = make_ensemble(runs, tmp_path / "hard", vote="hard").record
    assert hard.threshold == 0.5


def test_a_hard_vote_decides_by_majority_even_on_a_tie(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(runs[:2], tmp_path / "hard", vote="hard")
    scored = predict(run, divided).predictions.frame
    assert scored["decision"].tolist() == scored["predicted"].tolist()
    mean = said_by(runs[:2], divided).mean(axis=0)
    tied = np.abs(scored["p_malignant"] - 0.5) < 1e-3
    elected = np.array(["benign", "malignant"])[mean.argmax(axis=1)]
    assert tied.any()
    assert scored["predicted"][tied].tolist() == elected[tied].tolist()


def test_patients_that_any_member_has_seen_are_refused_by_name(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(runs, tmp_path / "soft")
    for split in ("train", "val"):
        with pytest.raises(LeakageError, match=divided.in_split(split).patients[0]):
            predict(run, divided, PredictOptions(split=split))
    with pytest.raises(LeakageError):
        predict(run, divided.in_split("train").paths[:1])


def test_members_of_two_splits_have_seen_the_patients_of_both(
    runs: list[Run], divided: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    other = split_by_fractions(divided, (0.4, 0.35, 0.25), seed=5)
    stranger = train(other, tmp_path / "stranger", small_probe).run
    run = make_ensemble([runs[0], stranger], tmp_path / "soft")
    assert run.record.fingerprint == ""
    assert run.record.seen_patients == runs[0].record.seen_patients | stranger.record.seen_patients
    with pytest.raises(LeakageError):
        predict(run, divided)


def test_validation_patients_that_trained_a_member_cannot_fit_a_vote(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    swapped = divided.frame["split"].replace({"train": "val", "val": "train"})
    other = dataclasses.replace(divided, frame=divided.frame.assign(split=swapped))
    for vote in VOTES:
        with pytest.raises(LeakageError, match=runs[0].record.train_patients[0]):
            make_ensemble(runs, tmp_path / vote, vote=vote, manifest=other)
        assert not (tmp_path / vote).exists()


@pytest.mark.parametrize("vote", ["weighted", "fusion"])
def test_a_fitted_vote_without_validation_patients_says_what_it_needs(
    runs: list[Run], vote: Vote, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="--manifest"):
        make_ensemble(runs, tmp_path / vote, vote=vote)


def test_a_missing_or_changed_member_is_named(runs: list[Run], tmp_path: Path) -> None:
    copies = []
    for run in runs[:2]:
        shutil.copytree(run.folder, tmp_path / "members" / run.folder.name)
        copies.append(read_run(tmp_path / "members" / run.folder.name))
    ensemble = make_ensemble(copies, tmp_path / "soft")
    shutil.move(tmp_path, tmp_path.with_name(tmp_path.name + "-moved"))  # together: still whole
    home = tmp_path.with_name(tmp_path.name + "-moved")
    read_run(home / "soft").require_intact()
    (home / "elsewhere" / "deep").mkdir(parents=True)
    (home / "elsewhere" / "deep" / "link").symlink_to(home / "soft")
    read_run(home / "elsewhere" / "deep" / "link").require_intact()
    record = home / "soft" / "m1" / "run.json"
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 7'))
    with pytest.raises(ModelError, match="m1: changed since it became a member"):
        read_run(home / "soft").require_intact()
    shutil.rmtree(home / "soft" / "m0")
    path = re.escape(str(home / "soft" / "m0"))
    with pytest.raises(ModelError, match=rf"^{path}: member of .* is missing"):
        read_run(home / "soft").require_intact()
    assert len(ensemble.record.inside) == 2


def test_a_changed_fusion_head_is_refused(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(runs, tmp_path / "fusion", vote="fusion", manifest=divided, options=FEW)
    with run.weights_path.open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    with pytest.raises(ModelError, match="changed since"):
        predict(read_run(tmp_path / "fusion"), divided)
    run.weights_path.unlink()
    with pytest.raises(ModelError, match="make the Run again"):
        predict(read_run(tmp_path / "fusion"), divided)


def test_members_must_be_several_distinct_and_of_one_task(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two Runs or more"):
        make_ensemble(runs[:1], tmp_path / "a")
    with pytest.raises(ConfigError, match="named twice"):
        make_ensemble([runs[0], runs[0]], tmp_path / "a")
    turned = dataclasses.replace(runs[1].record.task, positive="benign")
    other = Run(runs[1].folder, with_changes(runs[1].record, task=turned), runs[1].sha256)
    with pytest.raises(ModelError, match=r"m0 and .*m1 are of different tasks"):
        make_ensemble([runs[0], other], tmp_path / "a")


def test_a_finished_run_is_not_overwritten_by_an_ensemble(runs: list[Run], tmp_path: Path) -> None:
    make_ensemble(runs, tmp_path / "soft")
    with pytest.raises(ConfigError, match="finished Run"):
        make_ensemble(runs, tmp_path / "soft")


def test_an_ensemble_of_ensembles_is_one_more_run(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    pair = make_ensemble(runs[:2], tmp_path / "pair")
    nested = make_ensemble([pair, runs[2]], tmp_path / "nested")
    members = said_by(runs, divided)
    np.testing.assert_allclose(
        predict(nested, divided).predictions.probabilities,
        (members[:2].mean(axis=0) + members[2]) / 2,
        atol=1e-5,
    )
    with pytest.raises(ModelError, match="name its members instead"):
        make_ensemble([pair, runs[2]], tmp_path / "f", vote="fusion", manifest=divided)


def test_an_image_that_cannot_be_read_is_left_out_and_named(
    runs: list[Run], divided: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(runs, tmp_path / "soft")
    broken = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    broken.write_bytes(divided.paths[0].read_bytes()[:200])
    scored = predict(run, [divided.in_split("test").paths[0], broken])
    assert len(scored.predictions) == 1
    assert [item.path for item in scored.skipped] == [broken]


def test_folds_are_combined_fold_by_fold_on_patients_no_member_met(
    fold_runs: list[Run], folds: Manifest, tmp_path: Path
) -> None:
    made = make_ensembles(
        fold_runs, {vote: tmp_path / vote for vote in VOTES}, manifest=folds, options=FEW
    )
    for vote in VOTES:
        predictions = made[vote].predictions
        assert predictions is not None
        assert predictions.frame["path"].tolist() == folds.frame["path"].tolist()
        outer = made[vote].run.record
        assert isinstance(outer, FoldsRun)
        assert outer.vote == vote
        for fold, member in zip(folds.folds, made[vote].run.open_members(), strict=True):
            assert isinstance(member.record, EnsembleRun)
            assert member.record.fold == fold
            split = hold_out(folds, fold)
            assert member.record.train_patients == split.in_split("train").patients
            assert member.record.val_patients == split.in_split("val").patients
            assert not member.record.seen_patients & set(split.in_split("test").patients)
        again = read_predictions(tmp_path / vote / "predictions.csv")
        np.testing.assert_array_equal(again.probabilities, predictions.probabilities)
        assert evaluate_predictions(again, resamples=40).value("accuracy").images == len(folds)


def test_a_soft_vote_of_folds_is_the_mean_of_the_members_out_of_fold_predictions(
    fold_runs: list[Run], tmp_path: Path
) -> None:
    make_ensemble(fold_runs, tmp_path / "soft")  # no manifest: the members' own tables know it
    ours = read_predictions(tmp_path / "soft" / "predictions.csv")
    tables = [read_predictions(run.folder / "predictions.csv") for run in fold_runs]
    mean = np.mean([table.probabilities for table in tables], axis=0)
    np.testing.assert_allclose(ours.probabilities, mean, atol=1e-4)
    assert ours.provenance.protocol.name == "patient-level, 3-fold"
    assert ours.provenance.split == "out-of-fold"


def test_weights_of_a_fold_come_from_its_validation_fold_alone(
    fold_runs: list[Run], folds: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(
        fold_runs, tmp_path / "weighted", vote="weighted", manifest=folds, options=FEW
    )
    for fold, member in zip(folds.folds, run.open_members(), strict=True):
        split = hold_out(folds, fold)
        parts = [read_run(each.folder / f"fold-{fold}") for each in fold_runs]
        weights = fit_weights(said_by(parts, split, split="val"), split.in_split("val").label_index)
        np.testing.assert_allclose(member.record.weights, weights, atol=1e-3)


def test_frozen_folds_that_kept_no_validation_fold_can_only_vote_without_fitting(
    folds: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    quick = small_probe.with_overrides({"probe_c": (0.1,)})
    members = [
        train(folds, tmp_path / f"m{seed}", quick.with_overrides({"seed": seed}), fold="all").run
        for seed in (0, 1)
    ]
    for vote in ("weighted", "fusion"):
        with pytest.raises(LeakageError, match="fold_validation = true"):
            make_ensemble(members, tmp_path / vote, vote=vote, manifest=folds)
    run = make_ensemble(members, tmp_path / "soft", manifest=folds)
    choices = [member.record.choices["threshold_from"] for member in run.open_members()]
    assert choices == ["the members' mean"] * 3


def test_image_level_folds_combine_under_their_leaky_name(
    drawn_breakhis: Manifest, settings: tuple[TrainingConfig, ...], tmp_path: Path
) -> None:
    leaky = split_into_folds(drawn_breakhis, 3, by="image", seed=0)
    members = [
        train(leaky, tmp_path / f"m{k}", each, fold="all").run
        for k, each in enumerate(settings[:2])
    ]
    made = make_ensembles(
        members, {vote: tmp_path / vote for vote in VOTES}, manifest=leaky, options=FEW
    )
    for vote in VOTES:
        predictions = made[vote].predictions
        assert predictions is not None
        assert len(predictions) == len(leaky)
        assert "image-level (leaky)" in predictions.provenance.protocol.name


def test_runs_of_other_folds_and_manifests_are_not_mixed(
    fold_runs: list[Run],
    runs: list[Run],
    folds: Manifest,
    small_probe: TrainingConfig,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match="not Runs of the same folds"):
        make_ensemble([fold_runs[0], runs[0]], tmp_path / "a")
    other = split_into_folds(folds, 3, seed=9)
    with pytest.raises(DataError, match="not the one whose folds"):
        make_ensemble(fold_runs, tmp_path / "a", manifest=other)


def test_new_images_are_scored_by_the_mean_of_the_folds_ensembles(
    fold_runs: list[Run], folds: Manifest, tmp_path: Path
) -> None:
    run = make_ensemble(fold_runs, tmp_path / "hard", vote="hard", manifest=folds)
    options = PredictOptions(allow_seen=True)
    whole = predict(run, folds.paths[:6], options).predictions.probabilities
    parts = [predict(each, folds.paths[:6], options).predictions for each in run.open_members()]
    np.testing.assert_allclose(whole, np.mean([part.probabilities for part in parts], axis=0))


@pytest.mark.parametrize(
    "weakest",
    [
        Protocol("image", leaky=True),
        Protocol("patient", pseudo=True),
        Protocol("image", patients_known=False),
    ],
    ids=lambda each: each.name,
)
def test_an_ensemble_is_of_the_weakest_protocol_of_its_members(weakest: Protocol) -> None:
    protocols = (Protocol("patient"), weakest)
    runs: list[Any] = [
        SimpleNamespace(record=SimpleNamespace(protocol=each, fingerprint="ab", fold=fold))
        for fold, each in enumerate(protocols)
    ]
    division = common_division(runs)
    assert (division.protocol, division.fingerprint, division.fold) == (weakest, "ab", None)
