"""One writer at a time: who holds an output is named, and nothing that died holds it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from eosin.errors import DataError, DiskError, EosinWarning
from eosin.files import write_text
from eosin.locks import one_writer

HOLDER = """
import sys
from pathlib import Path
from eosin.locks import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
# Adds one to a number, many times, whenever no other process is about to.
COUNTER = """
import sys, time
from pathlib import Path
from eosin.errors import DataError
from eosin.locks import one_writer
path = Path(sys.argv[1])
for _ in range(60):
    while True:
        try:
            with one_writer(path):
                number = int(path.read_text())
                time.sleep(0.0005)
                path.write_text(str(number + 1))
            break
        except DataError:
            time.sleep(0.0005)
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def hold(path: Path) -> subprocess.Popen[str]:
    holder = start(HOLDER, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("kind", ["table", "folder", "link"])
def test_a_second_process_is_told_who_is_at_work_since_when_and_changes_nothing(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
    if kind == "link":  # whatever an output is called, it is one
        (tmp_path / "other name").symlink_to(path)
    holder = hold(path)
    asked = tmp_path / "other name" if kind == "link" else path
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as caught, one_writer(asked):
        write_text(path / "run.json", "{}")
    said = f"{asked}: process {holder.pid} on .*, begun at 2.*T.*, is writing here; wait"
    assert re.match(said, str(caught.value))
    assert sorted(tmp_path.rglob("*")) == before
    (lock,) = tmp_path.glob(".*")
    assert set(json.loads(lock.read_text())) == {"pid", "host", "began"}
    holder.communicate("\n")
    with one_writer(asked):
        pass
    assert not list(tmp_path.glob(".*"))


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    holder = hold(tmp_path / "run")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    (lock,) = tmp_path.glob(".*")
    with one_writer(tmp_path / "run"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_processes_that_take_and_remove_a_lock_at_once_never_hold_it_together(
    tmp_path: Path,
) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    counters = [start(COUNTER, path) for _ in range(3)]
    assert [counter.communicate() and counter.returncode for counter in counters] == [0, 0, 0]
    assert path.read_text() == "180"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def refusal(path: Path) -> str:
    """What another thread is told that wants to write ``path``."""
    said: list[str] = []

    def elsewhere() -> None:
        try:
            with one_writer(path):
                said.append("nothing")
        except DataError as error:
            said.append(str(error))

    other = threading.Thread(target=elsewhere)
    other.start()
    other.join()
    return said[0]


def test_within_an_output_that_is_held_no_second_lock_is_needed_but_another_thread_is_refused(
    tmp_path: Path,
) -> None:
    with one_writer(tmp_path / "study"), one_writer(tmp_path / "study" / "cell" / "run"):
        write_text(tmp_path / "study" / "cell" / "run" / "run.json", "{}")
        assert f"process {os.getpid()} on " in refusal(tmp_path / "study")
        assert [path.name for path in tmp_path.glob("**/.*")] == [".study.eosin.lock"]
    assert refusal(tmp_path / "study") == "nothing"


def test_where_nothing_may_be_made_beside_a_folder_its_lock_lies_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = tmp_path / "volume", os.open
    folder.mkdir()

    def read_only_outside(path: Path, *rest: int) -> int:
        if Path(path).parent == tmp_path:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", read_only_outside)
    with one_writer(folder):
        assert [path.name for path in folder.iterdir()] == [".eosin.lock"]
        assert "is writing here" in refusal(folder)
    assert not list(folder.iterdir())
    assert "Read-only file system" in refusal(tmp_path / "new.csv")


def test_a_disk_without_locks_is_written_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    path = tmp_path / "p.csv"
    with pytest.warns(EosinWarning, match="this disk has no locks"), one_writer(path):
        write_text(path, "path\n")
    assert path.read_text() == "path\n"


def test_what_the_disk_refuses_while_an_output_is_held_says_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    wanted = pytest.raises(DiskError, match=r"model.safetensors: .*full.*, then run it again$")
    with wanted, one_writer(run, then="then run it again"):
        raise OSError(errno.ENOSPC, "disk full", str(run / "model.safetensors"))
    assert not list(tmp_path.glob(".*"))


def test_a_lock_whose_holder_cannot_be_read_is_respected_all_the_same(tmp_path: Path) -> None:
    lock = tmp_path / ".p.csv.eosin.lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert filelock.lock_descriptor(handle, blocking=False)
    os.write(handle, b"{torn")
    try:
        assert "another process is writing here; wait until" in refusal(tmp_path / "p.csv")
    finally:
        os.close(handle)
    assert lock.read_bytes() == b"{torn"
    assert refusal(tmp_path / "p.csv") == "nothing"  # nobody holds it now: it is taken over
    assert not lock.exists()


def test_the_folders_of_an_output_are_made_and_what_killed_processes_left_is_swept(
    tmp_path: Path,
) -> None:
    output = tmp_path / "runs" / "new" / "run"
    output.mkdir(parents=True)
    dead = [place / f".p.csv.{'a0' * 8}.part" for place in (output, output.parent)]
    for path in dead:
        path.touch()
    with one_writer(output):
        assert not any(path.exists() for path in dead)
    with one_writer(tmp_path / "other" / "deep" / "p.csv"):
        assert (tmp_path / "other" / "deep").is_dir()
    assert not (tmp_path / "other" / "deep" / "p.csv").exists()


def test_a_lock_that_was_removed_by_hand_does_no_harm_and_another_ones_is_left(
    tmp_path: Path,
) -> None:
    lock = tmp_path / ".p.csv.eosin.lock"
    with one_writer(tmp_path / "p.csv"):
        lock.unlink()
    assert not lock.exists()
    with one_writer(tmp_path / "p.csv"):
        lock.unlink()
        lock.write_text("another process")
    assert lock.read_text() == "another process"


def test_two_outputs_side_by_side_are_held_at_once_and_let_go_after_an_error(
    tmp_path: Path,
) -> None:
    with one_writer(tmp_path / "a"), one_writer(tmp_path / "ab"):
        assert len(list(tmp_path.glob(".*"))) == 2
    with pytest.raises(ZeroDivisionError), one_writer(tmp_path / "a"):
        1 / 0  # noqa: B018
    assert not list(tmp_path.glob(".*"))
    assert refusal(tmp_path / "a") == "nothing"


def test_a_refusal_is_the_same_error_through_an_outer_block(tmp_path: Path) -> None:
    with one_writer(tmp_path / "a"):
        said = refusal(tmp_path / "a")
    assert said.startswith(f"{tmp_path / 'a'}: process {os.getpid()} on ")
    assert said.endswith("wait until it has ended, or name another output")


def test_a_long_name_has_a_lock_that_the_disk_can_hold(tmp_path: Path) -> None:
    first, second = (tmp_path / ("n" * 249 + end) for end in ("a.csv", "b.csv"))
    with one_writer(first), one_writer(second):
        locks = [path.name for path in tmp_path.glob(".*")]
    assert len(locks) == 2
    assert max(map(len, locks)) < 255


def test_an_output_under_a_file_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    with (
        pytest.raises(DiskError, match=r"cannot be read or written .*a file lies where a folder"),
        one_writer(tmp_path / "afile" / "run"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]
