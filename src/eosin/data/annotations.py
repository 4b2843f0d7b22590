"""What people drew on a slide in QuPath (GeoJSON) or ImageScope (XML), and tiles labelled by it."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from eosin.arrays import Floats
from eosin.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Never

    from eosin.arrays import Ints

_MOST: Final = 2**30  # bytes that a file may have when unpacked
_OUTLINES: Final = ("0", "1")  # of ImageScope's types of region: freehand and rectangle


@dataclass(frozen=True, slots=True)
class Region:
    """An annotation: its class and outlines, each (corners, 2) as x, y in pixels of level 0."""

    label: str
    outer: tuple[Floats, ...]
    holes: tuple[Floats, ...] = ()


def read_annotations(path: Path, *, sides: tuple[int, int] | None = None) -> tuple[Region, ...]:
    """Read a GeoJSON of QuPath's or an XML of ImageScope's; either may be gzipped.

    A GeoJSON is a FeatureCollection, a Feature or an array of them; its classes are QuPath's
    classifications. In an XML a region's class is its Text or else the Name of its layer, and a
    region with NegativeROA is a hole of the region of its layer that it begins in.

    Args:
        path: the file.
        sides: width and height of the slide, pixels of level 0; None where corners may lie outside.

    Raises:
        DataError: it is no such file, or an annotation has no class, is of another geometry, has a
            ring that is not closed or has less than three corners, or lies outside of the slide.
    """
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); export it again") from error
    if len(data) > _MOST:
        raise DataError(f"{path}: more than {_MOST} bytes; split it")
    read = _of_imagescope if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _of_qupath
    return tuple(read(_Source(path, sides), data))


def label_tiles(
    regions: Sequence[Region], x: Ints, y: Ints, width: float, *, least: float = 0.5
) -> list[str]:
    """The class that covers each tile most, where it covers at least ``least`` of it; else "".

    Areas are exact for outlines that do not cross themselves. Of two classes that cover a tile
    alike, the later one in ``regions`` wins, as it is drawn on top. Where two regions of one class
    overlap, what both cover counts twice.

    Args:
        regions: what was drawn.
        x: of the tiles' upper left corners, pixels of level 0, (n,).
        y: the same.
        width: side of a tile, pixels of level 0.
        least: above 0 and at most 1; else ConfigError.
    """
    if not 0 < least <= 1:
        raise ConfigError(f"least {least}: a share of a tile is above 0 and at most 1")
    labels = list(dict.fromkeys(region.label for region in reversed(regions)))
    covers = np.zeros((len(labels) + 1, len(x)))  # the last: of no class
    for region in regions:
        cover = covers[labels.index(region.label)]
        for ring in region.outer:
            cover += _areas(ring, x, y, width)
        for ring in region.holes:
            cover -= _areas(ring, x, y, width)
    covers = np.round(covers / width**2, 9)
    best = covers.argmax(axis=0)
    return [[*labels, ""][k] if covers[k, n] >= least else "" for n, k in enumerate(best)]


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    sides: tuple[int, int] | None

    def refuse(self, element: str, reason: str) -> Never:
        raise DataError(f"{self.path}: {element}: {reason}")

    def ring(self, element: str, corners: object, *, closed: bool) -> Floats:
        """A ring without its last corner, if that is to repeat the first."""
        try:
            ring = np.array(corners, np.float64)[..., :2]
        except (TypeError, ValueError, IndexError, OverflowError):
            ring = np.empty(0)
        if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
            self.refuse(element, "its corners are no pairs of numbers")
        if closed and (ring[0] != ring[-1]).any():
            self.refuse(element, "a ring is not closed; let it end with its first corner")
        ring = ring[:-1] if closed else ring
        if len(np.unique(ring, axis=0)) < 3:
            self.refuse(element, "a ring has less than 3 corners; delete it, or draw it again")
        outside = ((ring < 0) | (ring > (self.sides or np.inf))).any(axis=1)
        if self.sides and outside.any():
            x, y = ring[outside.argmax()]
            self.refuse(element, f"({x:g}, {y:g}) is outside of the slide, {self.sides} pixels")
        return ring


def _of_qupath(source: _Source, data: bytes) -> Iterator[Region]:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source.path}: neither XML nor JSON ({error}); export it") from error
    found = read.get("features", [read]) if isinstance(read, dict) else read
    if not isinstance(found, list):
        source.refuse("its root", "no features; export annotations as GeoJSON")
    for number, feature in enumerate(found):
        element = f"feature {number}"
        try:
            named, geometry = feature["properties"].get("classification"), feature["geometry"]
            label = (named or {}).get("name") or ": ".join((named or {}).get("names", ()))
            kind, parts = geometry["type"], geometry["coordinates"]
            polygons = {"Polygon": [parts], "MultiPolygon": parts}.get(kind, [])
            rings = [[source.ring(element, at, closed=True) for at in part] for part in polygons]
            outer = tuple(own[0] for own in rings)
        except (AttributeError, IndexError, KeyError, TypeError):
            source.refuse(element, "not built as a GeoJSON Feature; export the annotations again")
        if not outer:
            source.refuse(element, f"a geometry of type {kind}; want Polygon or MultiPolygon")
        if not label:
            source.refuse(element, "no class; give the annotation one in QuPath")
        yield Region(str(label), outer, tuple(hole for own in rings for hole in own[1:]))


def _of_imagescope(source: _Source, data: bytes) -> Iterator[Region]:
    for layer in _parsed(source, data).iter("Annotation"):
        drawn = list[tuple[str, Floats, list[Floats]]]()
        for region in sorted(layer.iter("Region"), key=_is_hole):
            element = f"layer {layer.get('Id')}, region {region.get('Id')}"
            if region.get("Type", "0") not in _OUTLINES:
                source.refuse(element, f"of type {region.get('Type')}; want an outline, 0 or 1")
            corners = [(at.get("X"), at.get("Y")) for at in region.iter("Vertex")]
            ring = source.ring(element, corners, closed=False)
            label = region.get("Text") or layer.get("Name")
            if _is_hole(region):
                within = [own for _, outer, own in drawn if _holds(outer, ring[0])]
                if not within:
                    source.refuse(element, "a hole that begins in no region of its layer")
                within[-1].append(ring)
            elif label:
                drawn.append((label, ring, []))
            else:
                source.refuse(element, "no class; name the layer, or give the region a text")
        for label, ring, own in drawn:
            yield Region(label, (ring,), tuple(own))


def _is_hole(region: Element) -> bool:
    return region.get("NegativeROA") == "1"


def _parsed(source: _Source, data: bytes) -> Element:
    """The root of an XML without a document type, so that nothing in it can be an entity."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.StartDoctypeDeclHandler = lambda *_: source.refuse(
        "its head", "a document type, which ImageScope does not write; remove it"
    )
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataError(f"{source.path}: not whole as XML ({error}); export it again") from error
    return builder.close()


