"""Stain: one tissue as three laboratories stain it, and brought to one stain."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import eosin
from eosin.data.synthetic import SyntheticOptions, synthetic_patients
from eosin.data.tissue import draw as draw_tissue


def draw() -> Figure:
    """Above as stained, below after Macenko's method with the first as its target."""
    patients = synthetic_patients(SyntheticOptions(patients=12, images=12, seed=3))
    body = patients[1].tissue
    stains = [patients[which].tissue.stain for which in (1, 3, 7)]
    images = [draw_tissue(replace(body, stain=each), size=224, seed=5).image for each in stains]
    method = eosin.Macenko().fit(images[0])
    figure, panels = plt.subplots(2, 3, figsize=(5.6, 3.9), layout="constrained")
    for column, image in enumerate(images):
        panels[0, column].imshow(image)
        panels[1, column].imshow(np.asarray(method.transform(image)))
        panels[0, column].set_title(f"laboratory {column + 1}")
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    panels[0, 0].set_ylabel("as stained")
    panels[1, 0].set_ylabel("in one stain (Macenko)")
    return figure
