"""Prediction in a stream: what is scored survives a kill, a full disk and a damaged file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.tables import SIDECAR, companion
from eosin.data.splits import split_by_fractions
from eosin.errors import DataError, LeakageError
from eosin.inference import journal as journal_room
from eosin.inference.journal import journal_path
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run
from eosin.networks.torch_engine import TorchEngine
from eosin.pixels import batches as batches_room
from eosin.pixels.reading import error_table_path, image_in_turn
from eosin.progress import Silent
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensemble
from eosin.training.train import train

SMALL = PredictOptions(batch_size=4)
# A process that is killed, as by `kill -9`, while it appends its third batch: half of it is
# written. Arguments: the Run, the folder of images, the table.
KILLED = """
import os, signal, sys
from pathlib import Path
from eosin.inference import journal
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import read_run
append, count = journal.append_bytes, []
def cut_short(file, data):
    count.append(1)
    if len(count) <= 3:
        return append(file, data)
    append(file, data[:len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
journal.append_bytes = cut_short
run, images, out = map(Path, sys.argv[1:])
predict_to_table(read_run(run), [images], out, PredictOptions(batch_size=4))
"""


@pytest.fixture(scope="module")
def divided(drawn_breakhis: Manifest) -> Manifest:
    return split_by_fractions(drawn_breakhis, (0.25, 0.25, 0.5), seed=0)


@pytest.fixture(scope="module")
def run(
    divided: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(divided, tmp_path_factory.mktemp("runs") / "probe", small_probe).run


@pytest.fixture
def images(divided: Manifest, tmp_path: Path) -> Path:
    """The images of new patients in one folder, one of them cut off in the middle."""
    folder = tmp_path / "images"
    folder.mkdir()
    for path in divided.in_split("test").paths:
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = sorted(folder.iterdir())[9]
    damaged.write_bytes(damaged.read_bytes()[:200])
    return folder


class StopAfter(Silent):
    """The end of the world once this many files are done."""

    def __init__(self, files: int) -> None:
        self.left = files

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:  # noqa: ARG002
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


def stop_after(files: int, run: Run, images: Path, out: Path) -> None:
    """Begin a prediction that ends once this many files are done."""
    with pytest.raises(KeyboardInterrupt):
        predict_to_table(run, [images], out, SMALL, progress=StopAfter(files))


def written(out: Path) -> tuple[bytes, bytes, bytes]:
    """The table, its sidecar and its errors, to the byte."""
    return out.read_bytes(), companion(out, SIDECAR).read_bytes(), errors_of(out)


def unbroken(run: Run, images: Path, out: Path) -> tuple[bytes, bytes, bytes]:
    """What a prediction that nothing interrupts writes; nothing of it is left."""
    predict_to_table(run, [images], out, SMALL)
    found = written(out)
    for path in (out, companion(out, SIDECAR), error_table_path(out)):
        path.unlink()
    return found


def errors_of(out: Path) -> bytes:
    return error_table_path(out).read_bytes()


def test_a_prediction_killed_in_the_middle_of_a_line_goes_on_to_the_same_bytes(
    run: Run, images: Path, tmp_path: Path, told
) -> None:
    out = tmp_path / "p.csv"
    whole = unbroken(run, images, out)
    words = [sys.executable, "-c", KILLED, str(run.folder), str(images), str(out)]
    killed = subprocess.run(words, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    torn = journal_path(out).read_bytes()
    assert not torn.endswith(b"\n")
    assert not out.exists()
    predict_to_table(run, [images], out, SMALL, resume=True, progress=told)
    assert told.works[0][2] == 8
    assert written(out) == whole
    assert not journal_path(out).exists()


def test_the_table_is_that_of_a_prediction_in_memory(
    run: Run, images: Path, tmp_path: Path
) -> None:
    scored = predict_to_table(run, [images], tmp_path / "p.csv", SMALL)
    memory = predict(run, [images], SMALL)
    again = read_predictions(tmp_path / "p.csv")
    np.testing.assert_array_equal(again.probabilities, memory.predictions.probabilities)
    assert scored.skipped == memory.skipped
    assert [item.path.name for item in scored.skipped] == [sorted(images.iterdir())[9].name]
    assert "truncated PNG" in errors_of(tmp_path / "p.csv").decode()


def test_an_unfinished_prediction_is_not_lost_unless_that_is_said(
    run: Run, images: Path, tmp_path: Path, told
) -> None:
    out = tmp_path / "p.csv"
    stop_after(12, run, images, out)
    with pytest.raises(DataError, match=r"11 images scored; .*--resume.*--overwrite"):
        predict_to_table(run, [images], out, SMALL)
    predict_to_table(run, [images], out, SMALL, overwrite=True, progress=told)
    assert told.works[0][2] == 0
    assert told.errors == 1


def test_another_run_is_refused_on_resume(
    run: Run, divided: Manifest, small_probe: TrainingConfig, images: Path, tmp_path: Path
) -> None:
    stop_after(8, run, images, tmp_path / "p.csv")
    other = train(divided, tmp_path / "other", small_probe.with_overrides({"seed": 5})).run
    with pytest.raises(DataError, match=r"p\.csv\.partial\.jsonl: was begun with another Run"):
        predict_to_table(other, [images], tmp_path / "p.csv", SMALL, resume=True)


def test_other_images_and_other_options_are_refused_on_resume(
    run: Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    stop_after(8, run, images, out)
    with pytest.raises(DataError, match=r"another --batch-size \(4 then, 5 now\)"):
        predict_to_table(run, [images], out, PredictOptions(batch_size=5), resume=True)
    first = sorted(images.iterdir())[0]
    before = first.stat()
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    with pytest.raises(DataError, match=f"{first.name}: has changed since it was scored"):
        predict_to_table(run, [images], out, SMALL, resume=True)
    first.unlink()
    with pytest.raises(DataError, match="was begun with other images"):
        predict_to_table(run, [images], out, SMALL, resume=True)
    assert journal_path(out).exists()


def test_resuming_where_nothing_was_begun_begins(run: Run, images: Path, tmp_path: Path) -> None:
    scored = predict_to_table(run, [images], tmp_path / "p.csv", SMALL, resume=True)
    assert len(scored.predictions) + len(scored.skipped) == len(list(images.iterdir()))


def test_a_name_that_is_not_utf8_is_scored_and_a_stopped_prediction_of_it_ends(
    run: Run, images: Path, tmp_path: Path
) -> None:
    first, damaged = (sorted(images.iterdir())[row] for row in (0, 9))
    strange = Path(os.fsdecode(os.fsencode(images) + b"/caf\xe9"))
    first.rename(strange.with_suffix(".png"))
    damaged.rename(strange.with_suffix(".tif"))
    out = tmp_path / "p.csv"
    whole = unbroken(run, images, out)
    stop_after(len(list(images.iterdir())), run, images, out)
    predict_to_table(run, [images], out, SMALL, resume=True)
    assert written(out) == whole
    (row,) = (row for row in read_predictions(out).frame.itertuples() if "caf" in row.path)
    assert Path(row.path) == strange.with_suffix(".png")
    assert Path(row.path).is_file()
    assert row.patient == str(images / r"caf\xe9.png")
    assert b'/caf\xe9.tif,"truncated' in errors_of(out)


def test_a_full_disk_is_named_and_what_is_scored_is_kept(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told
) -> None:
    out, append, room = tmp_path / "p.csv", journal_room.append_bytes, [3]
    whole = unbroken(run, images, out)

    def filling_up(file: int, data: bytes) -> None:
        if not room[0]:
            append(file, data[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= 1
        append(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(journal_room, "append_bytes", filling_up)
        with pytest.raises(
            DataError, match=r"No space left on device.*--resume.*p\.csv\.partial\.jsonl"
        ):
            predict_to_table(run, [images], out, SMALL)
    predict_to_table(run, [images], out, SMALL, resume=True, progress=told)
    assert told.works[0][2] == 8
    assert written(out) == whole


def test_a_disk_full_only_for_the_table_itself_scores_nothing_twice(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p.csv"
    with monkeypatch.context() as patch:
        patch.setattr("pandas.DataFrame.to_csv", _refuse)
        with pytest.raises(DataError, match="No space left"):
            predict_to_table(run, [images], out, SMALL)
        patch.setattr(TorchEngine, "logits", _refuse)
        with pytest.raises(DataError, match="No space left"):
            predict_to_table(run, [images], out, SMALL, resume=True)
    patch.undo()
    predict_to_table(run, [images], out, SMALL, resume=True)
    assert len(read_predictions(out)) == len(list(images.iterdir())) - 1


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_seen_patients_are_refused_before_anything_is_written(
    run: Run, divided: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(LeakageError):
        predict_to_table(run, divided.in_split("train").paths, tmp_path / "p.csv", SMALL)
    assert not list(tmp_path.iterdir())


def test_nothing_readable_leaves_nothing_to_go_on_with(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="none of the 1 images could be read"):
        predict_to_table(run, [tmp_path / "a.png"], tmp_path / "p.csv", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def spoilt(line: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(line), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: b"\0" * len(line),
        lambda line: spoilt(line, p=[0.4, 0.7]),
        lambda line: spoilt(line, p=[-0.5, 1.5]),
        lambda line: spoilt(line, p=["0.5", "0.5"]),
        lambda line: spoilt(line, p=[0.5, 0.25, 0.25]),
        lambda line: spoilt(line, p=[float("nan"), 0.5]),
        lambda line: spoilt(line, stamp=[1, 2, 3]),
        lambda line: spoilt(line, file=None),
        lambda line: spoilt(line, words=7),
        lambda line: spoilt(line, more=1),
        lambda line: line.replace(b'"words"', b'"p": [0.5, 0.5], "words"'),
        lambda line: b"[" * 20 * len(line) + b"\n",
    ],
)
def test_a_line_that_cannot_be_right_and_all_after_it_are_scored_again(
    run: Run, images: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], told
) -> None:
    out = tmp_path / "p.csv"
    whole = unbroken(run, images, out)
    stop_after(16, run, images, out)
    lines = journal_path(out).read_bytes().splitlines(keepends=True)
    assert json.loads(lines[1])["file"].endswith(sorted(images.iterdir())[0].name)
    lines[11] = spoil(lines[11])
    journal_path(out).write_bytes(b"".join(lines))
    predict_to_table(run, [images], out, SMALL, resume=True, progress=told)
    assert told.works[0][2] == 8
    assert written(out) == whole


@pytest.mark.parametrize("vote", ["soft", "fusion"])
def test_an_ensemble_reads_each_file_once(
    run: Run,
    divided: Manifest,
    small_probe: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    vote: str,
) -> None:
    larger = small_probe.with_overrides({"image_size": 48})
    second = train(divided, tmp_path / "second", larger).run
    both = make_ensemble([run, second], tmp_path / vote, vote=vote, manifest=divided)
    read: list[Path] = []

    def counted(path: Path) -> AbstractContextManager[object]:
        read.append(path)
        return image_in_turn(path)

    monkeypatch.setattr(batches_room, "image_in_turn", counted)
    files = divided.in_split("test").paths
    predict_to_table(both, files, tmp_path / "p.csv", SMALL)
    assert sorted(read) == sorted(files)


def test_no_more_batches_are_alive_for_many_images_than_for_few(
    run: Run, divided: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most, logits = [0], TorchEngine.logits

    def watched(self: TorchEngine, batch: np.ndarray) -> np.ndarray:
        alive.append(weakref.ref(batch))
        most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return logits(self, batch)

    monkeypatch.setattr(TorchEngine, "logits", watched)
    predict(run, divided, PredictOptions(batch_size=1))
    assert len(alive) == len(divided.in_split("test"))
    assert most[0] == 1
