"""What every test may use: the real images where they are, and tiny trees with true names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.training.config import TrainingConfig

_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with ``data/`` and ``weights/``; skips, saying so, where it is absent."""
    folder = Path(os.environ.get("EOSIN_TEST_DATA", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set EOSIN_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def real_data(shared_folder: Path) -> Path:
    """The folder of real images: ``breakhis100x``, ``breakhis``, ``idc``, ``bci``."""
    return shared_folder / "data"


@pytest.fixture(scope="session")
def weights_folder(shared_folder: Path) -> Path:
    """The folder of ImageNet-pretrained feature extractors."""
    return shared_folder / "weights"


@pytest.fixture(scope="session")
def drawn_breakhis(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """48 synthetic images of 12 patients, 64 px, under BreakHis names."""
    out = tmp_path_factory.mktemp("drawn")
    write_synthetic(out, SyntheticOptions(patients=12, images=48, size=64, seed=3))
    return read_breakhis(out / "images").manifest


@pytest.fixture(scope="session")
def small_probe() -> TrainingConfig:
    """A frozen probe on a network small enough for tests, its weights random."""
    return TrainingConfig(
        backbone="test_efficientnet", weights="none", freeze=True, image_size=32, device="cpu"
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
