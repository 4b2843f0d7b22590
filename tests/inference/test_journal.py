"""The journal of a prediction: what it keeps is exact, and it goes on with the same work alone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.codec import plain, sealed, with_changes
from eosin.artefacts.journal import JournalHead
from eosin.errors import DataError, DiskError
from eosin.inference.journal import (
    Journal,
    append_bytes,
    journal_path,
    keeping,
    require_none_begun,
)
from eosin.inference.journal_head import require_same
from eosin.inference.readings import Reading
from eosin.pixels.reading import SkippedFile
from eosin.trust.reference import Look

HEAD = JournalHead(
    run="runs/bh",
    run_sha256="a" * 64,
    images=10,
    images_sha256="b" * 64,
    split="test",
    allow_seen=False,
    device="auto",
    engine="auto",
    batch_size=4,
    eosin="0.3.0",
)
CHANCES = np.array([0.1 + 0.2, 1 / 3, 5e-324, 1.0, 0.5, 1 - 2**-53, 0.25, 0.125, 0.75, 0.6])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.png" for n in range(10)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def part(rows: Sequence[int], *, skipped: Sequence[SkippedFile] = ()) -> Reading:
    """Of these files the chances above, of two classes."""
    values = np.stack([CHANCES[list(rows)], 1 - CHANCES[list(rows)]], axis=1)
    looks = tuple(Look(None if n % 2 else 0.1 * n, ("blurred",) * (n % 2)) for n in rows)
    return Reading(
        np.array(rows), values, tuple(skipped), tuple("grey" * (n == 1) for n in rows), looks
    )


def keep(path: Path, files: Sequence[Path], parts: Sequence[Reading]) -> None:
    with Journal.begin(path, HEAD, files) as journal:
        for each in parts:
            journal.append(each)


def resumed(path: Path, files: Sequence[Path], *, head: JournalHead = HEAD) -> Reading:
    with Journal.resume(path, head, files, classes=2) as journal:
        assert len(journal.kept.values) + len(journal.kept.skipped) == journal.done
        return journal.kept


def test_everything_that_was_said_of_a_file_comes_back_exactly(
    files: list[Path], tmp_path: Path
) -> None:
    path, bad = tmp_path / "p.csv.partial.jsonl", SkippedFile(files[2], "is empty: déjà vu")
    keep(path, files, [part([0, 1, 3], skipped=[bad]), part([4, 5, 6, 7])])
    found = resumed(path, files)
    kept = [0, 1, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(found.values[:, 0], CHANCES[kept])
    assert found.indices.tolist() == kept
    assert found.skipped == (bad,)
    assert found.notes == tuple("grey" * (n == 1) for n in kept)
    assert found.looks == part(kept).looks


def test_a_batch_that_is_not_whole_is_scored_again_but_the_last_one_may_be_less(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    for rows, done in (([[0, 1, 2, 3], [4, 5]], 4), ([[0, 1]], 0), ([[0, 1, 2, 3]], 4)):
        keep(path, files, [part(each) for each in rows])
        assert len(resumed(path, files).values) == done
    keep(path, files, [part([0, 1, 2, 3]), part([4, 5, 6, 7]), part([8, 9])])
    assert len(resumed(path, files).values) == 10


def test_what_is_begun_again_is_cut_off_behind_what_counts(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    keep(path, files, [part([0, 1, 2, 3])])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"file": "torn')
    with Journal.resume(path, HEAD, files, classes=2) as journal:
        assert path.read_bytes() == whole
        journal.append(part([4, 5, 6, 7]))
        assert journal.done == 8
    assert path.read_bytes().startswith(whole)
    assert len(path.read_bytes().splitlines()) == 9
    np.testing.assert_array_equal(resumed(path, files).values[:, 0], CHANCES[:8])


def test_a_journal_in_which_nothing_is_scored_is_not_left_behind(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "j"
    with Journal.begin(path, HEAD, files):
        assert json.loads(path.read_text()) == sealed(HEAD)
    assert not path.exists()
    bad = [SkippedFile(file, "is empty") for file in files[:4]]
    with Journal.begin(path, HEAD, files) as journal:
        journal.append(Reading(np.empty(0, np.int64), np.empty((0, 0)), tuple(bad)))
        assert journal.done == 4
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), Journal.begin(path, HEAD, files):
        raise ZeroDivisionError
    assert not path.exists()


def test_a_new_journal_takes_the_place_of_an_old_one(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "j"
    keep(path, files, [part([0, 1, 2, 3])])
    with pytest.raises(DataError, match=r"j: an unfinished prediction lies here, 4 images scored"):
        require_none_begun(path)
    with Journal.begin(path, HEAD, files) as journal:
        assert (journal.done, len(journal.kept.values)) == (0, 0)
        assert path.read_text().count("\n") == 1
    require_none_begun(path)  # nothing is there
    path.write_text("not a journal\n")
    require_none_begun(path)  # nothing that could be lost


def test_a_link_in_the_place_of_a_journal_is_not_followed(
    files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "j").symlink_to("mine")
    with pytest.raises(DiskError, match="--resume"):
        Journal.begin(tmp_path / "j", HEAD, files)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_sha256": "c" * 64}, "another Run (runs/bh, run.json cccccccccccc then, runs/bh, "),
        ({"images_sha256": "d" * 64}, "other images (10 images, fingerprint dddddddddddd then"),
        ({"split": "val"}, "another --split (val then, test now)"),
        ({"allow_seen": True}, "another --allow-seen (True then, False now)"),
        ({"device": "cuda"}, "another --device (cuda then, auto now)"),
        ({"engine": "torch"}, "another --engine (torch then, auto now)"),
        ({"batch_size": 8}, "another --batch-size (8 then, 4 now)"),
        ({"eosin": "0.2.0"}, "another version of eosin (0.2.0 then, 0.3.0 now)"),
    ],
)
def test_whatever_decides_the_numbers_is_named_where_it_differs(
    change: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        require_same(HEAD, sealed(with_changes(HEAD, **change)), Path("j"))
    assert str(caught.value).startswith(f"j: was begun with {said}")
    assert str(caught.value).endswith("or start anew with --overwrite")


def test_where_the_run_lies_and_how_many_images_there_are_decide_nothing() -> None:
    moved = with_changes(HEAD, run="elsewhere/bh", images=11)
    require_same(HEAD, sealed(moved), Path("j"))


def test_a_head_that_was_changed_by_hand_is_refused_with_the_fix_that_is_given() -> None:
    for fields in ({**sealed(HEAD), "split": "val"}, plain(HEAD), {"format_version": 2}):
        with pytest.raises(DataError, match=r"^j: .* name another folder$"):
            require_same(HEAD, fields, Path("j"), fix="name another folder")


def test_another_prediction_and_a_changed_or_lost_file_are_refused_and_nothing_is_lost(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    keep(path, files, [part([0, 1, 2, 3])])
    whole = path.read_bytes()
    with pytest.raises(DataError, match="another --split"):
        resumed(path, files, head=with_changes(HEAD, split="val"))
    with pytest.raises(DataError, match=r"1\.png: has changed since it was scored; .*--overwrite"):
        resumed(path, [files[1], files[0], *files[2:]])
    files[3].write_bytes(b"longer than before")
    with pytest.raises(DataError, match=r"3\.png: has changed since it was scored"):
        resumed(path, files)
    files[3].unlink()
    with pytest.raises(DataError, match=r"3\.png: has changed since it was scored"):
        resumed(path, files)
    assert path.read_bytes() == whole


def test_a_file_that_was_never_there_is_known_again_as_long_as_it_is_not(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    files[1].unlink()
    lost = SkippedFile(files[1], "no such image")
    keep(path, files, [part([0, 2, 3], skipped=[lost])])
    assert resumed(path, files).skipped == (lost,)
    files[1].write_bytes(b"here now")
    with pytest.raises(DataError, match=r"1\.png: has changed since it was scored"):
        resumed(path, files)


@pytest.mark.parametrize(
    ("networks", "classes", "values", "done"),
    [
        (0, 2, [[0.5, 0.5]] * 4, 4),
        (0, 2, [[3.0, -2.0]] * 4, 0),  # logits are no probabilities
        (0, 3, [[0.5, 0.5]] * 4, 0),
        (1, 2, [[3.0, -2.0]] * 4, 4),
        (2, 2, [[3.0, -2.0, 0.0, 1e308]] * 4, 4),
        (2, 2, [[3.0, -2.0]] * 4, 0),
    ],
)
def test_a_line_counts_where_it_holds_as_many_numbers_of_the_kind_as_are_wanted(
    networks: int,
    classes: int,
    values: list[list[float]],
    done: int,
    files: list[Path],
    tmp_path: Path,
) -> None:
    path = tmp_path / "j"
    rows = Reading(np.arange(4), np.array(values), (), ("",) * 4)
    keep(path, files, [rows])
    with Journal.resume(path, HEAD, files, classes=classes, networks=networks) as journal:
        assert journal.done == done
        if done:
            np.testing.assert_array_equal(journal.kept.values, values)


def test_a_run_that_knows_no_reference_has_no_looks_after_a_stop_either(
    files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    keep(path, files, [Reading(np.arange(4), np.full((4, 2), 0.5), (), ("",) * 4)])
    assert resumed(path, files).looks == ()


def test_the_journal_of_a_table_is_its_own_and_what_a_full_disk_leaves_is_named() -> None:
    assert journal_path(Path("runs/p.csv")) == Path("runs/p.csv.partial.jsonl")
    assert journal_path(Path("p")) != journal_path(Path("p.csv"))
    with (
        pytest.raises(DiskError, match=r"--resume: what is scored is kept in p\.csv\.partial"),
        keeping(Path("p.csv.partial.jsonl")),
    ):
        raise OSError(28, "No space left on device")


def test_bytes_are_written_to_the_end_however_few_the_system_takes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    handle = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    append_bytes(handle, b"0123456789")
    append_bytes(handle, b"")
    os.close(handle)
    assert (tmp_path / "f").read_bytes() == b"0123456789"
