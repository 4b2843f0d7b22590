"""What every test may use: the real images where they are, and tiny trees with true names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
