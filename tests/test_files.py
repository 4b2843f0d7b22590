"""One file: the old one or the new one, never through a link, never over something else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eosin.errors import DataError, DiskError
from eosin.files import (
    as_paths,
    contents,
    disk_errors,
    drafted,
    replacing,
    require_file,
    require_writable,
    sha256_of,
    shortened,
    sweep,
    valid_text,
    write_json,
    write_text,
)
from eosin.locks import one_writer

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
        (errno.EROFS, "a path that you may write to"),
        (errno.EACCES, "a path that you may write to"),
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


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("runs/a", [Path("runs/a")]),
        (Path("runs/a"), [Path("runs/a")]),
        (["a", Path("b")], [Path("a"), Path("b")]),
        ((name for name in "ab"), [Path("a"), Path("b")]),
        ([], []),
    ],
)
def test_one_path_and_several_are_a_list_and_a_text_is_not_its_letters(
    given: str | Path | list[str], paths: list[Path]
) -> None:
    assert as_paths(given) == paths


def test_a_block_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            assert draft.parent == tmp_path
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["p.csv"]


def test_whoever_reads_meanwhile_sees_the_old_file_until_the_new_one_is_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "deep" / "p.csv"
    with replacing(path) as draft:
        assert not path.exists()
        assert draft.stat().st_size == 0
        draft.write_text("first")
    with path.open() as reader, replacing(path) as draft:
        draft.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert reader.closed


def test_a_folder_that_takes_the_files_place_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def overtaken() -> None:
        with replacing(path) as draft:
            draft.write_text("new")
            path.mkdir()

    with pytest.raises(DiskError, match="out: is a folder"):
        overtaken()
    assert path.is_dir()
    assert names(tmp_path) == ["out"]


def test_a_draft_folder_is_beside_its_target_and_gone_with_all_in_it(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with drafted(target, folder=True) as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "file").touch()
        assert contents(tmp_path) == []  # nobody takes it for a result
        sweep(tmp_path)  # it is being written: it stays
        assert (draft / "inner" / "file").is_file()
    assert names(tmp_path) == []
    with drafted(target, folder=True) as draft:
        (draft / "run.json").touch()
        draft.rename(target)
    assert names(target) == ["run.json"]


def test_a_sweep_takes_dead_drafts_alone_and_no_file_of_a_user(tmp_path: Path) -> None:
    dead = f".p.csv.{'a0' * 8}.part"
    kept = [
        f"p.csv.{'a0' * 8}.part",  # not hidden
        f".p.csv.{'a0' * 7}.part",  # too short
        f".p.csv.{'A0' * 8}.part",
        f".p.csv.{'a0' * 8}.partial",
        ".hidden",
    ]
    for name in (dead, *kept):
        (tmp_path / name).write_text("x")
    folder = tmp_path / f".run.{'0b' * 8}.part"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / f".q.{'c1' * 8}.part"
    link.symlink_to("mine")  # somebody else put it there: what it leads to is not touched
    sweep(tmp_path)
    assert names(tmp_path) == sorted([*kept, "mine", link.name])
    assert (tmp_path / "mine").read_text() == "mine"
    sweep(tmp_path / "none")  # no such folder: nothing to do
    sweep(tmp_path / "mine")


def test_an_output_that_is_held_is_swept_once_and_not_before_every_file(tmp_path: Path) -> None:
    dead = tmp_path / f".p.csv.{'a0' * 8}.part"
    with one_writer(tmp_path / "run"):
        (tmp_path / "run").mkdir()
        inside = tmp_path / "run" / dead.name
        inside.touch()
        write_text(tmp_path / "run" / "a.json", "{}")
        assert not inside.exists()
        inside.touch()
        write_text(tmp_path / "run" / "b.json", "{}")
        assert inside.exists()
    write_text(tmp_path / "run" / "c.json", "{}")
    assert not inside.exists()


def test_json_is_indented_as_it_is_and_what_json_does_not_know_leaves_the_old_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "e.json"
    write_json(path, {"a": "Müller", "b": [1, None]})
    text = path.read_text(encoding="utf-8")
    assert text == '{\n  "a": "Müller",\n  "b": [\n    1,\n    null\n  ]\n}\n'
    for value in (float("nan"), float("inf"), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"a": value})
    assert path.read_text(encoding="utf-8") == text
    assert names(tmp_path) == ["e.json"]


def test_a_name_that_is_not_utf8_goes_through_json_and_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "e.json", {"path": name})
    assert json.loads((tmp_path / "e.json").read_bytes()) == {"path": name}
    assert valid_text(valid_text(name)) == valid_text(name) == r"caf\xe9.png"


@pytest.mark.parametrize("data", [b"", b"abc", b"\r\n\0" * 100_000])
def test_a_digest_is_that_of_the_bytes_and_64_digits_long(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()
    assert len(sha256_of(tmp_path / "f")) == 64


def test_names_up_to_the_limit_stay_and_one_byte_more_is_cut() -> None:
    assert shortened("n" * 180) == "n" * 180
    cut = shortened("n" * 181)
    assert len(cut) == 180
    assert cut.startswith("n" * 171 + "~")
    assert cut[-8:] == hashlib.sha256(b"n" * 181).hexdigest()[:8]


def test_nothing_and_a_file_may_be_written_and_a_device_may_not(tmp_path: Path) -> None:
    require_file(tmp_path / "new")
    (tmp_path / "file").touch()
    require_file(tmp_path / "file")
    with pytest.raises(DiskError, match="/dev/null: is a device, and a file is to be written"):
        require_file(Path("/dev/null"))


@pytest.mark.parametrize("named", ["given", "bytes", "nothing", "a draft"])
def test_the_path_that_the_user_knows_is_named(named: str, tmp_path: Path) -> None:
    told = {
        "given": str(tmp_path / "other.csv"),
        "bytes": os.fsencode(tmp_path / "other.csv"),
        "nothing": None,
        "a draft": str(tmp_path / f".p.csv.{'a0' * 8}.part"),
    }[named]
    shown = tmp_path / ("other.csv" if named in ("given", "bytes") else "p.csv")
    with pytest.raises(DiskError) as caught, disk_errors(tmp_path / "p.csv", doing="read"):
        raise OSError(errno.EIO, "Input/output error", told)
    assert str(caught.value) == (
        f"{shown}: cannot be read (Input/output error); correct the path, or name another"
    )


def test_what_to_do_next_stands_once_behind_the_fix_through_every_block() -> None:
    with (
        pytest.raises(DiskError) as caught,
        disk_errors("run", then="then run it again"),
        disk_errors("p.csv"),
    ):
        raise OSError(errno.ENOSPC, "full", "p.csv")
    said = "p.csv: cannot be written (full); make room, or name a path on another disk"
    assert str(caught.value) == f"{said}, then run it again"


def test_an_error_that_only_followed_another_one_is_not_the_disks() -> None:
    def parse() -> None:
        try:
            raise FileNotFoundError(errno.ENOENT, "No such file", "a.toml")
        except OSError:
            raise ValueError("no settings") from None

    with pytest.raises(ValueError, match="no settings"), disk_errors("w"):
        parse()


def test_a_folder_that_is_there_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").touch()
    require_writable(tmp_path / "run", names=["run.json", "model.safetensors"])
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["kept"]
    with pytest.raises(DiskError, match="File name too long"):
        require_writable(tmp_path / "run", names=["n" * 300])
