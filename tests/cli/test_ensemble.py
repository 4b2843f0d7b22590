"""`eosin ensemble` as a user types it: from Runs to a Run, and on to predictions and a report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.run import EnsembleRun
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.errors import DataError
from eosin.networks.run import read_run

PROBE = ["--freeze", "--backbone", "test_efficientnet", "--weights", "none", "--image-size", "32"]


def run(*words: object) -> str:
    """Run a command in this process; its output, once it has succeeded."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def home(drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split manifest ``s.csv`` and two Runs trained on it, ``a`` and ``b``."""
    home = tmp_path_factory.mktemp("home")
    split_by_fractions(drawn_breakhis, (0.4, 0.35, 0.25), seed=0).write(home / "s.csv")
    for seed, name in enumerate("ab"):
        run("train", home / "s.csv", "-o", home / name, *PROBE, "--seed", seed)
    return home


@pytest.mark.parametrize("vote", ["soft", "hard", "weighted", "fusion"])
def test_an_ensemble_goes_all_the_way_to_a_report(home: Path, vote: str, tmp_path: Path) -> None:
    out = tmp_path / "ensemble"
    fit = ["--manifest", home / "s.csv"]
    said = run("ensemble", home / "a", home / "b", "-o", out, "--vote", vote, *fit)
    title = "fusion of" if vote == "fusion" else f"{vote} vote of"
    assert f"{title} test_efficientnet + test_efficientnet" in said
    assert "patient-level" in said
    run("predict", out, home / "s.csv", "-o", tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert len(table) == (pd.read_csv(home / "s.csv")["split"] == "test").sum()
    run("evaluate", tmp_path / "p.csv", "-o", tmp_path / "e.json", "--resamples", 100)
    run("report", out, tmp_path / "p.csv", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for member in read_run(out).record.inside:
        assert member.sha256 in page


def test_a_weighted_vote_prints_each_members_weight(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "w"
    words = ["--vote", "weighted", "--manifest", home / "s.csv"]
    said = run("ensemble", home / "a", home / "b", "-o", out, *words)
    record = read_run(out).record
    assert isinstance(record, EnsembleRun)
    weights = record.weights
    for name, weight in zip("ab", weights, strict=True):
        assert f"{weight:.3f}  {home / name}" in said


def test_a_vote_that_must_be_fitted_asks_for_the_manifest(home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--manifest"):
        run("ensemble", home / "a", home / "b", "-o", tmp_path / "w", "--vote", "weighted")


def test_runs_of_folds_give_out_of_fold_predictions_ready_to_be_scored(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    split_into_folds(drawn_breakhis, 3, seed=0).write(tmp_path / "s.csv")
    (tmp_path / "c.toml").write_text("fold_validation = true\n")
    for seed, name in enumerate("ab"):
        words = ["--fold", "all", "--seed", seed, "--config", tmp_path / "c.toml"]
        run("train", tmp_path / "s.csv", "-o", tmp_path / name, *PROBE, *words)
    fit = ["--vote", "fusion", "--manifest", tmp_path / "s.csv"]
    said = run("ensemble", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "f", *fit)
    table = tmp_path / "f" / "predictions.csv"
    assert f"out-of-fold predictions: {table}" in said
    run("evaluate", table, "-o", tmp_path / "e.json", "--resamples", 100)
    run("report", tmp_path / "f", table, "-o", tmp_path / "report.html")
    assert "fusion of test_efficientnet" in (tmp_path / "report.html").read_text(encoding="utf-8")
