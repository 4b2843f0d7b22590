"""Drawn tissue in folds and in splits, and Runs that learnt from it, of every kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.networks.run import Run
from eosin.training.config import TrainingConfig
from eosin.training.left_out import Trained
from eosin.training.train import train


@pytest.fixture(scope="session")
def frozen_config() -> TrainingConfig:
    return TrainingConfig(
        backbone="test_efficientnet", weights="none", freeze=True, image_size=64, device="cpu"
    )


@pytest.fixture(scope="session")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """120 drawn images of 20 patients."""
    folder = tmp_path_factory.mktemp("tissue")
    write_synthetic(folder, SyntheticOptions(patients=20, images=120, size=96, seed=3))
    return read_breakhis(folder / "images").manifest


@pytest.fixture(scope="session")
def splits(tissue: Manifest) -> Manifest:
    return split_by_fractions(tissue, (0.5, 0.25, 0.25), by="patient", seed=7)


@pytest.fixture(scope="session")
def folds(
    tissue: Manifest, frozen_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "folds"
    manifest = split_into_folds(tissue, 5, by="patient", seed=7)
    return train(manifest, folder, frozen_config, fold="all")


@pytest.fixture(scope="session")
def run(
    splits: Manifest, frozen_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(splits, tmp_path_factory.mktemp("runs") / "one", frozen_config).run


@pytest.fixture(scope="session")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, a blank field, a gradient, text and black, of the size of the drawn tissue."""
    folder, side = tmp_path_factory.mktemp("strange"), 96
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    text = np.full((side, side, 3), 255, np.uint8)
    for line in range(5):
        cv2.putText(text, "Lorem ipsum", (4, 16 + 18 * line), 0, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    images = {
        "noise": noise,
        "blank": np.full_like(text, 255),
        "gradient": np.repeat(np.tile(ramp, (side, 1))[:, :, None], 3, axis=2),
        "text": text,
        "black": np.zeros_like(text),
    }
    for name, image in images.items():
        assert cv2.imwrite(str(folder / f"{name}.png"), image)
    return folder
