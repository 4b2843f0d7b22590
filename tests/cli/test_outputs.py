"""Every verb looks at its output before it reads anything, and says in a line what is wrong there.

The inputs here are no inputs at all: a verb that read them first would speak of them.
"""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.cli.app import _said, app
from eosin.cli.console import Terminated, stoppable
from eosin.errors import EosinError, EosinWarning

FILES = {
    "data breakhis": "data breakhis images -o OUT",
    "data bci": "data bci images -o OUT",
    "data folder": "data folder images -o OUT",
    "data audit": "data audit table.csv -o OUT",
    "split": "split table.csv -o OUT",
    "predict": "predict run images -o OUT",
    "evaluate": "evaluate table.csv -o OUT",
    "report": "report run table.csv -o OUT",
    "stain show": "stain show images -o OUT",
    "bench": "bench run --json OUT",
}
FOLDERS = {
    "data synthetic": "data synthetic OUT",
    "train": "train table.csv -o OUT",
    "ensemble": "ensemble run run2 -o OUT",
    "export": "export run -o OUT",
    "explain": "explain run images -o OUT",
    "compare": "compare table.csv table2.csv -o OUT",
    "stain normalize": "stain normalize table.csv -o OUT",
    "study": "study study.toml -o OUT --data images",
    "demo": "demo --out OUT",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that only look like inputs."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "run2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("no record")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    for name in ("table.csv", "table2.csv"):
        (tmp_path / name).write_text("no table")
    return tmp_path


def refused(words: str, out: object) -> str:
    """What a verb says of its output, once it is known that it said no more and changed nothing."""
    before = snapshot(Path())
    result = CliRunner().invoke(app, words.replace("OUT", str(out)).split())
    assert isinstance(result.exception, EosinError), f"{result.output}\n{result.exception!r}"
    assert snapshot(Path()) == before
    assert "\n" not in str(result.exception)
    return str(result.exception)


def snapshot(folder: Path) -> dict[Path, object]:
    """Everything below a folder: what it is, and the bytes of files."""
    return {
        path: path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("verb", FILES)
def test_a_file_goes_neither_over_a_folder_a_pipe_or_an_image_nor_where_none_can_be(
    verb: str, folder: Path
) -> None:
    (folder / "adir").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "notes.txt").write_text("mine")
    words = FILES[verb]
    assert "adir: is a folder, and a file is to be written" in refused(words, "adir")
    assert "pipe: is a pipe, and a file is to be written" in refused(words, "pipe")
    assert "notes.txt: lies there already and is no " in refused(words, "notes.txt")
    assert "a file lies where a folder is wanted" in refused(words, "notes.txt/out")
    assert "name a shorter one" in refused(words, "n" * 256)
    said = refused(words, "images/a.png")
    assert "images/a.png: lies there already and is no " in said or "is an input" in said


@pytest.mark.parametrize("verb", FILES)
def test_a_file_does_not_go_over_what_is_read(verb: str, folder: Path) -> None:
    read = FILES[verb].split()[-3]
    over = {"images": "images/a.png", "run": "run/run.json"}.get(read, read)
    said = refused(FILES[verb], over)
    assert "is an input of this command" in said or "lies there already and is no " in said
    if read == "table.csv":
        assert "is an input of this command" in said


@pytest.mark.parametrize("verb", FOLDERS)
def test_a_folder_is_not_made_of_a_file_nor_where_none_can_be(verb: str, folder: Path) -> None:
    (folder / "afile").write_text("mine")
    assert "afile: is a file, and a folder is to be written" in refused(FOLDERS[verb], "afile")
    assert "a file lies where a folder is wanted" in refused(FOLDERS[verb], "afile/out")
    assert "name a shorter one" in refused(FOLDERS[verb], "n" * 256)


@pytest.mark.parametrize("verb", ["explain", "compare", "data synthetic", "study", "demo"])
def test_only_runs_are_written_where_a_run_is(verb: str, folder: Path) -> None:
    assert "holds a Run" in refused(FOLDERS[verb], "run")


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("train", "predictions.csv"),
        ("train", "model.safetensors"),
        ("ensemble", "errors.csv"),
        ("explain", "explanations.csv"),
        ("compare", "comparison.html"),
        ("compare", "models.csv"),
        ("stain normalize", "manifest.csv"),
        ("study", "study.html"),
    ],
)
def test_a_file_of_the_users_in_an_output_folder_is_not_written_over(
    verb: str, name: str, folder: Path
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("mine,\nall,mine\n")
    assert f"out/{name}: lies there already and is no " in refused(FOLDERS[verb], "out")


def test_whatever_the_disk_refuses_a_verb_is_an_error_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "table.csv")

    monkeypatch.setattr("eosin.artefacts.predictions.read_predictions", lambda _: refuse())
    said = refused("evaluate table.csv -o OUT", "e.json")
    assert said.startswith("table.csv: cannot be read or written (Permission denied); ")


@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_verb_that_is_stopped_says_so_and_how_to_go_on(
    stop: type[KeyboardInterrupt], code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: object) -> None:
        raise stop

    monkeypatch.setattr("eosin.artefacts.predictions.read_predictions", stopped)
    result = CliRunner().invoke(app, ["evaluate", "table.csv", "-o", "e.json"])
    assert result.exit_code == code
    assert result.output.count("\n") == 1
    assert "stopped; it was not done yet: run the same command again" in result.output
    assert code == 128 + (signal.SIGINT if code == 130 else signal.SIGTERM)


def test_what_is_kept_is_said_once_by_whoever_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BaseException) as caught, stoppable(), stoppable("go on", lambda: "2 of 3"):
        raise KeyboardInterrupt
    assert getattr(caught.value, "exit_code", None) == 130
    assert capsys.readouterr().out == "stopped; 2 of 3: go on\n"


def test_a_warning_of_ours_is_one_line_and_another_shows_its_place() -> None:
    assert _said("no cache", EosinWarning, "features.py", 7) == "no cache\n"
    python = warnings.WarningMessage("old", DeprecationWarning, "other.py", 7)
    assert "other.py:7" in _said(python.message, DeprecationWarning, "other.py", 7)
