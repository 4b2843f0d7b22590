"""The scale that the images of a manifest share: their side, and the um/px that they state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.run import Scale
from eosin.errors import DataError
from eosin.pixels.reading import inspect_image
from eosin.remote import as_path

if TYPE_CHECKING:
    import pandas as pd

_ALIKE = 0.02  # of a um/px: what two may differ by and count as one
_LOOKED_AT = 25  # images whose sides are read


def scale_of(frame: pd.DataFrame) -> Scale | None:
    """The scale of the rows of a manifest; None where no image can be read.

    Raises:
        DataError: a cell of the column ``mpp`` is no um/px.
    """
    size = _side([as_path(path) for path in frame["path"]])
    return None if size is None else Scale(size=size, mpp=_stated(frame))


def _stated(frame: pd.DataFrame) -> float | None:
    """The um/px that all rows state, give or take a little; None where they do not."""
    cells = [cell for cell in frame.get("mpp", []) if cell]
    found = np.array([um_per_pixel(cell) for cell in cells])
    if not len(found) or len(found) < len(frame) or found.max() > (1 + _ALIKE) * found.min():
        return None
    return float(np.median(found))


def um_per_pixel(cell: str) -> float:
    """The number in a cell of the column ``mpp``; DataError where it is none."""
    try:
        value = float(cell)
    except ValueError:
        value = 0.0
    if not 0 < value < np.inf:
        raise DataError(f"mpp = {cell!r} in the manifest is no um/px; want e.g. 0.5, or nothing")
    return value


def _side(paths: list[Path]) -> int | None:
    """The side that most of some images have, their shorter one; None where none can be read."""
    sides = []
    for path in paths[:: -(-len(paths) // _LOOKED_AT)]:
        try:
            facts = inspect_image(path)
        except DataError:
            continue
        sides.append(min(facts.width, facts.height))
    values, times = np.unique(sides, return_counts=True)
    return int(values[times.argmax()]) if sides else None
