"""Runs of every kind know what they know, in every row that they answer."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.prediction_columns import TRUST_COLUMNS
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.artefacts.reference import ABSTAIN, MOST_REFERENCE_BYTES, REFERENCE_NAME
from eosin.errors import DataError, ModelError
from eosin.evaluation.intervals import Bootstrap
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run, read_run, write_run
from eosin.progress import Progress
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensembles
from eosin.training.left_out import Trained
from eosin.training.train import train
from eosin.trust.conformal import SetOptions
from eosin.trust.coverage import risk_coverage, set_coverages
from eosin.trust.judge import CANNOT_TELL
from eosin.trust.reference import load_reference


class Notes(Progress):
    """Collects what is said before scoring."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None: ...

    def note(self, sentence: str) -> None:
        self.said.append(sentence)

    def end(self) -> None: ...


def flags(predictions: Predictions) -> dict[str, set[str]]:
    return {
        Path(path).stem: set(words.split())
        for path, words in zip(predictions.frame["path"], predictions.frame["flags"], strict=True)
    }


def test_a_frozen_run_learns_from_training_and_validation_patients_only(
    run: Run, splits: Manifest
) -> None:
    reference = run.record.reference
    assert reference is not None
    assert reference.familiarity is not None
    assert reference.familiarity.patients == len(run.record.seen_patients)
    assert reference.acquisition is not None
    assert reference.acquisition.magnifications == ("100",)
    assert reference.calibration is not None
    assert reference.calibration.source == "validation"
    assert reference.calibration.patients == len(run.record.val_patients)
    seen = splits.frame["split"].isin(["train", "val"])
    assert reference.familiarity.images == int(seen.sum())
    assert (run.folder / REFERENCE_NAME).stat().st_size < MOST_REFERENCE_BYTES


def test_noise_blank_gradient_text_and_black_are_flagged_by_every_fold(
    folds: Trained, strange: Path
) -> None:
    for each in (folds.run, *folds.run.open_members()):
        scored = predict(each, [strange]).predictions
        assert scored.flagged.all()
        assert (scored.frame["answer"] == ABSTAIN).all()
        assert scored.frame["familiarity"].between(0, 1).all()


def test_held_out_patients_are_mostly_familiar(folds: Trained) -> None:
    assert folds.predictions is not None
    unfamiliar = folds.predictions.frame["flags"].str.contains("unfamiliar")
    assert unfamiliar.mean() <= 0.10
    assert folds.predictions.frame["familiarity"].mean() == pytest.approx(0.5, abs=0.15)


def test_folds_calibrate_their_sets_on_what_each_said_of_the_fold_it_never_met(
    folds: Trained,
) -> None:
    reference = folds.run.record.reference
    assert reference is not None
    assert reference.calibration is not None
    assert reference.calibration.source == "out-of-fold"
    assert reference.calibration.patients == 20
    known, predictions = load_reference(folds.run), folds.predictions
    assert known is not None
    assert known.calibration is not None
    assert predictions is not None
    assert known.calibration.probabilities == pytest.approx(predictions.probabilities, abs=1e-6)


def test_a_fine_tuned_run_calibrates_on_validation_patients_alone(
    splits: Manifest, strange: Path, tmp_path: Path
) -> None:
    config = TrainingConfig(
        backbone="test_efficientnet", weights="none", image_size=32, epochs=1, device="cpu"
    )
    run = train(splits, tmp_path / "tuned", config).run
    reference = run.record.reference
    assert reference is not None
    assert reference.familiarity is not None
    assert reference.calibration is not None
    assert reference.familiarity.patients == len(run.record.val_patients)
    assert reference.calibration.patients == len(run.record.val_patients)
    scored = predict(run, [strange]).predictions
    assert scored.flagged.all()
    assert scored.trust is not None
    assert scored.trust.patients_needed == 9
    assert set(scored.frame["set"]) == {"benign|malignant"}  # five patients are too few


@pytest.mark.parametrize("vote", ["soft", "hard", "weighted", "fusion"])
def test_an_ensemble_s_sets_are_calibrated_on_its_own_votes(
    run: Run, splits: Manifest, strange: Path, tmp_path: Path, vote: str
) -> None:
    other = TrainingConfig(
        backbone="test_efficientnet", weights="none", freeze=True, image_size=48, device="cpu"
    )
    second = train(splits, tmp_path / "second", other).run
    made = make_ensembles([run, second], {vote: tmp_path / vote}, manifest=splits)[vote]  # type: ignore[dict-item, index]
    known = load_reference(made.run)
    assert known is not None
    assert known.calibration is not None
    validation = splits.in_split("val")
    again = predict(made.run, splits, PredictOptions(split="val", allow_seen=True))
    assert known.calibration.labels.tolist() == validation.label_index.tolist()
    if vote != "fusion":  # whose answers are cross-validated
        assert known.calibration.probabilities == pytest.approx(
            again.predictions.probabilities, abs=1e-6
        )
    assert predict(made.run, [strange]).predictions.flagged.all()


