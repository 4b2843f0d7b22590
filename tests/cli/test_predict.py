"""`eosin predict`: interrupted, gone on with, and never losing what was scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.inference import journal as room
from eosin.inference.journal import journal_path
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def places(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A Run and its split manifest."""
    home = tmp_path_factory.mktemp("probe")
    divided = split_by_fractions(drawn_breakhis, (0.25, 0.25, 0.5), seed=0)
    divided.write(home / "s.csv")
    train(divided, home / "run", small_probe)
    return home / "run", home / "s.csv"


def say(*words: object) -> tuple[int, str, BaseException | None]:
    """Exit code, output and error of a command."""
    result = CliRunner().invoke(app, ["predict", *(str(word) for word in words)])
    return result.exit_code, result.output, result.exception


def test_ctrl_c_says_what_is_kept_and_resume_goes_on(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = room.append_bytes, [0]

    def interrupted(file: int, data: bytes) -> None:
        calls[0] += 1
        if calls[0] > 3:
            raise KeyboardInterrupt
        append(file, data)

    words = (*places, "-o", tmp_path / "p.csv", "--batch-size", 5)
    with monkeypatch.context() as patch:
        patch.setattr(room, "append_bytes", interrupted)
        code, said, _ = say(*words)
    assert code == 130
    assert "10 of 24 files are done and kept" in said
    assert "--resume" in said
    code, _, error = say(*words)
    assert code == 1
    assert "10 images scored" in str(error)
    code, said, _ = say(*words, "--resume")
    assert (code, "24 images scored" in said) == (0, True)
    assert not journal_path(tmp_path / "p.csv").exists()


def test_resume_and_overwrite_together_are_refused(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, error = say(*places, "-o", tmp_path / "p.csv", "--resume", "--overwrite")
    assert code == 1
    assert "give one of them" in str(error)


def test_an_engine_that_cannot_run_the_run_is_named(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, error = say(*places, "-o", tmp_path / "p.csv", "--engine", "onnxruntime")
    assert code == 1
    assert "eosin export" in str(error)
    assert not list(tmp_path.iterdir())
