"""A small dataset under BreakHis names that a tiny network can learn, and settings to match."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.protocol import Protocol
from eosin.tasks import Task
from eosin.training.config import TrainingConfig

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
_SLIDES = {"train": (1001, 1002, 1003, 1004), "val": (2001, 2002), "test": (3001, 3002)}
_STAIN = {"benign": (236, 190, 214), "malignant": (150, 96, 170)}  # pink, purple


def draw_image(path: Path, label: str, *, seed: int, side: int = 40) -> None:
    """Noise around the colour that carries the class."""
    noise = np.random.default_rng(seed).normal(0, 25, (side, side, 3))
    pixels = np.clip(np.array(_STAIN[label]) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and test workers would fight over the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_manifest(tmp_path: Path) -> Manifest:
    """48 images of 40 pixels, 8 patients: 4 to train, 2 to validate, 2 to test."""
    rows = []
    for split, slides in _SLIDES.items():
        for index, slide in enumerate(slides):
            label, kind = (("benign", "B_A"), ("malignant", "M_DC"))[index % 2]
            for sequence in range(1, 7):
                name = f"SOB_{kind}-14-{slide}-100-{sequence:03d}.png"
                path = tmp_path / "images" / name
                draw_image(path, label, seed=slide * 10 + sequence)
                rows.append((str(path), label, f"14-{slide}", "100", split, ""))
    protocol = Protocol(unit="patient", design="50/25/25")
    return Manifest(pd.DataFrame(rows, columns=list(COLUMNS)), BINARY, "breakhis", protocol)


@pytest.fixture
def tiny_config() -> TrainingConfig:
    """Three epochs of a tiny network from random weights at 32 pixels."""
    return TrainingConfig(
        backbone="test_efficientnet",
        weights="none",
        image_size=32,
        epochs=3,
        batch_size=8,
        learning_rate=2e-3,
        head_learning_rate=1e-2,
        device="cpu",
        workers=2,
        seed=11,
    )
