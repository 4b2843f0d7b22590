"""Two nodes on loopback, a Run, and images to score."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # workers import these modules by the same names

from acts import OPTIONS
from nodes import OWN, QUIET, Nodes

os.environ.update(OWN)  # Ray reads it when it is imported

from eosin.artefacts.manifest import Manifest
from eosin.cluster.connecting import spread_over
from eosin.data.splits import split_by_fractions
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run
from eosin.spread import Spread
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="session", autouse=True)
def _settings() -> Iterator[None]:
    """One thread, as every worker has."""
    pytest.importorskip("ray", reason='the cluster needs Ray: pip install "eosin[cluster]"')
    before = dict(os.environ)
    os.environ.update(QUIET)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def nodes(_settings: None) -> Iterator[Nodes]:
    """A head and two nodes of one core."""
    found = Nodes()
    try:
        for _ in range(2):
            found.start()
        yield found
    finally:
        found.close()
        shutil.rmtree(found.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def spread(nodes: Nodes) -> Iterator[Spread]:
    """The workers of the nodes."""
    nodes.fill(2)
    with spread_over(nodes.address, device="cpu") as found:
        yield found


@pytest.fixture(scope="session")
def split(drawn_breakhis: Manifest) -> Manifest:
    """48 images of 12 patients, divided."""
    return split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=1)


@pytest.fixture(scope="session")
def run(
    split: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A frozen probe."""
    config = small_probe.with_overrides({"image_size": 64})  # large enough for a map
    return train(split, tmp_path_factory.mktemp("run") / "run", config).run


@pytest.fixture(scope="session")
def images(drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images, one of them damaged."""
    folder = tmp_path_factory.mktemp("new")
    for path in drawn_breakhis.paths:
        shutil.copy(path, folder)
    damaged = sorted(folder.iterdir())[9]
    damaged.write_bytes(damaged.read_bytes()[:200])
    return folder


@pytest.fixture(scope="session")
def whole(run: Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes: the table, its sidecar and the error table."""
    out = tmp_path_factory.mktemp("whole")
    predict_to_table(run, [images], out / "p.csv", OPTIONS)
    return tree(out)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder with its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
