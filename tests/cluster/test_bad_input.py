"""What is wrong with a cluster, its machines or the Run is named before the work begins."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import pytest
from acts import OPTIONS, rows_work, slowly
from nodes import SOURCE, Nodes

import eosin.cluster.connecting as connecting
from eosin.cluster.connecting import spread_over
from eosin.cluster.worker import Worker, sample_of, settings
from eosin.errors import ConfigError, DataError, ModelError
from eosin.inference.journal import journal_path
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run, read_run
from eosin.progress import Silent


def test_an_address_that_does_not_answer_is_named_in_time(
    monkeypatch: pytest.MonkeyPatch,
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


def test_a_node_with_another_eosin_is_named(nodes: Nodes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(SOURCE, other, ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "eosin" / "version.py"
    version.write_text(version.read_text() + '\n__version__ = "9.9"\n')
    nodes.fill(0)
    nodes.start(environment={"PYTHONPATH": str(other)})
    try:
        with (
            pytest.raises(ConfigError, match=r"has eosin 9\.9 on Python .*; install the same"),
            spread_over(nodes.address, device="cpu") as spread,
        ):
            list(spread.each(rows_work(tmp_path, 8), range(8)))
    finally:
        nodes.fill(0)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    monkeypatch.chdir(tmp_path)  # it goes where the driver is, and here that changes nothing
    return Worker(settings(), 32)


def test_a_machine_that_cannot_see_the_files_is_named(worker: Worker, tmp_path: Path) -> None:
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
    assert "cannot see" in worker.look(sample)
    (tmp_path / "a").rmdir()
    assert f"cannot see {tmp_path / 'a'} (No such file" in worker.look(sample)


def test_a_run_that_changes_while_the_cluster_works_is_not_believed(
    nodes: Nodes, run: Run, images: Path, tmp_path: Path
) -> None:
    nodes.fill(2)
    copied = read_run(shutil.copytree(run.folder, tmp_path / "run"))

    class Changes(Silent):
        def advance(self, steps: int = 1, **_: object) -> None:
            record = copied.folder / "run.json"
            record.write_bytes(record.read_bytes() + b"\n" * (steps > 0))

    with (
        pytest.raises(ModelError, match=r"run\.json: changed while the Run was in use"),
        spread_over(nodes.address, device="cpu") as spread,
    ):
        predict_to_table(
            copied,
            [images],
            tmp_path / "p.csv",
            OPTIONS,
            alter=slowly,
            progress=Changes(),
            spread=spread,
        )
    assert not (tmp_path / "p.csv").exists()
    assert journal_path(tmp_path / "p.csv").exists()
    with pytest.raises(DataError, match="--resume"):
        predict_to_table(run, [images], tmp_path / "p.csv", OPTIONS)