def test_an_exported_run_flags_alike(run: Run, strange: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from eosin.export.export import export_run

    exported = export_run(run, tmp_path / "exported")
    assert exported.record.reference == run.record.reference
    images = [strange]
    one, other = (predict(each, images).predictions.frame for each in (run, exported))
    assert one["familiarity"].to_numpy() == pytest.approx(other["familiarity"].to_numpy(), abs=1e-4)
    assert (one[["flags", "set", "answer"]] == other[["flags", "set", "answer"]]).all(axis=None)


def test_exported_folds_flag_alike(folds: Trained, splits: Manifest, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from eosin.export.export import export_run

    exported = export_run(folds.run, tmp_path / "exported")
    options = PredictOptions(allow_seen=True)
    one, other = (
        predict(each, splits, options).predictions.frame for each in (folds.run, exported)
    )
    assert one["familiarity"].to_numpy() == pytest.approx(other["familiarity"].to_numpy(), abs=1e-4)
    assert (one[["flags", "set", "answer"]] == other[["flags", "set", "answer"]]).all(axis=None)


def test_another_magnification_in_a_file_s_name_is_said_before_scoring_and_flagged(
    run: Run, splits: Manifest, tmp_path: Path
) -> None:
    source = splits.paths[0]
    for name in ("SOB_B_A-14-9999-400-001.png", "SOB_B_A-14-9999-100-001.png"):
        shutil.copyfile(source, tmp_path / name)
    notes = Notes()
    scored = predict(run, [tmp_path], progress=notes).predictions
    assert any("1 of 2 images state another magnification (400X)" in said for said in notes.said)
    assert flags(scored)["SOB_B_A-14-9999-400-001"] == {"other-magnification"}
    assert flags(scored)["SOB_B_A-14-9999-100-001"] == set()


def test_another_magnification_in_a_manifest_is_said_before_scoring(
    run: Run, splits: Manifest
) -> None:
    test = splits.in_split("test")
    other = replace(test, frame=test.frame.assign(magnification="40"))
    notes = Notes()
    scored = predict(run, other, PredictOptions(split="test"), progress=notes).predictions
    assert any(f"{len(test)} of {len(test)} images state" in said for said in notes.said)
    assert scored.frame["flags"].str.contains("other-magnification").all()


def test_an_interrupted_prediction_goes_on_to_the_same_table(
    run: Run, strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eosin.networks.torch_engine import TorchEngine

    options, answers = PredictOptions(batch_size=2), TorchEngine.answers
    predict_to_table(run, [strange], tmp_path / "whole.csv", options)
    asked: list[int] = []

    def stopping(self: TorchEngine, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(batch))
        if len(asked) > 1:
            raise KeyboardInterrupt
        return answers(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TorchEngine, "answers", stopping)
        with pytest.raises(KeyboardInterrupt):
            predict_to_table(run, [strange], tmp_path / "cut.csv", options)
    predict_to_table(run, [strange], tmp_path / "cut.csv", options, resume=True)
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    read = read_predictions(tmp_path / "cut.csv")
    assert read.trust is not None
    assert list(read.frame.columns[-4:]) == list(TRUST_COLUMNS)


@pytest.mark.parametrize(
    ("column", "value"),
    [("set", "benign|other"), ("flags", "strange"), ("familiarity", "1.5"), ("answer", "benign")],
)
def test_a_row_that_contradicts_itself_is_refused(
    run: Run, strange: Path, tmp_path: Path, column: str, value: str
) -> None:
    out = tmp_path / "p.csv"
    predict_to_table(run, [strange], out)
    rows = [line.split(",") for line in out.read_text().splitlines()]
    rows[1][rows[0].index(column)] = value
    out.write_text("\n".join(",".join(row) for row in rows) + "\n")
    with pytest.raises(DataError, match=f"row 2.*{column}"):
        read_predictions(out)


def test_a_run_without_a_reference_predicts_as_before_and_says_that_it_cannot_tell(
    run: Run, strange: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "old")
    (tmp_path / "old" / REFERENCE_NAME).unlink()
    old = write_run(tmp_path / "old", with_changes(run.record, reference=None))
    scored = predict(old, [strange]).predictions
    assert CANNOT_TELL in scored.provenance.notes
    assert scored.trust is None
    assert not set(TRUST_COLUMNS) & set(scored.frame.columns)
    now = predict(run, [strange]).predictions
    assert scored.probabilities == pytest.approx(now.probabilities, abs=1e-9)


def test_a_run_that_knows_no_features_says_so_and_flags_by_pixels_alone(
    run: Run, strange: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "pixels")
    assert run.record.reference is not None
    reference = with_changes(run.record.reference, familiarity=None)
    scored = predict(
        write_run(tmp_path / "pixels", with_changes(run.record, reference=reference)), [strange]
    ).predictions
    assert CANNOT_TELL in scored.provenance.notes
    assert scored.frame["familiarity"].isna().all()
    assert "no-tissue" in flags(scored)["blank"]
    assert not scored.frame["flags"].str.contains("unfamiliar").any()


def test_a_reference_of_another_network_is_refused(
    run: Run, folds: Trained, strange: Path, tmp_path: Path
) -> None:
    member = folds.run.open_members()[0]
    other = member.record.reference
    with pytest.raises(ValueError, match="of another network"):
        with_changes(run.record, reference=other)
    shutil.copytree(run.folder, tmp_path / "run")
    shutil.copyfile(member.folder / REFERENCE_NAME, tmp_path / "run" / REFERENCE_NAME)
    with pytest.raises(ModelError, match=rf"{REFERENCE_NAME}: changed"):
        predict(read_run(tmp_path / "run"), [strange])


def test_features_of_another_network_are_refused(run: Run) -> None:
    known = load_reference(run)
    assert known is not None
    with pytest.raises(ModelError, match="of another network"):
        known.familiarity(np.ones((2, 7)), np.ones((2, 17)))


@pytest.mark.parametrize("damage", ["nan", "shape", "labels"])
def test_damaged_arrays_are_refused(run: Run, tmp_path: Path, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    from eosin.files import sha256_of

    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / REFERENCE_NAME
    arrays = {name: values.copy() for name, values in load_file(path).items()}
    if damage == "nan":
        arrays["familiarity.mean"][0] = math.nan
    elif damage == "shape":
        arrays["familiarity.axes"] = arrays["familiarity.axes"][:, 1:].copy()
    else:
        arrays["sets.labels"][0] = 9
    save_file(arrays, path)
    assert run.record.reference is not None
    reference = with_changes(run.record.reference, sha256=sha256_of(path))
    broken = write_run(tmp_path / "run", with_changes(run.record, reference=reference))
    with pytest.raises(ModelError, match="not the reference"):
        load_reference(broken)


def test_the_record_on_disk_is_strict_about_its_reference(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    fields = json.loads(record.read_text())
    del fields["reference"]["familiarity"]["tail"]
    record.write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=r"reference\.familiarity\.tail"):
        read_run(tmp_path / "run")


def test_coverage_is_that_of_the_sets_in_the_table(folds: Trained) -> None:
    predictions = folds.predictions
    assert predictions is not None
    bootstrap = Bootstrap(200, seed=0)
    found = {
        each.coverage: each for each in set_coverages(folds.run, predictions, bootstrap=bootstrap)
    }
    held = [
        label in row.split("|")
        for label, row in zip(predictions.frame["label"], predictions.frame["set"], strict=True)
    ]
    assert found[0.9].covered[0].value == pytest.approx(np.mean(held))
    assert found[0.9].covered[0].patients == 20
    assert found[0.8].covered[0].value <= found[0.9].covered[0].value  # type: ignore[operator]


def test_the_risk_coverage_curve_ends_at_the_error_of_all(folds: Trained) -> None:
    predictions = folds.predictions
    assert predictions is not None
    found = risk_coverage(folds.run, predictions, bootstrap=Bootstrap(200, seed=0))
    wrong = (predictions.label_index != predictions.predicted_index).mean()
    assert found.risk[-1] == pytest.approx(wrong)
    assert found.answered[-1] == pytest.approx(1)


def test_the_order_of_images_of_one_probability_does_not_count_for_the_risk(folds: Trained) -> None:
    predictions = folds.predictions
    assert predictions is not None
    names = predictions.probability_columns
    frame = predictions.frame.assign(
        **{name: predictions.probabilities[:, k].round(1) for k, name in enumerate(names)}
    )
    wrong = (frame["predicted"] != frame["label"]).to_numpy()
    orders = (np.argsort(wrong, kind="stable"), np.argsort(~wrong, kind="stable"))
    best, worst = (
        risk_coverage(
            folds.run,
            replace(predictions, frame=frame.iloc[order].reset_index(drop=True)),
            bootstrap=Bootstrap(100, seed=0),
        )
        for order in orders
    )
    assert 0 < wrong.mean() < 1
    assert best.risk.tolist() == pytest.approx(worst.risk.tolist())
    assert best.area.value == pytest.approx(worst.area.value)


def test_the_level_of_the_sets_is_as_asked_and_wider_ones_hold_narrower_ones(
    folds: Trained, splits: Manifest
) -> None:
    def sets(coverage: float) -> list[set[str]]:
        options = PredictOptions(allow_seen=True, sets=SetOptions(coverage))
        scored = predict(folds.run, splits, options).predictions
        assert scored.trust is not None
        assert scored.trust.coverage == coverage
        return [set(row.split("|")) for row in scored.frame["set"]]

    for narrow, wide in zip(sets(0.6), sets(0.94), strict=True):
        assert narrow <= wide
