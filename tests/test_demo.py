"""The demo does the whole main job; here in miniature."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.data.synthetic import SyntheticOptions
from eosin.demo import SETTINGS, run_demo


def test_the_demo_leaves_every_artefact_of_the_main_job(tmp_path: Path, told) -> None:
    settings = SETTINGS.with_overrides({"image_size": 32, "device": "cpu"})
    images = SyntheticOptions(patients=12, images=36, size=64, seed=1)
    made = run_demo(tmp_path / "out", progress=told, settings=settings, images=images)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"data", "manifest.csv", "run", "predictions.csv", "evaluation.json"} <= names
    assert made.report.is_file()
    assert "patient-level, 60/15/25" in made.report.read_text(encoding="utf-8")
    assert made.evaluation.provenance.protocol.name == "patient-level, 60/15/25"
    assert len(told.notes) == 3


def test_the_demo_never_writes_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years of work")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "not empty" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