def _areas(ring: Floats, x: Ints, y: Ints, width: float) -> Floats:
    """Area that a polygon shares with each tile: Sutherland and Hodgman's clipping, row by row."""
    areas, low, high = np.zeros(len(x)), ring.min(axis=0), ring.max(axis=0)
    near = (x < high[0]) & (x + width > low[0]) & (y < high[1]) & (y + width > low[1])
    for top in np.unique(y[near]):
        strip = _clipped(ring, 1, top, top + width)
        for k in np.flatnonzero(near & (y == top)):
            part = _clipped(strip, 0, x[k], x[k] + width)
            part = part - (x[k], top)  # near 0, for precision
            after = np.roll(part, -1, axis=0)
            areas[k] = abs((part[:, 0] * after[:, 1] - part[:, 1] * after[:, 0]).sum()) / 2
    return areas


def _clipped(ring: Floats, axis: int, low: float, high: float) -> Floats:
    """What of a polygon (n, 2) lies between two lines; parts may hang together by edges on them."""
    for limit, sign in ((low, 1), (high, -1)):
        depth, after = (ring[:, axis] - limit) * sign, np.roll(ring, -1, axis=0)
        within = depth >= 0
        crossing = within != np.roll(within, -1)
        span = np.where(crossing, depth - np.roll(depth, -1), 1.0)
        cuts = ring + (depth / span)[:, None] * (after - ring)
        ring = np.stack([ring, cuts], axis=1)[np.column_stack([within, crossing])]
    return ring


def _holds(ring: Floats, point: Floats) -> bool:
    """Whether a point lies in a polygon, by the crossings of a ray to its right."""
    (x1, y1), (x2, y2), (x, y) = ring.T, np.roll(ring, -1, axis=0).T, point
    crossed = (y1 <= y) != (y2 <= y)
    return bool((x1 + (y - y1) / np.where(crossed, y2 - y1, 1) * (x2 - x1) > x)[crossed].sum() % 2)
