"""Results of tiles as GeoJSON for QuPath: an object a tile, or merged regions with their holes."""

from __future__ import annotations

import gzip
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from eosin.errors import DataError, first_ten
from eosin.files import replacing, valid_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Ints
    from eosin.slides.grid import TileGrid

RGB: TypeAlias = tuple[int, int, int]  # 0 to 255
Corner: TypeAlias = tuple[int, int]  # of a grid's cell: column, row
Rings: TypeAlias = "list[list[tuple[float, float]]]"  # closed; x, y in pixels of level 0


@dataclass(frozen=True, slots=True)
class TileResults:
    """What was found in the tiles of one slide.

    Attributes:
        slide: its name.
        tiles: where they lie, n of them.
        classes: of each tile; "" for none.
        colours: of every class.
        measurements: (n,) numbers each, by name; NaN where a tile has none.
        mpp: um a pixel of level 0; None where areas are wanted in pixels.
    """

    slide: str
    tiles: TileGrid
    classes: Sequence[str]
    colours: Mapping[str, RGB]
    measurements: Mapping[str, Floats]
    mpp: float | None = None


_HEAD = '{"type": "FeatureCollection", "features": ['


def is_geojson(path: Path) -> bool:
    """Whether a file begins as those of ``write_geojson`` do, gzipped or not."""
    reader = gzip.open if path.suffix == ".gz" else open
    try:
        with reader(path, "rb") as stream:
            return stream.read(len(_HEAD)) == _HEAD.encode()
    except (OSError, EOFError):
        return False


def write_geojson(path: Path, results: TileResults, *, merged: bool = False) -> int:
    """Write a FeatureCollection that QuPath 0.4 and later imports; return how many objects it has.

    Corners are pixels of level 0; outer rings run counter-clockwise in (x, y), holes clockwise
    (RFC 7946). An object's id is made of its slide and its position: equal results have equal ids.

    Args:
        path: its name ends in .geojson, or in .geojson.gz to be gzipped.
        results: streamed to disk one object at a time.
        merged: tiles of one class that share a side become one annotation with its area, its tiles
            and their mean measurements. Where tiles overlap, a point belongs to the tile whose
            centre is nearest.

    Raises:
        DataError: a class without a colour, or not one class and number a tile.
        DiskError: it cannot be written.
    """
    lengths = {name: len(row) for name, row in results.measurements.items()}
    wanted = len(results.tiles.columns)
    if wrong := [k for k, n in {"classes": len(results.classes), **lengths}.items() if n != wanted]:
        raise DataError(f"{first_ten(wrong)}: not one for each of the {wanted} tiles")
    if missing := {*results.classes} - {*results.colours, ""}:
        raise DataError(f"no colour for the class {first_ten(missing)}; give each class one")
    count = 0
    with replacing(path) as draft, draft.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8") as stream:
            stream.write(_HEAD)
            for count, feature in enumerate(_regions(results) if merged else _tiles(results), 1):
                text = json.dumps(feature, ensure_ascii=False, allow_nan=False)
                stream.write((",\n" if count > 1 else "\n") + text)
            stream.write("\n]}\n")
    return count


def _tiles(results: TileResults) -> Iterator[dict[str, object]]:
    tiles = results.tiles
    for k, name in enumerate(results.classes):
        x, y = int(tiles.x[k]), int(tiles.y[k])
        right, below = round(x + tiles.width, 3), round(y + tiles.width, 3)
        ring: list[tuple[float, float]] = [(x, y), (right, y), (right, below), (x, below), (x, y)]
        measured = {key: row[k] for key, row in results.measurements.items()}
        yield _feature(results, name, [ring], measured, kind="tile")


