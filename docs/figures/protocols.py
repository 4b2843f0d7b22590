"""Protocols: who stands in which fold when images, patients or sites are kept whole."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

PATIENTS, IMAGES, FOLDS = 10, 8, 5
COLOURS = ListedColormap(["#4b3b8f", "#8a78d0", "#c2396b", "#f0a3bf", "#7a4b00"])


def draw() -> Figure:
    """Three grids: a row a patient, a square an image, a colour a fold."""
    rng = np.random.default_rng(2)
    whole = np.repeat(np.arange(PATIENTS) % FOLDS, IMAGES).reshape(PATIENTS, IMAGES)
    site = np.repeat(np.arange(PATIENTS) // 2, IMAGES).reshape(PATIENTS, IMAGES)
    grids = {
        "by image (leaky)": rng.integers(0, FOLDS, (PATIENTS, IMAGES)),
        "by patient": whole,
        "by site": site,
    }
    figure, panels = plt.subplots(1, 3, figsize=(8.6, 3.1), layout="constrained")
    for panel, (name, grid) in zip(panels, grids.items(), strict=True):
        rows, columns = np.indices(grid.shape)
        panel.scatter(columns, rows, c=grid, cmap=COLOURS, marker="s", s=95)
        panel.set(title=name, xlabel="images", ylim=(PATIENTS - 0.4, -0.6))
        panel.set_xticks([])
        panel.spines[["left", "bottom"]].set_visible(False)
        names = [f"patient {row + 1}" for row in range(PATIENTS)]
        if name == "by site":
            names = [f"site {row // 2 + 1}, patient {row + 1}" for row in range(PATIENTS)]
        panel.set_yticks(range(PATIENTS), names if name != "by patient" else [""] * PATIENTS)
        panel.tick_params(length=0)
    return figure
