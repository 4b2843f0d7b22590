"""The sample sheet: a few images of every class of a manifest, to be looked at before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.errors import DataError
from eosin.files import valid_text
from eosin.pixels.reading import SkippedFile, read_image
from eosin.pixels.writing import write_png
from eosin.remote import as_path
from eosin.reporting.overlay import HeatmapStyle
from eosin.reporting.panel import Cell, Heading, draw_panel

if TYPE_CHECKING:
    import pandas as pd

    from eosin.arrays import UInt8Image
    from eosin.artefacts.manifest import Manifest

_SIDE: Final = 240  # of a tile's longer side, in pixels
_CLASSES: Final = 40  # at most: a taller sheet is not looked at


def write_sample_sheet(
    manifest: Manifest, out: Path, *, each: int = 6, seed: int = 0
) -> tuple[SkippedFile, ...]:
    """Draw a row of images for every class as PNG, of as many patients as there are.

    Args:
        manifest: the images.
        out: the PNG.
        each: images a class.
        seed: of the draw.

    Returns:
        The files drawn that could not be read; others of their class stand in for them.

    Raises:
        DataError: no image can be read.
    """
    rng = np.random.default_rng(seed)
    skipped: list[SkippedFile] = []
    labels = manifest.frame["label"]
    names = [name for name in (*manifest.task.classes, "") if (labels == name).any()]
    rows: list[list[Cell]] = []
    for name in names[:_CLASSES]:
        shuffled = manifest.frame[labels == name].sample(frac=1, random_state=rng)
        turn = shuffled.groupby("patient").cumcount().sort_values(kind="stable")
        rows.append(_cells(shuffled.loc[turn.index], each, skipped))
    if not any(rows):
        raise DataError(f"none of the {len(skipped)} images can be read: {skipped[0].reason}")
    tall = max(cell.picture.shape[0] for row in rows for cell in row)
    blank = Cell(np.full((tall, _SIDE, 3), 255, np.uint8), "")
    cells = [
        replace(cell, picture=_padded(cell.picture, tall))
        for row in rows
        for cell in (*row, *[blank] * (each - len(row)))
    ]
    more = f" ({_CLASSES} of {len(names)} classes are shown)" if len(names) > _CLASSES else ""
    title = f"{manifest.dataset}: {len(manifest):,} images{more}, {manifest.protocol.name}"
    write_png(draw_panel(cells, Heading(title), HeatmapStyle(), width=_SIDE, columns=each), out)
    return tuple(skipped)


def _cells(images: pd.DataFrame, most: int, skipped: list[SkippedFile]) -> list[Cell]:
    """The first images of one class that can be read; the others join ``skipped``."""
    cells: list[Cell] = []
    for row in images.to_dict("records"):
        if len(cells) == most:
            break
        path = as_path(row["path"])
        try:
            image = read_image(path)
        except DataError as error:
            skipped.append(SkippedFile.from_error(path, error))
            continue
        magnification = row["magnification"] and f"{row['magnification']}X"
        fold = row["fold"] and f"fold {row['fold']}"
        part = " · ".join(filter(None, (magnification, row["split"], fold)))
        patient = "" if row["patient"].endswith(path.name) else f"patient {row['patient']}"
        lines = tuple(filter(None, (patient, part, valid_text(path.name))))
        cells.append(Cell(_scaled(image), row["label"] or "no label", lines))
    return cells


def _scaled(image: UInt8Image) -> UInt8Image:
    import cv2

    scale = _SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _padded(picture: UInt8Image, tall: int) -> UInt8Image:
    below, right = tall - picture.shape[0], _SIDE - picture.shape[1]
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)
