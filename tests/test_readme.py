"""The README tells the truth: its Python runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.cli.app import app

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(block.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    (auc,) = re.findall(
        r"^ROC AUC (0\.\d{3}) \[0\.\d{3}, 0\.\d{3}\] \(300 images, 300 patients\)", shown, re.M
    )
    assert float(auc) > 0.7
    assert "patient-level, 5-fold" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_verb_of_the_readme_has_a_help_page() -> None:
    verbs = set(re.findall(r"eosin (data \w+|[a-z]+)", README)) - {"on", "reproduces", "says"}
    spoken = {verb for verb in verbs if f"eosin {verb} " in README or f"eosin {verb}`" in README}
    commands = {verb for verb in spoken if re.search(rf"(^    |`)eosin {verb}\b", README, re.M)}
    assert {"split", "train", "report", "data breakhis", "doctor"} <= commands
    for verb in commands:
        result = CliRunner().invoke(app, [*verb.split(), "--help"])
        assert result.exit_code == 0, verb
