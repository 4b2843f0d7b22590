"""Whether a graph says what PyTorch says, measured on images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.artefacts.graph import Parity
from eosin.errors import ModelError
from eosin.evaluation.calibration import apply_temperature

if TYPE_CHECKING:
    from eosin.arrays import Floats, Pixels
    from eosin.export.graph_module import GraphModule
    from eosin.networks.graphs import GraphEngine


PROBABILITY_BAR = 1e-4
MAP_BAR = 1e-3
_BATCHES = (1, 3)
_WEAK = 0.01  # a map of which the image's strongest is 100 times as strong shows rounding only


def measure_parity(
    engine: GraphEngine, module: GraphModule, pixels: Pixels, *, temperature: float, source: str
) -> Parity:
    """Compare a graph with the network it was made from, in batches of 1 and of 3 images.

    Maps are compared as they are drawn, each divided by its own maximum; one that nowhere reaches
    a hundredth of the image's strongest class is divided by that hundredth instead.

    Args:
        engine: the graph, loaded.
        module: the network in ``eval`` mode, on the CPU.
        pixels: prepared input (n, 3, S, S).
        temperature: of the Run.
        source: where the images come from, in words.
    """
    with torch.inference_mode():
        outputs = module(torch.from_numpy(pixels))
    wanted = {name: value.numpy() for name, value in zip(module.outputs, outputs, strict=True)}
    chances = apply_temperature(wanted["logits"].astype(np.float64), temperature)
    away: list[float] = []
    maps_away: list[float] = []
    for step in _BATCHES:
        for start in range(0, len(pixels), step):
            rows = slice(start, start + step)
            found = apply_temperature(engine.logits(pixels[rows]), temperature)
            away.append(_largest(found - chances[rows]))
            if "maps" in wanted:
                maps = engine.maps(pixels[rows])
                drawn = maps.of_all if maps.split is None else maps.split.patches
                maps_away.append(map_difference(drawn, wanted["maps"][rows]))
    return Parity(
        images=len(pixels),
        source=source,
        engine=engine.name,
        probabilities=_largest(np.array(away)),  # NaN stays NaN, which max() may lose
        maps=_largest(np.array(maps_away)) if maps_away else None,
    )


def map_difference(found: Pixels, wanted: Pixels) -> float:
    """The largest difference of maps (n, C, h, w), as a share of the scale they are drawn at."""
    peaks = np.abs(wanted).max(axis=(2, 3), keepdims=True)  # terms of patches have either sign
    strongest = peaks.max(axis=1, keepdims=True)
    scale = np.maximum(np.maximum(peaks, _WEAK * strongest), np.finfo(np.float32).tiny)
    return _largest((found - wanted) / scale)


def require_parity(parity: Parity, *, name: str) -> None:
    """ModelError with the figures where a graph is not what PyTorch is; NaN is never alike."""
    faults = [
        f"{what} differ by up to {value:.2g} (the most allowed is {bar:g})"
        for what, value, bar in (
            ("probabilities", parity.probabilities, PROBABILITY_BAR),
            ("maps", parity.maps, MAP_BAR),
        )
        if value is not None and not value <= bar
    ]
    if faults:
        raise ModelError(
            f"the graph of {name} is not what PyTorch computes: on {parity.images} images "
            f"({parity.source}), run by {parity.engine}, {' and '.join(faults)}. Nothing was "
            "written; try the other --format, or keep the Run as it is"
        )


def _largest(values: Pixels | Floats) -> float:
    return float(np.abs(values).max())
