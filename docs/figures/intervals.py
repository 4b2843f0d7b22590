"""Intervals: resampling images calls studies surer than they are; resampling patients does not."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

PATIENTS, IMAGES, STUDIES, DRAWS = 20, 20, 40, 400
TRUTH = 0.8


def study(rng: np.random.Generator) -> np.ndarray:
    """Right or wrong for each image: some patients are hard, in all their images."""
    hard = rng.beta(4 * TRUTH / 2, 4 * (1 - TRUTH) / 2, PATIENTS)
    return rng.random((PATIENTS, IMAGES)) < hard[:, None]


def intervals(rng: np.random.Generator, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the accuracy, by images and by patients."""
    images = rng.choice(right.ravel(), (DRAWS, right.size)).mean(axis=1)
    patients = right.mean(axis=1)[rng.integers(0, PATIENTS, (DRAWS, PATIENTS))].mean(axis=1)
    return np.percentile(images, [2.5, 97.5]), np.percentile(patients, [2.5, 97.5])


def draw() -> Figure:
    """Forty studies of one model, the truth 0.8: which intervals hold it."""
    rng = np.random.default_rng(11)
    found = [intervals(rng, study(rng)) for _ in range(STUDIES)]
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 4), layout="constrained", sharex=True)
    for panel, which, name in zip(panels, (0, 1), ("images", "patients"), strict=True):
        held = 0
        for row, pair in enumerate(found):
            low, high = pair[which]
            holds = low <= TRUTH <= high
            held += holds
            panel.plot([low, high], [row, row], color="C1" if holds else "C0", lw=2)
        panel.axvline(TRUTH, color="grey", ls=":")
        panel.set(title=f"resampling {name}: {held} of {STUDIES} hold the truth", xlabel="accuracy")
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
    panels[0].set_ylabel("studies of 20 patients, 20 images each")
    return figure
