"""Faithfulness: two maps of one image, and how the score falls when what they mark is removed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import eosin
from eosin.data.synthetic import mask_path

CELLS, SIZE = 14, 224


def tissue() -> tuple[np.ndarray, np.ndarray]:
    """A drawn image and the mask of the epithelium that carries its label."""
    with tempfile.TemporaryDirectory() as folder:
        options = eosin.SyntheticOptions(patients=8, images=8, size=SIZE, magnification=100, seed=2)
        path = eosin.write_synthetic(Path(folder), options)[3]
        return np.asarray(Image.open(path)), np.asarray(Image.open(mask_path(path))) > 0


def curve(evidence: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The score of a network that looks at the epithelium alone, cells removed in this order."""
    left = 1 - np.cumsum(np.concatenate([[0.0], evidence.ravel()[order]])) / evidence.sum()
    return 1 / (1 + np.exp(-6 * (left - 0.45)))


def draw() -> Figure:
    """The image, a faithful map, a map of the image's middle, and the curves."""
    image, mask = tissue()
    rng = np.random.default_rng(0)
    evidence = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    grid = np.indices((CELLS, CELLS)) - (CELLS - 1) / 2
    middle = np.exp(-(grid**2).sum(axis=0) / 18)
    figure, panels = plt.subplots(
        1, 4, figsize=(10.4, 2.9), layout="constrained", width_ratios=[1, 1, 1, 1.35]
    )
    grey = image.mean(axis=2)
    maps = {"map A": evidence, "map B": middle}
    panels[0].imshow(image)
    panels[0].set_title("drawn tissue")
    for panel, (name, values) in zip(panels[1:3], maps.items(), strict=True):
        large = cv2.resize(values.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        panel.imshow(grey, cmap="gray", vmin=0, vmax=255)
        panel.imshow(large, cmap="inferno", alpha=0.65 * large / large.max())
        panel.set_title(name)
    for panel in panels[:3]:
        panel.set_axis_off()
    removed = np.linspace(0, 100, CELLS * CELLS + 1)
    for index in range(20):
        name = "random maps" if index == 0 else None
        order = rng.permutation(CELLS * CELLS)
        panels[3].plot(removed, curve(evidence, order), color="#cfc8d6", lw=0.8, label=name)
    for name, values in maps.items():
        order = np.argsort(-(values + 1e-6 * rng.random(values.shape)).ravel())
        panels[3].plot(removed, curve(evidence, order), lw=2, label=name)
    panels[3].set(title="probability left", xlabel="% removed, strongest first", ylim=(0, 1.02))
    panels[3].legend(fontsize=8)
    return figure
