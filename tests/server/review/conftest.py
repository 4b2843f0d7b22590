"""Databases to test on: SQLite files, and a PostgreSQL server where its programs are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.protocol import Protocol
from eosin.server.record import Record
from eosin.server.worklist import Worklist, make_worklist
from eosin.tasks import Task

HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)


def programs() -> Path | None:
    """The newest folder with Debian's PostgreSQL, or that of `initdb` on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    other = shutil.which("initdb")
    return found[-1].parent if found else Path(other).parent if other else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of our own, of which each test makes a database; else skips."""
    folder_of = programs()
    if folder_of is None:
        pytest.skip("PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)")
    as_user = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = Path(tempfile.mkdtemp(prefix="eosin-pg-", dir="/tmp"))  # a socket's path is short
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    control = [*as_user, str(folder_of / "pg_ctl"), "-D", str(data), "-w", "-t", "30"]
    made = [*as_user, str(folder_of / "initdb"), "-D", str(data), "-U", "eosin", "-A", "trust"]
    subprocess.run([*made, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd="/tmp")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    start = [*control, "-l", str(log), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/tmp")
    try:
        yield f"postgresql://eosin@127.0.0.1:{port}"
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, capture_output=True, cwd="/tmp")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record can be made: a file, then a database of its own."""
    if request.param == "sqlite":
        return str(tmp_path / "review.db")
    server: str = request.getfixturevalue("postgres")
    name = f"db_{os.urandom(6).hex()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture
def record(place: str) -> Iterator[Record]:
    with closing(Record(place)) as made:
        yield made


Draw = Callable[..., tuple[Manifest, Predictions]]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """A manifest of patients by patients, two images each, and predictions of random doubt."""

    def make(patients: int = 6, *, task: Task = HER2) -> tuple[Manifest, Predictions]:
        count = 2 * patients
        rng = np.random.default_rng(4)
        frame = pd.DataFrame(
            {
                "path": [str(tmp_path / f"{row // 2:02d}_{row}.png") for row in range(count)],
                "label": [task.classes[row % len(task.classes)] for row in range(count)],
                "patient": [f"p{row // 2:02d}" for row in range(count)],
                "magnification": "",
                "split": "",
                "fold": [str(row // 2 % 3 + 1) for row in range(count)],
                "scanner": "A",
            }
        )
        protocol = Protocol("patient", "3-fold", seed=5)
        manifest = Manifest(frame, task, "drawn", protocol, ("Drawn.",))
        chances = rng.dirichlet([1.0] * len(task.classes), count)
        return manifest, make_predictions(frame, chances, task=task)

    return make


@pytest.fixture
def worklist(draw: Draw) -> Worklist:
    manifest, predictions = draw()
    return make_worklist(predictions, manifest, run="a1" * 32)


@pytest.fixture
def reviewed(record: Record, worklist: Worklist) -> tuple[Record, list[str]]:
    """A record that knows the twelve cases of the worklist, and their ids."""
    record.add_cases(worklist.manifest, worklist.ids)
    return record, [case.id for case in worklist.cases]
