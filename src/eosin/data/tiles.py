"""From slides to tiles: where tissue is, at one scale, on one grid; and a manifest of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.manifest import Manifest
from eosin.data.annotations import label_tiles, read_annotations
from eosin.data.scale import um_per_pixel
from eosin.data.scan import ReadDataset, image_rows
from eosin.errors import DataError
from eosin.pixels.reading import SkippedFile
from eosin.pixels.tissue_mask import find_tissue
from eosin.pixels.tissue_tiles import LEAST_TISSUE, tissue_tiles
from eosin.pixels.writing import require_distinct_names, write_png
from eosin.progress import SILENT, Progress, shown, working
from eosin.remote import as_path
from eosin.settings import checked_options
from eosin.slides.opening import open_slide, open_where_told, read_tile
from eosin.slides.tile import Tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import Floats, Ints, UInt8Image
    from eosin.pixels.tissue_mask import TissueMask
    from eosin.slides.slide import Slide

OVERVIEW = 8.0  # um/px at which tissue is looked for
_OF_SLIDES = ("path", "mpp", "annotations", "outside")  # columns that tiles do not take over


@checked_options
@dataclass(frozen=True, slots=True)
class TileOptions:
    """Which tiles of a slide to take."""

    mpp: float  # um/px at which they are read
    size: int = 224  # their side, pixels
    overlap: int = 0  # pixels that neighbours share
    least: float = LEAST_TISSUE  # share of tissue from which a tile is taken
    slide_mpp: float | None = None  # um/px of level 0, for slides that state none


@dataclass(frozen=True)
class TiledSlide:
    """A slide, what is tissue on it, and its tiles, row by row."""

    slide: Slide
    overview: UInt8Image  # all of it, at the um/px of the mask
    mask: TissueMask
    tiles: tuple[Tile, ...]
    tissue: Floats  # share of each tile, 0 to 1, shape (n,)
    step: int  # from one tile to the next, pixels of level 0

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each tile by its path."""
        return {str(tile.path): number for number, tile in enumerate(self.tiles)}

    @cached_property
    def corners(self) -> tuple[Ints, Ints]:
        """The x and the y of the tiles, shape (n,) each."""
        x, y = (np.array([getattr(tile, axis) for tile in self.tiles], np.int64) for axis in "xy")
        return x, y

    def rows(self, known: Mapping[str, str]) -> list[dict[str, str]]:
        """Rows of a manifest of its tiles; ``known`` is what all have in common."""
        scale = self.slide.known_mpp()
        return [
            {
                **known,
                "path": str(tile.path),
                "x": str(tile.x),
                "y": str(tile.y),
                "mpp": f"{tile.width * scale / tile.size:.6g}",
                "tissue": f"{share:.3f}",
            }
            for tile, share in zip(self.tiles, self.tissue, strict=True)
        ]


def tile_slide(path: Path, options: TileOptions, *, known: Mapping[str, str]) -> TiledSlide:
    """The tiles of one slide that hold tissue.

    Args:
        path: the slide.
        options: which tiles.
        known: what a manifest says of it; its ``mpp`` counts more than what the file states.

    Raises:
        DataError: it cannot be read, states no um/px, or holds no tissue.
    """
    if known.get("mpp"):
        slide = open_slide(path, mpp=um_per_pixel(known["mpp"]))
    else:
        slide = open_where_told(path, options.slide_mpp)
    found = lay_tiles(slide, options)
    if not found.tiles:
        raise DataError(
            f"{path}: no tile holds {options.least:g} of tissue; look at it with `eosin slide "
            "show`, or lower --least-tissue"
        )
    return found


