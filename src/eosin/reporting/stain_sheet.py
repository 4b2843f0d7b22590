"""The stain sheet: images before and after each method, and the two stains that each one found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from eosin.errors import DataError
from eosin.files import valid_text
from eosin.pixels.image_files import find_image_files
from eosin.pixels.reading import SkippedFile, UInt8Image, image_in_turn, reduced
from eosin.pixels.stain import NORMALIZERS, StainEstimate, StainNormalizer, create_normalizer
from eosin.pixels.stain_jitter import restain
from eosin.pixels.stain_sources import fit_to_file
from eosin.pixels.writing import write_png
from eosin.reporting.overlay import scaled
from eosin.reporting.panel import Cell, Heading, draw_rows

ALONE: Final = {"haematoxylin": (1.0, 0.0), "eosin": (0.0, 1.0)}  # how much of each is kept
_SIDE: Final = 320  # of a tile's longer side, pixels
_ALL_PIXELS: Final = 24_000_000  # of all images together; larger ones are reduced
_LEGEND: Final = (
    "Haematoxylin and eosin are drawn in the colours that the method found in that image. Reinhard "
    "matches colours and separates no stains."
)


def write_stain_sheet(
    paths: Sequence[Path], out: Path, *, target: Path | None = None, most: int = 6
) -> tuple[SkippedFile, ...]:
    """Draw the sheet as PNG: a row an image, with columns for every method.

    Args:
        paths: image files, and folders of such.
        out: the PNG.
        target: the image whose stain the others are given; None takes the median of those shown.
        most: images shown, evenly spread over those given.

    Returns:
        The files that could not be read.

    Raises:
        DataError: no image, none that can be read, or none that shows stained tissue.
    """
    found = find_image_files(paths)
    found.require_images(paths)
    files = _spread(found.images, most)
    images, skipped = _read(files)
    if not images:
        raise DataError(f"none of the {len(files)} images could be read: {skipped[0].reason}")
    methods = [_fitted(method, list(images.values()), target) for method in NORMALIZERS]
    rows = [
        [_cell(image, "Original", valid_text(path.name))]
        + [cell for method in methods for cell in _cells(image, method)]
        for path, image in images.items()
    ]
    median = f"the median stain of the {len(images)} images shown"
    given = f"the stain of {valid_text(target.name)}" if target else median
    if len(images) == 1 and not target:
        given = "the image's own stain"
    heading = Heading("What stain normalisation does", (f"Target: {given}.", _LEGEND))
    write_png(draw_rows(rows, heading), out)
    return (*found.skipped, *skipped)


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    picked = np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)
    return [files[index] for index in picked]


def _read(files: Sequence[Path]) -> tuple[dict[Path, UInt8Image], list[SkippedFile]]:
    images: dict[Path, UInt8Image] = {}
    skipped: list[SkippedFile] = []
    for path in files:
        try:
            with image_in_turn(path) as image:
                images[path] = reduced(image, most=_ALL_PIXELS // len(files))
        except DataError as error:
            skipped.append(SkippedFile.from_error(path, error))
    return images, skipped


def _fitted(method: str, images: list[UInt8Image], target: Path | None) -> StainNormalizer:
    normalizer = create_normalizer(method)
    return normalizer.fit(images) if target is None else fit_to_file(normalizer, target)


def _cells(image: UInt8Image, normalizer: StainNormalizer) -> list[Cell]:
    """The image in the target's stain, and its own two stains where the method separates them."""
    title, result = normalizer.method.capitalize(), normalizer.transform_with_reason(image)
    separable = isinstance(normalizer.target_, StainEstimate)
    if result.reason is not None:
        unchanged = _cell(result.image, title, f"unchanged: {result.reason.value}")
        blank = Cell(np.full((1, 1, 3), 255, np.uint8), "")
        return [unchanged, *[blank] * (len(ALONE) * separable)]
    cells, found = [_cell(result.image, title, "normalised")], normalizer.estimate(image)
    if isinstance(found, StainEstimate):
        cells += [_cell(stain_alone(image, found, name), title, name) for name in ALONE]
    return cells


def _cell(image: UInt8Image, title: str, line: str) -> Cell:
    return Cell(scaled(image, _SIDE / max(image.shape[:2])), title, (line,))


def stain_alone(image: UInt8Image, found: StainEstimate, name: str) -> UInt8Image:
    """One of the image's two stains, a name of ``ALONE``, as it would look without the other."""
    amounts = found.max_concentration * np.array(ALONE[name])
    return restain(image, found, replace(found, max_concentration=amounts))
