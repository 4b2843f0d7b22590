"""How well the areas of a slide are found, on drawn slides whose areas are known.

    python benchmarks/tissue.py --slides 60

The slides (tests/pixels/drawn_slides.py) hold tissue of usual, dark and hardly any stain, fat, thin
cores, holes, dust, folds and a part out of focus, below pen of eight colours, on glass of six
tints. The bars are for the worst of all slides: tissue by intersection over union, pen and black by
the share of their pixels that is found. No limit was set on slides of these seeds.
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from bars import at_least
from rich.console import Console
from rich.table import Table

from eosin.pixels.tissue_mask import TISSUE, Area, find_tissue

DRAWN = Path(__file__).parents[1] / "tests" / "pixels" / "drawn_slides.py"
FIRST = 1000  # of the seeds; smaller ones are those of tests and tuning
TISSUE_BAR, FOREIGN_BAR = 0.9, 0.95


def main() -> None:
    """Draw, find, and print each figure's median and worst."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=60)
    slides = parser.parse_args().slides
    drawn_slide = runpy.run_path(str(DRAWN))["drawn_slide"]
    figures: dict[str, dict[int, float]] = defaultdict(dict)
    seconds = pixels = 0.0
    for seed in range(FIRST, FIRST + slides):
        slide = drawn_slide(seed)
        began = time.process_time()
        found = find_tissue(slide.image, 8.0).labels
        seconds, pixels = seconds + time.process_time() - began, pixels + found.size
        for name, figure in measured(slide.areas, found):
            figures[name][seed] = figure
    Console(width=110).print(table(figures))
    print(f"{seconds / pixels * 1e6:.2f} seconds of one core a million pixels")
    at_least("tissue, intersection over union, worst", lowest(figures["tissue, IoU"]), TISSUE_BAR)
    for area in ("pen", "black"):
        at_least(f"{area} found, worst", lowest(figures[f"{area}, found"]), FOREIGN_BAR)


def measured(true: np.ndarray, found: np.ndarray) -> list[tuple[str, float]]:
    """Name and value of each figure that a slide has."""
    known, said = (np.isin(areas, list(TISSUE)) for areas in (true, found))
    rows = [("tissue, IoU", np.count_nonzero(known & said) / np.count_nonzero(known | said))]
    for area in Area:
        known, said = true == area, found == area
        both = np.count_nonzero(known & said)
        if known.any():
            rows.append((f"{area.name.lower()}, found", both / np.count_nonzero(known)))
        if said.any():
            rows.append((f"{area.name.lower()}, right", both / np.count_nonzero(said)))
    return rows


def lowest(of_seeds: dict[int, float]) -> float:
    """The worst of all slides."""
    return min(of_seeds.values())


def table(figures: dict[str, dict[int, float]]) -> Table:
    """A row a figure; "found" is recall of pixels, "right" precision."""
    shown = Table("of pixels", "slides", "median", "lowest tenth", "worst", "its seed")
    for name, of_seeds in sorted(figures.items()):
        values = list(of_seeds.values())
        tenth, median = np.percentile(values, [10, 50])
        worst = min(of_seeds, key=of_seeds.__getitem__)
        numbers = (f"{each:.3f}" for each in (median, tenth, of_seeds[worst]))
        shown.add_row(name, str(len(values)), *numbers, str(worst))
    return shown


if __name__ == "__main__":
    main()
