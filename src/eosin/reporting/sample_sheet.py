"""The sample sheet: a few images of every class of a manifest, to be looked at before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.errors import DataError
from eosin.files import valid_text
from eosin.pixels.reading import SkippedFile, read_image
from eosin.pixels.writing import write_png
from eosin.remote import as_path
from eosin.reporting.overlay import scaled
from eosin.reporting.panel import Cell, Heading, draw_rows
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    import pandas as pd

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
    more = f" ({_CLASSES} of {len(names)} classes are shown)" if len(names) > _CLASSES else ""
    title = f"{manifest.dataset}: {counted(len(manifest), 'image')}{more}, {manifest.protocol.name}"
    write_png(draw_rows([*filter(None, rows)], Heading(title)), out)
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
        tile = scaled(image, _SIDE / max(image.shape[:2]))
        cells.append(Cell(tile, row["label"] or "no label", lines))
    return cells
