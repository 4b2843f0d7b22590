"""What is wrong with a cluster, its machines or the Run is named before the work begins."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from acts import rows_work, score, slowly
from nodes import SOURCE, Nodes, wait_for

import eosin.cluster.connecting as connecting
from eosin.cluster.connecting import spread_over
from eosin.cluster.worker import Worker, sample_of, settings
from eosin.errors import ConfigError, DataError, ModelError
from eosin.inference.journal import journal_path
from eosin.networks.run import Run, read_run
from eosin.progress import Silent
from eosin.spread import Spread


def test_an_address_that_does_not_answer_is_named_in_time_and_another_connection_stays(
    spread: Spread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_ANSWER", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ConfigError, match=rf"--cluster {address}: no Ray cluster there"):
            spread_over(address).__enter__()
    assert time.monotonic() - began < 8
    assert len(list(spread.each(rows_work(tmp_path, 8), range(8)))) == 8


def test_a_node_with_another_eosin_is_named_and_left_out_where_it_joins_late(
    nodes: Nodes, spread: Spread, told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(SOURCE, other, ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "eosin" / "version.py"
    version.write_text(version.read_text() + '\n__version__ = "9.9"\n')
    monkeypatch.setattr(spread.crew, "progress", told)
    coming = spread.each(rows_work(tmp_path, 16, step=1), range(16))
    found = [next(coming)]
    nodes.start(environment={"PYTHONPATH": str(other)})

    def left_out() -> bool:
        spread.crew.refresh()
        spread.crew.admit()
        return any(note.startswith("left out: ") for note in told.notes)

    wait_for(left_out, "a note")
    found += list(coming)
    assert [row for row, _ in found] == list(range(16))
    named = r"has eosin 9\.9 on Python .*; install the same"
    assert re.search(named, told.notes[-1])
    another = replace(spread, crew=type(spread.crew)("cpu", told))
    with pytest.raises(ConfigError, match=named):
        list(another.each(rows_work(tmp_path, 8), range(8)))
    another.crew.dismiss()


def elsewhere(name: str, *mounts: str) -> list[str]:
    """What starts a machine of another name that has other folders than this one.

    Args:
        name: of the machine.
        mounts: arguments of ``mount``.
    """
    apart = ["unshare", "--map-root-user", "--mount", "--uts", "sh", "-ec"]
    done = [f"hostname {name}", *(f"mount {each}" for each in mounts), 'exec "$@"']
    command = [*apart, "; ".join(done), "sh"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", error)
        pytest.skip(f"a machine with other folders cannot be had here: {said}")
    return command


def test_a_machine_that_cannot_see_the_images_or_has_another_run_is_named_by_the_command(
    nodes: Nodes, spread: Spread, run: Run, images: Path, tmp_path: Path
) -> None:
    other, seen, out = (tmp_path / name for name in ("other", "seen", "out"))
    shutil.copytree(run.folder, other)
    graph = other / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    shutil.copytree(images, seen)
    nodes.start(
        within=elsewhere("blind", f"-t tmpfs none {images}", f"--bind {other} {run.folder}")
    )
    fix = "put it on a disk that all machines share, under the same path"
    words = ["predict", run.folder, images, "-o", out / "p.csv", "--allow-seen"]
    command = [sys.executable, "-m", "eosin", *words, "--cluster", nodes.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1, said
    assert f"blind: cannot see {images}/" in said
    assert fix in said
    assert not list(out.glob("*"))
    named = rf"blind: .* \({run.folder / graph.name}: changed since run.json .*; {fix}"
    with pytest.raises(ConfigError, match=named):
        score(run, seen, out / "p.csv", spread=spread)
    assert not list(out.glob("*"))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    monkeypatch.chdir(tmp_path)  # it goes where the driver is, and here that changes nothing
    return Worker(settings(), 32)


def test_a_file_of_another_size_and_a_missing_folder_are_named(
    worker: Worker, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"image")
    work = rows_work(tmp_path / "a", 4)
    sample = sample_of(work)
    assert worker.look(sample) == ""
    assert sample.files == [(str(tmp_path / "a" / "0.png"), 5)]
    (tmp_path / "a" / "0.png").write_bytes(b"another")
    assert "0.png is another file than on this machine" in worker.look(sample)
    (tmp_path / "a" / "0.png").unlink()
    (tmp_path / "a").rmdir()
    assert f"cannot see {tmp_path / 'a'} (No such file" in worker.look(sample)


def test_a_run_that_changes_while_the_cluster_works_is_not_believed(
    spread: Spread, run: Run, images: Path, tmp_path: Path
) -> None:
    copied = read_run(shutil.copytree(run.folder, tmp_path / "run"))

    class Changes(Silent):
        def advance(self, steps: int = 1, **_: object) -> None:
            record = copied.folder / "run.json"
            record.write_bytes(record.read_bytes() + b"\n" * (steps > 0))

    table = tmp_path / "p.csv"
    with pytest.raises(ModelError, match=r"run\.json: changed while the Run was in use"):
        score(copied, images, table, alter=slowly, progress=Changes(), spread=spread)
    assert not table.exists()
    assert journal_path(table).exists()
    with pytest.raises(DataError, match="--resume"):
        score(run, images, table)
