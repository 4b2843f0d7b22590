"""Real servers on free ports, small Runs that they serve, and databases: SQLite and PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs eosin[serve]")

import httpx
import numpy as np
import pandas as pd
import psycopg
import uvicorn

from eosin.arrays import UInt8Image
from eosin.artefacts.manifest import Manifest
from eosin.export.export import export_run
from eosin.inference.predict import PredictOptions, predict
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.reporting.slide_folder import predict_slides
from eosin.server.app import create_app
from eosin.server.service import Service
from eosin.server.settings import ServeOptions
from eosin.training.config import TrainingConfig
from eosin.training.train import train

_PATIENCE = 30.0  # seconds


@dataclass
class Server:
    """A server that listens, and a client of it."""

    service: Service
    port: int
    client: httpx.Client
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def predict(self, *paths: Path, **params: str) -> httpx.Response:
        files = [("images", (path.name, path.read_bytes())) for path in paths]
        return self.client.post("/predict", files=files, params=params)


@contextmanager
def serving(options: ServeOptions) -> Iterator[Server]:
    app = create_app(options)
    config = uvicorn.Config(app, port=0, log_level="error", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + _PATIENCE
        while (
            not (server.started and app.state.service.scoring.ready.is_set())
            and time.monotonic() < until
        ):
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE) as client:
            yield Server(app.state.service, port, client)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Server]]:
    """A server of these Runs, by the words of ``ServeOptions``; it ends with the tests."""
    with ExitStack() as servers:
        yield partial(_begin, servers)


@pytest.fixture
def serve_briefly() -> Iterator[Callable[..., Server]]:
    """The same; it ends with the test."""
    with ExitStack() as servers:
        yield partial(_begin, servers)


def _begin(servers: ExitStack, *runs: Run, **options: object) -> Server:
    folders = tuple(run.folder for run in runs)
    wanted = ServeOptions(runs=folders, **options)  # type: ignore[arg-type]
    return servers.enter_context(serving(wanted))


@pytest.fixture(scope="session")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return export_run(trained, tmp_path_factory.mktemp("exports") / "onnx")


@pytest.fixture(scope="session")
def new_images(divided: Manifest) -> list[Path]:
    """Images of patients that the Runs have not met."""
    return divided.in_split("test").paths


@pytest.fixture(scope="session")
def met_images(divided: Manifest) -> list[Path]:
    """Images of patients that they were trained on."""
    return divided.in_split("train").paths


@pytest.fixture(scope="session")
def cases(divided: Manifest, exported: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of the exported Run for 20 images: 12 of new patients, 8 of such that it met."""
    scored = [
        predict(exported, divided, PredictOptions(split=split, allow_seen=True)).predictions
        for split in ("test", "train")
    ]
    frame = pd.concat([each.frame for each in scored]).head(20).reset_index(drop=True)
    table = tmp_path_factory.mktemp("cases") / "p.csv"
    scored[0].with_trust(frame, scored[0].trust).write(table)
    return table


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], exported: Run, trained: Run) -> Server:
    """One that serves a Run twice: as it was trained, and exported."""
    return serve(exported, trained)


@pytest.fixture(scope="session")
def scaled(
    divided: Manifest, probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """An exported Run whose images have 64 pixels of 1 um."""
    known = replace(divided, frame=divided.frame.assign(mpp="1"))
    run = train(known, tmp_path_factory.mktemp("scaled") / "probe", probe).run
    return export_run(run, tmp_path_factory.mktemp("scaled") / "onnx")


@pytest.fixture(scope="session")
def slide_pixels(new_images: list[Path]) -> UInt8Image:
    """Images in glass, twice as fine as they are: 900 x 650 pixels, tissue from (128, 128)."""
    slide = np.full((650, 900, 3), 243, np.uint8)
    for number, path in enumerate((new_images * 4)[:15]):
        row, column = divmod(number, 5)
        fine = np.repeat(np.repeat(read_image(path), 2, axis=0), 2, axis=1)
        slide[128 * (row + 1) :, 128 * (column + 1) :][:128, :128] = fine
    return slide


@pytest.fixture(scope="session")
def slide_folder(
    scaled: Run,
    slide_pixels: UInt8Image,
    drawn_slide: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """``jane-doe.tiff`` at 0.5 um/px with its answer in ``out``; ``max-roe.tiff`` states none."""
    pytest.importorskip("openslide", reason="needs eosin[slides]")
    folder = tmp_path_factory.mktemp("clinic")
    named = drawn_slide(folder / "jane-doe.tiff", slide_pixels, levels=2, compression="deflate")
    drawn_slide(folder / "max-roe.tiff", slide_pixels, mpp=None, levels=2, compression="deflate")
    predict_slides(scaled, [named], folder / "out")
    return folder


@pytest.fixture(scope="session")
def slide_server(serve: Callable[..., Server], scaled: Run, slide_folder: Path) -> Server:
    return serve(scaled, data=slide_folder)


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
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record can be made: a file, then a database of its own."""
    if request.param == "sqlite":
        return str(tmp_path / "review.db")
    server: str = request.getfixturevalue("postgres")
    name = f"db_{os.urandom(6).hex()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