def _regions(results: TileResults) -> Iterator[dict[str, object]]:
    step, margin = results.tiles.step, (results.tiles.width - results.tiles.step) / 2
    unit, side = ("px", step) if results.mpp is None else ("µm", step * results.mpp)
    areas, of_tile = _connected(results)
    numbers, first, counts = np.unique(of_tile, return_index=True, return_counts=True)
    columns = {f"Area {unit}^2": counts * side**2, "Tiles": counts}
    for key, row in results.measurements.items():
        known = np.isfinite(row)
        total = np.bincount(of_tile[known], row[known], minlength=numbers[-1] + 1)[numbers]
        count = np.bincount(of_tile[known], minlength=numbers[-1] + 1)[numbers]
        columns[f"Mean {key}"] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    outlines = _outlines(areas)
    for k, number in enumerate(numbers.tolist()):
        if number > 0:
            rings: Rings = [
                [(round(x * step + margin, 3), round(y * step + margin, 3)) for x, y in ring]
                for ring in outlines[number]
            ]
            measured = {key: column[k] for key, column in columns.items()}
            yield _feature(results, results.classes[first[k]], rings, measured, kind="annotation")


def _feature(
    results: TileResults, name: str, rings: Rings, measured: Mapping[str, float], *, kind: str
) -> dict[str, object]:
    """An object as QuPath writes its own: qupath.lib.io.QuPathTypeAdapters."""
    slide = valid_text(results.slide)
    numbers = {key: float(value) for key, value in measured.items() if math.isfinite(value)}
    properties: dict[str, object] = {"objectType": kind, "measurements": numbers}
    if name:
        properties["classification"] = {"name": name, "color": list(results.colours[name])}
    if kind == "annotation":
        properties["isLocked"] = True
    return {
        "type": "Feature",
        "id": str(uuid5(NAMESPACE_OID, f"eosin {kind} {slide} {rings[0]}")),
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": properties,
    }


def _connected(results: TileResults) -> tuple[Ints, Ints]:
    """Numbers, from 1, of what tiles of a class make by shared sides: as a grid, and by tile."""
    import cv2

    tiles, classes = results.tiles, np.array(results.classes)
    areas = np.zeros((tiles.rows.max() + 1, tiles.columns.max() + 1), np.int64)
    for name in sorted({*results.classes} - {""}):
        own = np.zeros(areas.shape, np.uint8)
        own[tiles.rows[classes == name], tiles.columns[classes == name]] = 1
        _, parts = cv2.connectedComponents(own, connectivity=4)
        areas[own > 0] = parts[own > 0] + areas.max()
    return areas, areas[tiles.rows, tiles.columns]


def _outlines(areas: Ints) -> dict[int, list[list[Corner]]]:
    """The closed rings of each area of equal numbers, its outer one first; 0 is no area.

    Each side of a cell where its area ends is an edge that has the area on its left. Edges are
    followed; where an area touches itself at a corner, two leave, and the one to the right is
    taken. So a ring passes each corner once, and a hole may touch its outer ring but not cross it.
    """
    edges = _edges(areas)
    outlines: dict[int, list[list[Corner]]] = {}
    for area, *start in list(edges):
        while (area, *start) in edges:
            ring, at, way = list[Corner](), (start[0], start[1]), (0, 0)
            while not ring or at != ring[0]:
                leaving, right = edges[area, *at], (way[1], -way[0])
                turned = leaving.pop(leaving.index(right) if right in leaving else 0)
                if not leaving:
                    del edges[area, *at]
                if turned != way:
                    ring.append(at)
                way, at = turned, (at[0] + turned[0], at[1] + turned[1])
            outlines.setdefault(area, []).append([*ring, ring[0]])
    # Tops of cells come first and in reading order: a ring starts at a turn, an outer one is first.
    return outlines


def _edges(areas: Ints) -> dict[tuple[int, int, int], list[Corner]]:
    """The ways (dx, dy) that leave each corner, by (area, x, y); rows in reading order first."""
    inner = np.pad(areas, 1)
    edges: dict[tuple[int, int, int], list[Corner]] = {}
    for (dx, dy), shift, beside in (
        ((1, 0), (0, 0), inner[:-2, 1:-1]),
        ((0, 1), (1, 0), inner[1:-1, 2:]),
        ((-1, 0), (1, 1), inner[2:, 1:-1]),
        ((0, -1), (0, 1), inner[1:-1, :-2]),
    ):
        rows, columns = np.nonzero((areas != beside) & (areas > 0))
        found = zip(areas[rows, columns].tolist(), columns.tolist(), rows.tolist(), strict=True)
        for area, column, row in found:
            edges.setdefault((area, column + shift[0], row + shift[1]), []).append((dx, dy))
    return edges
