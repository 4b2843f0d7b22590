"""Calibration: a network that is too sure, and the same one with its temperature."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

IMAGES, TOO_SURE, BINS = 6000, 2.4, 10


def draw() -> Figure:
    """Share of malignant images against the probability given, before and after the temperature."""
    rng = np.random.default_rng(3)
    true_logit = rng.normal(0, 1.6, IMAGES)
    malignant = rng.random(IMAGES) < 1 / (1 + np.exp(-true_logit))
    said = TOO_SURE * true_logit
    temperatures = np.linspace(0.5, 4, 176)
    losses = [
        np.logaddexp(0, np.where(malignant, -said, said) / each).mean() for each in temperatures
    ]
    best = float(temperatures[int(np.argmin(losses))])
    figure, axes = plt.subplots(figsize=(5.6, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", ls=":", lw=1)
    for temperature, name in ((1.0, "as trained"), (best, f"with temperature {best:.1f}")):
        given = 1 / (1 + np.exp(-said / temperature))
        which = np.minimum((given * BINS).astype(int), BINS - 1)
        x = [given[which == each].mean() for each in range(BINS)]
        y = [malignant[which == each].mean() for each in range(BINS)]
        axes.plot(x, y, marker="o", label=name)
    axes.text(0.62, 0.58, "says what it means", color="grey", rotation=36, ha="center")
    axes.set(xlabel="probability given for malignant", ylabel="share that is malignant")
    axes.legend(loc="upper left")
    return figure
