"""Slides whose truth is known patch by patch: is the map right, and does it lie where it should?

    EOSIN_WEIGHTS=WEIGHTS python benchmarks/slide_truth.py --idc FOLDER --out FOLDER

The patches of the held-out IDC patients are laid at their x, y and become one pyramidal TIFF a
patient (50 px at 4 um/px, enlarged to 1 um/px; RGB). A Run that met none of these patients scores
the slides at its own scale. The probability map is read back and its cells are compared with the
tile table and with the label of the patch that lies there; by patient, with intervals. Pictures of
map beside truth are written to ``--out``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from bars import at_most

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions, read_predictions
from eosin.data.folder import read_folder
from eosin.data.splits import split_by_fractions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.inference.scoring import PredictOptions
from eosin.inference.slides import SlideOptions
from eosin.networks.run import Run, read_run
from eosin.pixels.reading import read_image
from eosin.reporting.slide_folder import predict_slides
from eosin.reporting.wording import figure
from eosin.slides.maps import read_map
from eosin.slides.tile import Tile
from eosin.training.config import read_config
from eosin.training.train import train

PATCH, MPP, FINER = 50, 4.0, 4  # pixels, um/px, and how many times finer the slide is


def main() -> None:
    """Train, stitch, score, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--idc", type=Path, required=True, help="a folder 0 and a folder 1")
    parser.add_argument("--out", type=Path, required=True, help="a scratch folder")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    arguments = parser.parse_args()
    read = read_folder(arguments.idc, patient=r"^(\d+)_", positive="1", mpp=MPP).manifest
    manifest = split_by_fractions(read, (0.6, 0.0, 0.4), by="patient", seed=arguments.seed)
    run = trained(manifest, arguments.out / "run")
    held = manifest.in_split("test")
    slides = [
        stitched(held.where(held.frame["patient"] == patient), arguments.out / f"{patient}.tiff")
        for patient in held.patients
    ]
    written = predict_slides(
        run, slides, arguments.out / "slides", SlideOptions(), PredictOptions()
    )
    tables = [on_slide(held, path, arguments.out) for path in slides]
    shift = max(abs(table["map"] - table["p_1"]).max() for table in tables)
    print(f"{len(written.answers)} slides, {sum(map(len, tables))} patches of {len(held)} found")
    for column, name in (("map", "map against truth"), ("p_1", "tile table against truth")):
        print(f"{name}: {scores(pd.concat(tables), column, held)}")
    direct = read_predictions(run.folder / "predictions.csv")
    print(f"the patches as images, same Run: {said(direct)}")
    met = at_most("largest difference between map and tile table, millionths", 1e6 * shift, 1.0)
    for path, table in zip(slides, tables, strict=True):
        draw(table, arguments.out / f"{path.stem}-map-and-truth.png")
    sys.exit(0 if met else 1)


def trained(manifest: Manifest, folder: Path) -> Run:
    """A frozen Run with neighbours, at its own scale; the one that is there where it is."""
    if (folder / "run.json").is_file():
        return read_run(folder)
    settings = {"image_size": 96, "committee": (), "device": "cpu", "context": "neighbours"}
    return train(manifest, folder, read_config("frozen").with_overrides(settings)).run


def stitched(patches: Manifest, path: Path) -> Path:
    """A tiled pyramidal TIFF with each patch at its place; white where there is none."""
    x, y = (patches.frame[axis].astype(int).to_numpy() // PATCH for axis in "xy")
    x, y = x - x.min(), y - y.min()
    slide = np.full(((y.max() + 1) * PATCH, (x.max() + 1) * PATCH, 3), 255, np.uint8)
    for column, row, file in zip(x, y, patches.paths, strict=True):
        pixels = read_image(file)[:PATCH, :PATCH]
        top, left = row * PATCH, column * PATCH
        slide[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    looks = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
    looks["resolutionunit"] = "CENTIMETER"
    with tifffile.TiffWriter(path) as file:
        for power in range(3):
            level = np.repeat(np.repeat(slide, FINER, 0), FINER, 1) if power == 0 else slide
            level = level[::2, ::2] if power == 2 else level
            density = 1e4 * FINER / MPP / (1, FINER, 2 * FINER)[power]
            file.write(level, resolution=(density, density), subfiletype=int(power > 0), **looks)
    return path


def on_slide(held: Manifest, path: Path, out: Path) -> pd.DataFrame:
    """The patches of a slide with what the map and the tile table say where they lie."""
    frame = held.frame[held.frame["patient"] == path.stem]
    x, y = (frame[axis].astype(int) // PATCH for axis in "xy")
    frame = frame.assign(column=x - x.min(), row=y - y.min())
    tiles = read_predictions(out / "slides" / path.stem / "tiles.csv").frame
    squares = [Tile.of(Path(each)) for each in tiles["path"]]
    step = PATCH * FINER
    tiles = tiles.assign(
        column=[tile.x // step for tile in squares if tile],
        row=[tile.y // step for tile in squares if tile],
    )
    found = frame.merge(tiles[["column", "row", "p_0", "p_1"]], on=["column", "row"])
    values = read_map(out / "slides" / path.stem / "probability.ome.tiff").values
    return found.assign(map=values[found["row"], found["column"]].astype(float))


def scores(table: pd.DataFrame, column: str, held: Manifest) -> str:
    """AUC by image with its interval over patients."""
    chances = np.stack([1 - table[column], table[column]], axis=1)
    known = Provenance(protocol=held.protocol)
    return said(make_predictions(table, chances, task=held.task, provenance=known))


def said(predictions: Predictions) -> str:
    """AUC and balanced accuracy with their intervals."""
    found = {each.metric: each for each in evaluate_predictions(predictions).estimates[::-1]}
    names = ("roc_auc", "within_roc_auc", "balanced_accuracy")
    return ", ".join(f"{name} {figure(found[name])}" for name in names if name in found)


def draw(table: pd.DataFrame, path: Path) -> None:
    """The map and the truth of a slide side by side."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 4), layout="constrained")
    shape = table["row"].max() + 1, table["column"].max() + 1
    columns = {"Probability of IDC": table["map"], "Truth": table["label"].astype(float)}
    for axes, (title, values) in zip(drawn.subplots(1, 2), columns.items(), strict=True):
        cells = np.full(shape, np.nan)
        cells[table["row"], table["column"]] = values
        shown = axes.imshow(cells, cmap="YlOrRd", vmin=0, vmax=1, interpolation="nearest")
        axes.set(title=title, xticks=[], yticks=[])
    drawn.colorbar(shown, ax=drawn.axes, shrink=0.8)
    drawn.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
