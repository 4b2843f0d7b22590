"""Leakage: images of one patient lie together, and a split by image rewards knowing the patient."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

PATIENTS, IMAGES, FEATURES, SHOWN = 24, 12, 8, 12
SIGNALS = np.linspace(0, 6, 13)


def patients(rng: np.random.Generator, signal: float) -> tuple[np.ndarray, ...]:
    """Features, class and patient of every image; ``signal`` is how far the classes lie apart."""
    patient = np.repeat(np.arange(PATIENTS), IMAGES)
    label = patient % 2
    centres = rng.normal(0, 1.5, (PATIENTS, FEATURES))
    centres[:, 0] += signal * (np.arange(PATIENTS) % 2)
    return centres[patient] + rng.normal(0, 0.3, (len(patient), FEATURES)), label, patient


def accuracy(features: np.ndarray, label: np.ndarray, fold: np.ndarray) -> float:
    """Of the nearest training image's class, over all folds held out in turn."""
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    distance[fold[:, None] == fold[None]] = np.inf
    return float((label[distance.argmin(axis=1)] == label).mean())


def draw() -> Figure:
    """Left: what a network sees. Right: accuracy under both protocols."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained")
    rng = np.random.default_rng(4)
    features, label, patient = patients(rng, 0.0)
    for value, name in ((0, "benign"), (1, "malignant")):
        rows = (label == value) & (patient < SHOWN)
        left.scatter(*features[rows, :2].T, s=12, color=f"C{1 - value}", label=name, alpha=0.8)
    left.set(title="Each cloud is one patient", xlabel="feature 1", ylabel="feature 2")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    by_image, by_patient = [], []
    for signal in SIGNALS:
        drawn = [patients(rng, float(signal)) for _ in range(24)]
        random = [rng.integers(0, 5, len(label)) for _ in drawn]
        pairs = zip(drawn, random, strict=True)
        by_image.append(np.mean([accuracy(f, y, fold) for (f, y, _), fold in pairs]))
        by_patient.append(np.mean([accuracy(f, y, (who // 2) % 5) for f, y, who in drawn]))
    right.plot(SIGNALS, by_image, marker="o", ms=3, label="split by image (leaky)")
    right.plot(SIGNALS, by_patient, marker="o", ms=3, label="split by patient")
    right.axhline(0.5, color="grey", ls=":", lw=1)
    right.text(6, 0.505, "guessing", ha="right", va="bottom", color="grey")
    right.set(title="Accuracy", ylim=(0.4, 1.03), xlabel="how much the tissue really tells")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return figure
