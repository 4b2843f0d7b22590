"""One file: the old one or the new one, never through a link, never over something else."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eosin.errors import DataError, DiskError
from eosin.files import (
    contents,
    disk_errors,
    replacing,
    require_writable,
    shortened,
    write_text,
)

# A process that is writing a file: it says so, and then waits to be told to go on, or is killed.
WRITER = """
import os, signal, sys
from pathlib import Path
from eosin.files import replacing
with replacing(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    print("writing", flush=True)
    if sys.stdin.readline().startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    draft.write_text("whole")
"""


def begin_to_write(path: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_swept_by_the_next_writer_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    killed, alive = (begin_to_write(tmp_path / name) for name in ("evaluation.json", "other.json"))
    killed.communicate("die\n")
    assert len(names(tmp_path)) == 2  # a draft of each
    write_text(tmp_path / "evaluation.json", "new")
    assert (tmp_path / "evaluation.json").read_text() == "new"
    assert len(names(tmp_path)) == 2  # the other one's draft is not touched
    assert alive.communicate("go on\n") == ("", None)
    assert alive.returncode == 0
    assert (tmp_path / "other.json").read_text() == "whole"
    assert names(tmp_path) == ["evaluation.json", "other.json"]


def test_names_of_drafts_cannot_be_guessed_and_a_link_that_lies_there_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for _ in range(3):
        with replacing(tmp_path / "p.csv") as draft:
            seen.add(draft.name)
    assert len(seen) == 3
    assert all(len(name.split(".")[-2]) == 16 for name in seen)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 16)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / f".p.csv.{'0' * 16}.part").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(DiskError):
        write_text(tmp_path / "p.csv", "new")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "far" / "e.json", tmp_path / "e.json"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("far/e.json")
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert names(tmp_path / "far") == ["e.json"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket"])
def test_only_a_regular_file_is_replaced(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("out")
    before = path.lstat()
    with pytest.raises(DiskError, match=f"out: is a {kind}, and a file is to be written"):
        write_text(path, "new")
    assert os.path.samestat(before, path.lstat())
    assert names(tmp_path) == ["out"]


def test_a_link_that_leads_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DiskError, match="links lead in a circle"):
        write_text(tmp_path / "a", "new")


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    with pytest.raises(DiskError, match=r"File name too long.*name a shorter one"):
        write_text(tmp_path / ("n" * 256), "new")


def test_a_long_name_is_cut_to_one_that_tells_it_from_others_and_is_still_text() -> None:
    first, second = (shortened("ö" * 200 + end, 60) for end in "ab")
    assert first != second
    assert len(first.encode()) <= 60
    assert shortened("SOB_M_DC-14-2523-400-001", 60) == "SOB_M_DC-14-2523-400-001"


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "a place that you may write to"),
        (errno.EACCES, "a place that you may write to"),
        (errno.ENOTDIR, "a file lies where a folder is wanted"),
        (errno.EISDIR, "name a file, not a folder"),
        (errno.EIO, "name another"),
    ],
)
def test_whatever_the_disk_refuses_is_one_sentence_that_names_path_reason_and_fix(
    tmp_path: Path, number: int, fix: str
) -> None:
    reason = os.strerror(number)
    path = tmp_path / "p.csv"
    path.write_text("old")

    def refuse() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise OSError(number, reason, str(draft))

    with pytest.raises(DiskError) as caught:
        refuse()
    assert str(caught.value).startswith(f"{path}: cannot be written ({reason}); ")
    assert fix in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["p.csv"]


def test_what_a_library_made_of_a_full_disk_is_known_again(tmp_path: Path) -> None:
    def of_rust() -> None:
        raise ValueError("Error while serializing: No space left on device (os error 28)")

    def of_a_callback() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 - as PyTorch does

    for fault in (of_rust, of_a_callback):
        with (
            pytest.raises(DiskError, match=r"w: cannot be written \(No space left"),
            disk_errors("w"),
        ):
            fault()
    with pytest.raises(ZeroDivisionError), disk_errors("w"):  # a fault of ours is not the disk's
        1 / 0  # noqa: B018


def test_errors_of_our_own_and_a_closed_pipe_pass_as_they_are() -> None:
    for error in (DataError("is empty"), BrokenPipeError()):
        with pytest.raises(type(error)) as caught, disk_errors("w"):
            raise error
        assert caught.value is error


def test_that_a_place_can_be_written_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    require_writable(tmp_path / "new" / "deeper" / "p.csv")
    assert names(tmp_path) == ["afile"]
    with pytest.raises(DiskError, match=r"afile.*a file lies where a folder is wanted"):
        require_writable(tmp_path / "afile" / "deeper" / "p.csv")
    with pytest.raises(DiskError, match="too long"):
        require_writable(tmp_path / ("d" * 256) / "p.csv")
    name = "n" * 250
    require_writable(tmp_path / name)
    with pytest.raises(DiskError, match=r"\.meta\.json: cannot be written \(File name too long"):
        require_writable(tmp_path / name, names=[f"{name}.meta.json"])


def test_a_folder_with_leftovers_alone_is_empty(tmp_path: Path) -> None:
    killed = begin_to_write(tmp_path / "p.csv")
    killed.communicate("die\n")
    (tmp_path / ".run.eosin.lock").touch()
    assert names(tmp_path) != []
    assert contents(tmp_path) == []
    (tmp_path / ".hidden").touch()
    assert contents(tmp_path) == [".hidden"]
    assert contents(tmp_path / "none") == []
