"""Familiarity: how far new patients' images lie from the training images, and three examples."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

FEATURES, PATIENTS, IMAGES = 12, 60, 20
EXAMPLES = {"common": 2.6, "rare, yet tissue": 5.5, "not tissue": 9.5}


def draw() -> Figure:
    """Distances of held-out patients' images, and the share beyond each of three."""
    rng = np.random.default_rng(5)
    own = rng.normal(0, 0.6, (PATIENTS, 1, FEATURES))
    distance = np.linalg.norm(
        own + rng.normal(0, 0.9, (PATIENTS, IMAGES, FEATURES)), axis=2
    ).ravel()
    figure, axes = plt.subplots(figsize=(7.2, 3.3), layout="constrained")
    axes.hist(distance, bins=40, color="#b9aee6", label="images of new patients")
    limit = float(np.quantile(distance, 0.95))
    axes.axvline(limit, color="grey", ls=":")
    most = axes.get_ylim()[1]
    axes.text(limit + 0.1, 1.45 * most, "flagged unfamiliar: the last 5 %", va="top", color="grey")
    for row, (name, where) in enumerate(EXAMPLES.items()):
        share = (distance >= where).mean()
        height = most * (1.1, 0.5, 0.3)[row]
        said = f"{name}\nfamiliarity {share:.2f}"
        axes.annotate(
            said,
            (where, 0),
            (where, height),
            ha="center",
            color="C0",
            arrowprops={"arrowstyle": "->", "color": "C0"},
        )
    axes.set(
        xlabel="distance from the training images",
        ylabel="images",
        xlim=(1, 11.5),
        ylim=(0, 1.45 * most),
    )
    axes.legend(loc="upper left", bbox_to_anchor=(0.6, 0.85))
    return figure
