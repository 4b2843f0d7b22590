"""The stain sheet: images before and after each method, and the two stains that each one found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.errors import DataError
from eosin.files import valid_text
from eosin.pixels.image_files import find_image_files
from eosin.pixels.reading import SkippedFile, UInt8Image, image_in_turn, reduced
from eosin.pixels.stain import NORMALIZERS, StainEstimate, StainNormalizer, create_normalizer
from eosin.pixels.stain_jitter import restain
from eosin.pixels.stain_sources import fit_to_file
from eosin.reporting.canvas import GRID, INK, QUIET, write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE: Final = {"haematoxylin": (1.0, 0.0), "eosin": (0.0, 1.0)}  # how much of each is kept
# Inches.
_TILE: Final = 1.75
_GAP, _GROUP_GAP = 0.05, 0.22
_MARGIN: Final = 0.35
_HEAD, _FOOT = 1.32, 0.42
_THINNEST: Final = 0.05  # of a tile, so that a line of pixels is seen
_NAME: Final = 0.30  # under each row of tiles
_ALL_PIXELS: Final = 24_000_000  # of all images together; larger ones are reduced
_PIXELS: Final = 520  # of a tile's longer side, at most


@dataclass(frozen=True)
class _Tile:
    """A picture and, under it, what is to be said of it."""

    image: UInt8Image | None
    remark: str = ""


@dataclass(frozen=True)
class _Group:
    """Columns that belong together: a heading, a sub-heading for each."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """One image: its file and its tiles, group by group."""

    name: str
    tiles: tuple[tuple[_Tile, ...], ...]


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
    groups = [_Group("Original", ("as it is",))]
    groups += [_Group(m.method.capitalize(), _columns(m)) for m in methods]
    rows = [
        _Row(valid_text(path.name), ((_Tile(image),), *(_tiles(image, m) for m in methods)))
        for path, image in images.items()
    ]
    median = f"the median stain of the {len(images)} images shown"
    given = f"the stain of {valid_text(target.name)}" if target else median
    if len(images) == 1 and not target:
        given = "the image's own stain"
    write_png(_draw(groups, rows, given), out)
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


def _columns(normalizer: StainNormalizer) -> tuple[str, ...]:
    separable = isinstance(normalizer.target_, StainEstimate)
    return ("normalised", *ALONE) if separable else ("normalised",)


def _tiles(image: UInt8Image, normalizer: StainNormalizer) -> tuple[_Tile, ...]:
    result = normalizer.transform_with_reason(image)
    count = len(_columns(normalizer))
    if result.reason is not None:
        unchanged = _Tile(result.image, f"unchanged: {result.reason.value}")
        return (unchanged, *[_Tile(None)] * (count - 1))
    found = normalizer.estimate(image)
    alone = (
        [_Tile(stain_alone(image, found, name)) for name in ALONE]
        if isinstance(found, StainEstimate)
        else []
    )
    return (_Tile(result.image), *alone)


def stain_alone(image: UInt8Image, found: StainEstimate, name: str) -> UInt8Image:
    """One of the image's two stains, a name of ``ALONE``, as it would look without the other."""
    amounts = found.max_concentration * np.array(ALONE[name])
    return restain(image, found, replace(found, max_concentration=amounts))


def _draw(groups: Sequence[_Group], rows: Sequence[_Row], given: str) -> Figure:
    from matplotlib.figure import Figure

    lefts, width = _lefts(groups)
    height_of_tile = _TILE * _aspect(rows)
    step = height_of_tile + _NAME
    height = _HEAD + step * len(rows) + _FOOT
    figure = Figure(figsize=(width, height))
    sheet = _Sheet(figure, width, height)
    _write_heads(sheet, groups, lefts, given)
    for index, row in enumerate(rows):
        top = _HEAD + index * step
        sheet.text(_MARGIN, top + height_of_tile + 0.15, row.name, size=7.5, colour=QUIET)
        for tiles, group_lefts in zip(row.tiles, lefts, strict=True):
            for tile, left in zip(tiles, group_lefts, strict=True):
                sheet.tile(tile, left, top, height_of_tile)
    sheet.text(
        _MARGIN,
        height - 0.2,
        "Haematoxylin and eosin are drawn in the colours that the method found in that image. "
        "Reinhard matches colours and separates no stains.",
        size=8,
        colour=QUIET,
    )
    return figure


def _write_heads(
    sheet: _Sheet, groups: Sequence[_Group], lefts: Sequence[Sequence[float]], given: str
) -> None:
    sheet.text(_MARGIN, 0.34, "What stain normalisation does", size=15, weight="bold")
    sheet.text(_MARGIN, 0.62, f"Target: {given}.", size=9.5, colour=QUIET)
    for group, group_lefts in zip(groups, lefts, strict=True):
        sheet.text(group_lefts[0], 0.95, group.title, size=10.5, weight="bold")
        sheet.rule(group_lefts[0], group_lefts[-1] + _TILE, 1.06)
        for name, left in zip(group.columns, group_lefts, strict=True):
            sheet.text(left, 1.19, name, size=8.5, colour=QUIET)


def _lefts(groups: Sequence[_Group]) -> tuple[list[list[float]], float]:
    """Left edge of every column, group by group, and the width of the sheet."""
    lefts: list[list[float]] = []
    left = _MARGIN
    for group in groups:
        lefts.append([left + column * (_TILE + _GAP) for column in range(len(group.columns))])
        left = lefts[-1][-1] + _TILE + _GROUP_GAP
    return lefts, left - _GROUP_GAP + _MARGIN


def _aspect(rows: Sequence[_Row]) -> float:
    """Height over width that suits most images; between 0.2 and 1.25 times the width of a tile."""
    shapes = [tile.image.shape for row in rows for tile in row.tiles[0] if tile.image is not None]
    return float(np.clip(np.median([shape[0] / shape[1] for shape in shapes]), 0.2, 1.25))


@dataclass(frozen=True)
class _Sheet:
    """A figure drawn on in inches from its top left corner."""

    figure: Figure
    width: float
    height: float

    def text(self, left: float, middle: float, words: str, *, size: float, **look: str) -> None:
        self.figure.text(
            left / self.width,
            1 - middle / self.height,
            words,
            fontsize=size,
            color=look.get("colour", INK),
            fontweight=look.get("weight", "normal"),
            va="center",
        )

    def rule(self, left: float, right: float, down: float) -> None:
        from matplotlib.lines import Line2D

        across = [left / self.width, right / self.width]
        y = 1 - down / self.height
        line = Line2D(across, [y, y], color=GRID, linewidth=1.2, transform=self.figure.transFigure)
        self.figure.add_artist(line)

    def tile(self, tile: _Tile, left: float, top: float, height: float) -> None:
        if tile.image is None:
            return
        tall, wide = tile.image.shape[:2]
        scale = min(_TILE / wide, height / tall)
        across, down = (max(_THINNEST, side * scale) for side in (wide, tall))
        size = (across / self.width, down / self.height)
        bottom = 1 - top / self.height - size[1]
        axes = self.figure.add_axes((left / self.width, bottom, *size))
        axes.imshow(_small(tile.image), interpolation="lanczos", aspect="auto")
        axes.set_axis_off()
        if tile.remark:
            self.text(left, top + height + 0.15, tile.remark, size=7.5, colour=QUIET)


def _small(image: UInt8Image) -> UInt8Image:
    import cv2

    scale = _PIXELS / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
