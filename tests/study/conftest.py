"""A study in miniature: two networks under a leaky and an honest protocol, on drawn tissue."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosin.artefacts.manifest import Manifest


@pytest.fixture(scope="session")
def miniature() -> str:
    """The text of its file."""
    return """
title = "Miniature"
dataset = "breakhis"
protocols = ["image 3-fold", "patient 3-fold"]
seeds = [7]
backbones = ["test_efficientnet", "test_resnet"]
votes = ["soft", "weighted"]
weights = "none"
freeze = true
image_size = 64
device = "cpu"
resamples = 200
heatmaps = 2
"""


@pytest.fixture(scope="session")
def images(drawn_breakhis: Manifest) -> Path:
    """The folder of its images."""
    return drawn_breakhis.paths[0].parent
