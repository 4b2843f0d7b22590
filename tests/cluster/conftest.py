"""Two nodes on loopback, their workers, and images to score."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # workers import these modules by the same names

from acts import score, tree
from nodes import OWN, QUIET, Nodes

os.environ.update(OWN)  # Ray reads it when it is imported

from eosin.artefacts.manifest import Manifest
from eosin.cluster.connecting import spread_over
from eosin.networks.run import Run, read_run
from eosin.spread import Spread


@pytest.fixture(scope="package", autouse=True)
def _settings() -> Iterator[None]:
    """One thread, as every worker has."""
    pytest.importorskip("ray", reason='the cluster needs Ray: pip install "eosin[cluster]"')
    before = dict(os.environ)
    os.environ.update(QUIET)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="package")
def nodes(_settings: None) -> Iterator[Nodes]:
    """A head, and nodes of one core that join it."""
    found = Nodes()
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(found.folder, ignore_errors=True)


@pytest.fixture(scope="package")
def _connected(nodes: Nodes) -> Iterator[Spread]:
    """A connection for all tests: what its workers have imported stays so."""
    with spread_over(nodes.address, device="cpu") as found:
        yield found


@pytest.fixture
def spread(nodes: Nodes, _connected: Spread) -> Spread:
    """The workers of two nodes."""
    nodes.fill()
    return _connected


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An exported Run: a worker opens its graph much sooner than it imports PyTorch."""
    written = Path(__file__).parents[1] / "artefacts" / "written_by_0_1_0" / "runs" / "exported"
    return read_run(shutil.copytree(written, tmp_path_factory.mktemp("exported") / "run"))


@pytest.fixture(scope="session")
def images(drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images, one of them damaged."""
    folder = tmp_path_factory.mktemp("new") / "images"
    folder.mkdir()
    for path in drawn_breakhis.paths:
        shutil.copy(path, folder)
    damaged = sorted(folder.iterdir())[9]
    damaged.write_bytes(damaged.read_bytes()[:200])
    return folder


@pytest.fixture(scope="session")
def whole(run: Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes: the table, its sidecar and the error table."""
    out = tmp_path_factory.mktemp("whole")
    score(run, images, out / "p.csv")
    return tree(out)
