"""`eosin predict`: interrupted, gone on with, and never losing what was scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.inference import journal as room
from eosin.inference.journal import journal_path
from eosin.pixels import batches as batches_room
from eosin.pixels.reading import error_table_path, image_in_turn
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def inputs(
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
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = room.append_bytes, [0]

    def interrupted(file: int, data: bytes) -> None:
        calls[0] += 1
        if calls[0] > 3:
            raise KeyboardInterrupt
        append(file, data)

    words = (*inputs, "-o", tmp_path / "p.csv", "--batch-size", 5)
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
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, error = say(*inputs, "-o", tmp_path / "p.csv", "--resume", "--overwrite")
    assert code == 1
    assert "give one of them" in str(error)


def test_an_engine_that_cannot_run_the_run_is_named(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, error = say(*inputs, "-o", tmp_path / "p.csv", "--engine", "onnxruntime")
    assert code == 1
    assert "eosin export" in str(error)
    assert not list(tmp_path.iterdir())


def test_odd_files_become_rows_of_the_error_table_and_resume_does_not_meet_them_again(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "images", tmp_path / "p.csv"
    folder.mkdir()
    for path in read_manifest(inputs[1]).in_split("test").paths[:12]:
        (folder / f"z-{path.name}").write_bytes(path.read_bytes())
    Image.new("L", (1 << 21, 1)).save(folder / "a-side.png")
    Image.new("F", (64, 64), 0.5).save(folder / "b-float.tif")
    Image.new("P", (9, 9)).save(folder / "c-palette.png")
    data = (folder / "c-palette.png").read_bytes()
    (folder / "c-palette.png").write_bytes(data.replace(b"PLTE", b"plTE"))
    words = (inputs[0], folder, "-o", out, "--batch-size", 5)
    append, calls, met = room.append_bytes, [0], []

    def interrupted(file: int, data: bytes) -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise KeyboardInterrupt
        append(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(room, "append_bytes", interrupted)
        assert say(*words)[0] == 130
    with monkeypatch.context() as patch:
        patch.setattr(
            batches_room, "image_in_turn", lambda path: met.append(path.name) or image_in_turn(path)
        )
        code, said, _ = say(*words, "--resume")
    assert (code, "12 images scored" in said, "3 files were skipped" in said) == (3, True, True)
    assert len(met) == 10
    assert all(name.startswith("z-") for name in met)
    errors = error_table_path(out).read_text()
    for words_of in ("65,500 pixels a side", "not supported", "damaged PNG"):
        assert words_of in errors


def test_the_limit_of_pixels_is_an_option_of_the_command_that_names_it(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((60, 40, 3), 200, np.uint8)).save(path)
    words = (inputs[0], path, "-o", tmp_path / "p.csv")
    code, _, error = say(*words, "--max-megapixels", 0.002)
    assert (code, "0.002 megapixels; cut it into smaller images or raise --max-megapixels") == (
        1,
        str(error).partition("limit of ")[2],
    )
    assert say(*words, "--overwrite")[0] == 0
