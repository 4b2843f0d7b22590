"""`eosin init` writes a project that works, and every verb names the extra that it lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.errors import ConfigError
from eosin.study.config import read_study
from eosin.training.config import read_config

_WITHOUT = """
import sys
for name in ("torch", "torchvision", "timm", "sklearn", "onnx", "onnxruntime", "openvino"):
    sys.modules[name] = None
sys.argv = ["eosin", *sys.argv[1:]]
from eosin.cli.app import main
main()
"""


def _without_extras(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line where nothing but the base install is there."""
    line = [sys.executable, "-c", _WITHOUT, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_project_has_settings_a_study_and_steps_whose_verbs_exist(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["init", str(tmp_path / "p")]).exit_code == 0
    folder = tmp_path / "p"
    assert read_config(folder / "settings.toml") == read_config("frozen")
    study = read_study(folder / "study.toml")
    assert study.root == folder / "data"
    assert study.training.freeze
    steps = (folder / "steps.sh").read_text(encoding="utf-8")
    verbs = re.findall(r"^eosin (data \w+|\w+)", steps, re.MULTILINE)
    assert verbs == [
        "data folder", "data audit", "split", "train", "evaluate", "report", "study",
    ]  # fmt: skip
    for verb in verbs:
        assert CliRunner().invoke(app, [*verb.split(), "--help"]).exit_code == 0
    assert re.search(r"--patient '\^\(\\d\+\)_'", steps)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years of work")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_settings_are_found_by_name_on_the_command_line(
    tmp_path: Path, drawn_breakhis: Manifest
) -> None:
    drawn_breakhis.write(tmp_path / "m.csv")
    line = ["train", str(tmp_path / "m.csv"), "-o", str(tmp_path / "run"), "--config"]
    result = CliRunner().invoke(app, [*line, "frozn"])
    assert "did you mean 'frozen'" in str(result.exception)
    result = CliRunner().invoke(app, [*line, "frozen"])
    assert "divide it with `eosin split`" in str(result.exception)  # found; the manifest is not


@pytest.mark.parametrize("verb", ["train", "demo", "study"])
def test_a_verb_without_its_extra_says_what_to_install(
    verb: str, tmp_path: Path, drawn_breakhis: Manifest
) -> None:
    drawn_breakhis.write(tmp_path / "m.csv")
    words = {
        "train": ("train", tmp_path / "m.csv", "-o", tmp_path / "run", "--freeze"),
        "demo": ("demo", "--out", tmp_path / "demo"),
        "study": ("study", "study-stain", "-o", tmp_path / "s", "--data", tmp_path),
    }
    done = _without_extras(*words[verb])
    assert done.returncode == 1, done.stderr
    assert f"error: eosin {verb} needs t" in done.stderr
    assert 'pip install "eosin[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_base_install_still_reads_divides_and_audits(
    tmp_path: Path, drawn_breakhis: Manifest
) -> None:
    drawn_breakhis.write(tmp_path / "m.csv")
    line = ("split", tmp_path / "m.csv", "-o", tmp_path / "s.csv", "--folds", 3)
    assert _without_extras(*line).returncode == 0
    assert (
        _without_extras("data", "audit", tmp_path / "s.csv", "-o", tmp_path / "a.html").returncode
        == 0
    )
