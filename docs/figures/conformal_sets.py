"""Conformal sets: which probabilities leave one class, and which leave both, for three promises."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

PATIENTS, IMAGES = 60, 10


def images(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The probability given for malignant and whether it is, a row a patient."""
    label = (np.arange(PATIENTS) % 2)[:, None].astype(bool) & np.ones((1, IMAGES), bool)
    own = rng.normal(0, 1.0, (PATIENTS, 1))
    logit = np.where(label, 0.9, -0.9) + own + rng.normal(0, 1.0, (PATIENTS, IMAGES))
    return 1 / (1 + np.exp(-logit)), label


def draw() -> Figure:
    """A bar a promise: from left to right, benign alone, both classes, malignant alone."""
    rng = np.random.default_rng(8)
    given, label = images(rng)
    strange = np.where(label, 1 - given, given)  # how little the truth was given
    new, truth = images(rng)
    figure, axes = plt.subplots(figsize=(8.2, 2.7), layout="constrained")
    colours = {"benign": "#b9aee6", "both: abstain": "#e6e1ea", "malignant": "#eba3be"}
    for row, coverage in enumerate((0.80, 0.90, 0.95)):
        limit = float(np.quantile(strange, min(1, coverage * (PATIENTS + 1) / PATIENTS)))
        low, high = 1 - limit, limit  # above one half here, so no set is empty
        for (name, colour), (start, end) in zip(
            colours.items(), ((0, low), (low, high), (high, 1)), strict=True
        ):
            axes.barh(row, end - start, left=start, color=colour, height=0.62)
            axes.text((start + end) / 2, row, name, ha="center", va="center", fontsize=9)
        held = np.where(truth, 1 - new, new) <= limit
        axes.text(
            1.02, row, f"holds {held.mean():.0%} of new patients' images", va="center", fontsize=9
        )
    axes.set(xlim=(0, 1), xlabel="probability given for malignant", ylim=(2.5, -0.5))
    axes.set_yticks(range(3), ["promise 80 %", "promise 90 %", "promise 95 %"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure
