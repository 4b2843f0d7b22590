"""What the terminal and the report say of trust."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.cli.app import app
from eosin.inference.predict import predict
from eosin.networks.run import Run
from eosin.reporting.report import write_report
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensemble
from eosin.training.left_out import Trained
from eosin.training.train import train
from eosin.trust.conformal import SetOptions
from eosin.trust.summary import flagged_lines, trust_lines


def test_strict_ends_with_three_where_an_image_is_flagged_and_the_rows_are_named(
    run: Run, strange: Path, tmp_path: Path
) -> None:
    words = ["predict", str(run.folder), str(strange), "-o", str(tmp_path / "p.csv"), "--strict"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "of 5 images: unlike anything this Run was trained on" in done.output
    assert "4 of 5 images: no tissue" in done.output
    assert "noise.png: unfamiliar" in done.output
    assert len(read_predictions(tmp_path / "p.csv")) == 5  # nothing is dropped


def test_strict_ends_with_zero_where_nothing_is_flagged(
    run: Run, splits: Manifest, tmp_path: Path
) -> None:
    scored = predict(run, splits.in_split("test")).predictions
    fine = scored.frame["path"][~scored.flagged].tolist()
    assert fine
    words = ["predict", str(run.folder), *fine, "-o", str(tmp_path / "p.csv"), "--strict"]
    assert CliRunner().invoke(app, words).exit_code == 0
    words = ["predict", str(run.folder), *fine, "-o", str(tmp_path / "q.csv"), "--coverage", "2"]
    assert CliRunner().invoke(app, words).exit_code != 0


def test_the_number_of_patients_that_would_be_needed_is_said(run: Run, strange: Path) -> None:
    """Nine are needed for 90 %."""
    count = len(run.record.val_patients)
    lines = trust_lines(predict(run, [strange]).predictions)
    assert any(
        f"{count} patients calibrate them and 90 % coverage needs 9" in line for line in lines
    )
    assert any("abstain for 5 of 5" in line for line in lines)


def test_an_ensemble_made_without_a_manifest_has_nobody_to_calibrate_its_sets(
    run: Run, splits: Manifest, strange: Path, frozen_config: TrainingConfig, tmp_path: Path
) -> None:
    other = train(splits, tmp_path / "other", frozen_config.with_overrides({"seed": 3})).run
    made = make_ensemble([run, other], tmp_path / "soft")
    scored = predict(made, [strange]).predictions
    assert scored.trust is not None
    assert scored.trust.calibration_patients == 0
    assert set(scored.frame["set"]) == {"benign|malignant"}
    assert scored.flagged.all()


def test_no_more_rows_are_named_than_asked_for_and_the_rest_is_counted(
    run: Run, strange: Path
) -> None:
    lines = flagged_lines(predict(run, [strange]).predictions, most=2)
    assert len(lines) == 3
    assert lines[-1] == "and 3 more in the table"


def test_the_report_shows_coverage_risk_flags_and_the_strangest_images(
    folds: Trained, tmp_path: Path
) -> None:
    assert folds.predictions is not None
    path = write_report(folds.run, folds.predictions, tmp_path / "r.html", resamples=100)
    page = path.read_text()
    section = page[page.index('<section id="trust">') : page.index('<section id="measures">')]
    for said in ("Coverage of the sets", "Risk-coverage curve", "Promised 90", "strangest images"):
        assert said in section
    assert section.count("<img") == 12
    assert "nothing flagged" in section


def test_the_report_of_a_table_without_trust_says_that_it_cannot_tell(
    folds: Trained, tmp_path: Path
) -> None:
    assert folds.predictions is not None
    bare = folds.predictions.with_trust(
        folds.predictions.frame.drop(columns=["familiarity", "flags", "set", "answer"]), None
    )
    page = write_report(folds.run, bare, tmp_path / "r.html", resamples=100).read_text()
    assert "it cannot tell the unfamiliar" in page


@pytest.mark.parametrize("options", [SetOptions(0.8, "aps"), SetOptions(0.8, by_class=True)])
def test_method_and_classes_are_as_asked(
    folds: Trained, strange: Path, options: SetOptions
) -> None:
    from eosin.inference.scoring import PredictOptions

    scored = predict(folds.run, [strange], PredictOptions(sets=options)).predictions
    assert scored.trust is not None
    assert (scored.trust.sets, scored.trust.by_class) == (options.method, options.by_class)