def lay_tiles(slide: Slide, options: TileOptions) -> TiledSlide:
    """The tiles of an open slide that hold tissue, maybe none; DataError as ``known_mpp``."""
    scale, finest = slide.known_mpp(), slide.levels[0]
    overview = slide.overview(OVERVIEW)
    mask = find_tissue(overview, OVERVIEW)
    x, y, width = tissue_tiles(
        finest.width,
        finest.height,
        mask,
        slide_mpp=scale,
        size=options.size,
        mpp=options.mpp,
        overlap=options.overlap,
        least=options.least,
    )
    tissue = mask.shares(x, y, width, slide_mpp=scale)
    tiles = (
        Tile(slide.path, a, b, width, options.size)
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    step = round(width * (options.size - options.overlap) / options.size)
    return TiledSlide(slide, overview, mask, tuple(tiles), tissue, step)


def tile_manifest(
    slides: Manifest,
    options: TileOptions,
    *,
    per_slide: int | None = None,
    seed: int = 0,
    progress: Progress | bool = SILENT,
) -> ReadDataset:
    """A manifest of the tiles of all slides of one; splits, folds and patients stay.

    A tile has the label of its slide, or that of the region which covers at least half of it;
    tiles in no region have the slide's ``outside`` label, or are left out where that is empty.

    Args:
        slides: of ``read_slides``.
        options: which tiles.
        per_slide: at most so many of a slide, drawn by chance.
        seed: of that draw.
        progress: told of slides.

    Raises:
        DataError: no slide has a tile.
    """
    rows, skipped, progress = list[dict[str, str]](), list[SkippedFile](), shown(progress)
    with working(progress, "tiling", total=len(slides)):
        for known in slides.frame.to_dict("records"):
            path = as_path(known["path"])
            try:
                rows += _drawn(_labelled(path, known, options), per_slide, seed)
            except DataError as error:
                skipped.append(SkippedFile.from_error(path, error))
            progress.advance(errors=bool(skipped) and skipped[-1].path == path)
    if not rows:
        raise DataError(f"no tile of {len(slides)} slides: {skipped[0].path}: {skipped[0].reason}")
    columns = [name for name in slides.frame if name not in _OF_SLIDES]
    frame = image_rows(rows)[["path", *dict.fromkeys([*columns, "x", "y", "mpp", "tissue"])]]
    notes = (*slides.notes, f"Tiles of {options.size} px at {options.mpp:g} um/px.")
    return ReadDataset(replace(slides, frame=frame, notes=notes), tuple(skipped))


def write_tiles(manifest: Manifest, folder: Path, *, progress: Progress = SILENT) -> ReadDataset:
    """Cut the tiles of a manifest to PNG files in ``folder``; the manifest of these files.

    DataError where two slides of one name would share files, or no tile can be read; DiskError.
    """
    paths, skipped = manifest.paths, list[SkippedFile]()
    slides = zip(manifest.frame["slide"], paths, strict=True)
    names = [f"{slide}_{path.name}.png" for slide, path in slides]
    require_distinct_names(paths, names)
    with working(progress, "cutting", total=len(manifest)):
        for path, name in zip(paths, names, strict=True):
            try:
                pixels = _pixels_of(path)
            except DataError as error:
                skipped.append(SkippedFile.from_error(path, error))
            else:
                write_png(pixels, folder / name)
            progress.advance(errors=bool(skipped) and skipped[-1].path == path)
    frame = manifest.frame.assign(path=[str(folder.absolute() / name) for name in names])
    unread = {item.path for item in skipped}
    kept = [path not in unread for path in paths]
    return ReadDataset(replace(manifest, frame=frame).where(kept), tuple(skipped))


def _pixels_of(path: Path) -> UInt8Image:
    tile = Tile.of(path)
    if tile is None:
        raise DataError(f"{path}: is no tile of a slide; give a manifest of slides")
    return read_tile(tile)


def _labelled(path: Path, known: Mapping[str, str], options: TileOptions) -> list[dict[str, str]]:
    """Rows of the tiles of a slide, with the labels of its regions where it has such."""
    found = tile_slide(path, options, known=known)
    rows = found.rows({name: cell for name, cell in known.items() if name not in _OF_SLIDES})
    if not known.get("annotations"):
        return rows
    regions = read_annotations(Path(known["annotations"]))
    labels = label_tiles(regions, *found.corners, found.tiles[0].width)
    named = [label or known.get("outside", "") for label in labels]
    kept = [{**row, "label": label} for row, label in zip(rows, named, strict=True) if label]
    if not kept:
        raise DataError(f"{path}: its regions cover half of no tile; draw more, or give --outside")
    return kept


def _drawn(rows: Sequence[dict[str, str]], most: int | None, seed: int) -> list[dict[str, str]]:
    if most is None or len(rows) <= most:
        return [*rows]
    chosen = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return [rows[index] for index in sorted(chosen)]
