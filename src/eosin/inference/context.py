"""Neighbours on the slide: how their logits join an image's own, where a Run was trained so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.data.neighbours import find_neighbours, has_coordinates, is_of_tiles
from eosin.errors import DataError
from eosin.evaluation.calibration import Around, apply_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Floats
    from eosin.artefacts.run import Context, RunRecord
    from eosin.data.neighbours import Neighbours
    from eosin.networks.run import Run

UNCALIBRATED = (
    "Its sets are calibrated with neighbours: without them each holds every class, and nothing is "
    "answered."
)


def uses_neighbours(run: Run) -> bool:
    """Whether a network in ``run`` was trained to; ModelError where a member is missing."""
    return any(leaf.record.context is not None for leaf in run.leaves())


def near(record: RunRecord, frame: pd.DataFrame) -> Neighbours | None:
    """The neighbours that count for the images of ``frame``; None where none do.

    Raises:
        DataError: the Run uses neighbours, and coordinates cannot be, as ``find_neighbours``.
    """
    known = record.context
    if known is None:
        return None
    return find_neighbours(frame, window=known.window, pitch=known.pitch)


def joined(logits: Floats, near: Neighbours, weight: float) -> Floats:
    """Logits (n, classes) and, times ``weight``, their mean over the square around each image."""
    return logits + weight * near.mean(logits)


def calibrated(logits: Floats, record: RunRecord, found: Neighbours | None) -> Floats:
    """Probabilities (n, classes) of one network's logits, with the neighbours ``found``, if any."""
    known = record.context
    if known is None:
        return apply_temperature(logits, record.temperature)
    if found is None:
        return apply_temperature(logits, known.alone_temperature)
    return apply_temperature(joined(logits, found, known.weight), record.temperature)


def around_each(logits: Floats, record: RunRecord, found: Neighbours | None) -> list[Around]:
    """Of images with these logits (n, classes) under one network."""
    known = record.context
    if known is None or found is None:
        alone = Around(known.alone_temperature if known else record.temperature)
        return [alone] * len(logits)
    share = known.weight / found.count
    others = known.weight * found.mean(logits) - share[:, None] * logits
    return [
        Around(record.temperature, 1 + float(own), added)
        for own, added in zip(share, others, strict=True)
    ]


def threshold_of(run: Run, *, alone: bool) -> float | None:
    """The locked threshold; ``alone``: of images without coordinates."""
    record = run.record
    if not alone or record.threshold is None or not uses_neighbours(run):
        return record.threshold
    if record.context is not None:
        return record.context.alone_threshold
    if record.voting[0] == "hard":
        return record.threshold
    inside = [threshold_of(member, alone=True) for member in run.open_members()]
    return float(np.mean([each for each in inside if each is not None]))


def says(known: Context) -> str:
    """The sentence that a Run keeps of its neighbours."""
    return (
        f"Neighbours on the slide count: the mean logit of the {known.window} x {known.window} "
        f"patches around each image, {known.pitch:g} apart, is added to its own."
    )


def said_of(runs: Sequence[Run], frame: pd.DataFrame) -> tuple[str, ...]:
    """How neighbours counted for the images of ``frame``; nothing where no Run uses them."""
    known = next(
        (leaf.record for run in runs for leaf in run.leaves() if leaf.record.context), None
    )
    if known is None:
        return ()
    found = near(known, frame)
    if found is None:
        return (
            "The Run counts neighbours on the slide, and no image here names x and y: they are "
            f"scored without, at the temperature and threshold for that. {UNCALIBRATED}",
        )
    tiles = is_of_tiles(frame)  # their scale is that of the Run
    if found.pitch is None:
        grid = "no two lie next to each other"
    else:
        grid = "on the grid of tiles" if tiles else f"{found.pitch:g} apart"
    own, other = known.context, ""
    if own and not tiles and found.pitch not in (None, own.pitch):
        other = f" The Run was trained on patches {own.pitch:g} apart: do they show as much?"
    lost = int((~found.placed).sum())
    return (
        f"{int((found.count > 1).sum())} of {len(frame)} images have a neighbour on their slide "
        f"({grid}{f'; {lost} name no x and y' if lost else ''}).{other}",
    )


def require_coordinates(runs: Sequence[Run], frame: pd.DataFrame) -> None:
    """DataError where a Run uses neighbours and no image names where it lies."""
    for run in runs:
        if uses_neighbours(run) and not has_coordinates(frame):
            raise DataError(
                f"{run.folder} counts neighbours on the slide, and no image here names x and y: "
                "give a manifest with these columns"
            )
