"""Maps of one value a tile as pyramidal OME-TIFF that lies on its slide, written and read back."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from functools import partial
from html import unescape
from itertools import product
from typing import TYPE_CHECKING, BinaryIO, Final
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from eosin.errors import DataError
from eosin.files import replacing, valid_text
from eosin.slides.grid import Extent
from eosin.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from eosin.arrays import Floats, Floats32, Ints
    from eosin.slides.grid import TileGrid

_NAMESPACE: Final = "eosin/slide-map"
_COARSEST: Final = 128  # cells that the longer side of the last level has at most
_BLOCK: Final = 256  # side of a TIFF tile, pixels


@dataclass(frozen=True, slots=True)
class SlideMap:
    """A value a cell of the grid that the tiles of a slide lie on.

    Attributes:
        values: (rows, columns); NaN where no tile was scored.
        name: of the value, e.g. "malignant".
        step: side of a cell, pixels of level 0; cell (0, 0) begins at the slide's (0, 0).
        extent: of the slide.
    """

    values: Floats32
    name: str
    step: float
    extent: Extent

    @property
    def mpp(self) -> float:
        """Side of a cell, um."""
        return self.step * self.extent.mpp

    def cells(self) -> tuple[Ints, Ints, Floats32]:
        """The scored cells: x and y of their upper left corners at level 0, and their values."""
        rows, columns = np.nonzero(np.isfinite(self.values))
        x, y = (np.rint(index * self.step).astype(np.int64) for index in (columns, rows))
        return x, y, self.values[rows, columns]


def map_of(values: Floats, tiles: TileGrid, extent: Extent, *, name: str = "value") -> SlideMap:
    """Values of tiles (n,) as a map: a cell has the mean of the tiles that cover its centre.

    So it is a tile's own value where tiles overlap by less than half. A tile whose value is NaN
    counts as not scored. The grid is padded with NaN so that each level of the pyramid halves it
    exactly: no level is shifted or stretched against another.

    Raises:
        DataError: not a value a tile, an infinite one, or tiles outside of the slide.
    """
    values = np.asarray(values, np.float64)
    if len(values) != len(tiles.columns) or np.isinf(values).any():
        raise DataError(f"{name}: want one number for each of {len(tiles.columns)} tiles, or NaN")
    sides, cells = np.array([extent.height, extent.width]), np.stack([tiles.rows, tiles.columns], 1)
    if (cells * tiles.step >= sides).any() or cells.min() < 0 or not extent.mpp > 0:
        raise DataError(f"tiles lie outside of a slide of {extent}; state the sides of their slide")
    need = np.maximum(np.ceil(sides / tiles.step - 1e-6).astype(int), cells.max(axis=0) + 1)
    even = 2 ** _levels(need)
    total, count = (np.zeros(-(-need // even) * even) for _ in range(2))
    scored = np.isfinite(values)
    reach = math.ceil(round(tiles.width / tiles.step, 3) - 0.5)  # cells whose centre a tile covers
    for shift in product(range(max(1, reach)), repeat=2):
        at = cells[scored] + shift
        inside = (at < need).all(axis=1)
        np.add.at(total, tuple(at[inside].T), values[scored][inside])
        np.add.at(count, tuple(at[inside].T), 1)
    return SlideMap(_mean(total, count), name, tiles.step, extent)


def write_map(
    path: Path, values: Floats, tiles: TileGrid, extent: Extent, *, name: str = "value"
) -> SlideMap:
    """Write values of tiles (n,) as an OME-TIFF that viewers lay on the slide; return the map.

    A pixel is a cell and its PhysicalSize is ``step * mpp`` um, so that viewers which place images
    by it (QuPath, napari, OMERO) put the map on the slide without a shift. It is not upsampled:
    viewers enlarge pixels on their own, and who reads the file finds one number a tile. The levels
    are SubIFDs; a cell of a coarser one is the mean of the scored cells that it covers.

    Args:
        path: ending in .ome.tiff or .ome.tif, by which viewers know an OME-TIFF.
        values: NaN where a tile was not scored.
        tiles: where they lie.
        extent: of the slide.
        name: of the value, and of the channel.

    Raises:
        DataError: as ``map_of``, or a path of another ending.
        DiskError: it cannot be written.
    """
    if not path.name.lower().endswith((".ome.tiff", ".ome.tif")):
        raise DataError(f"{path}: a map is an OME-TIFF; let its name end in .ome.tiff")
    made = map_of(values, tiles, extent, name=valid_text(name))
    with replacing(path) as draft, draft.open("wb") as stream:
        _write(stream, made)
    return made


def read_map(path: Path) -> SlideMap:
    """Read what ``write_map`` wrote; DataError where the file is something else."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            values, xml = file.pages[0].asarray(), file.ome_metadata or ""
    except Exception as error:  # of tifffile and its codecs: what a damaged file raises is not said
        raise DataError(f"{path}: cannot be read as TIFF ({error})") from error
    facts = {key: unescape(fact) for key, fact in re.findall(r'<M K="(\w+)">([^<]*)</M>', xml)}
    if _NAMESPACE not in xml or values.dtype != np.float32 or values.ndim != 2:
        raise DataError(f"{path}: no map of eosin's; name one that write_map wrote")
    try:
        extent = Extent(int(facts["width"]), int(facts["height"]), float(facts["mpp"]))
        return SlideMap(values, facts["name"], float(facts["step"]), extent)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: its geometry is lost ({error}); write the map again") from error


def is_map(path: Path) -> bool:
    """Whether a file is a map that ``write_map`` wrote."""
    try:
        read_map(path)
    except DataError:
        return False
    return True


def _write(stream: BinaryIO, made: SlideMap) -> None:
    import tifffile

    values, levels, density = made.values, _levels(made.values.shape), 1e4 / made.mpp
    with tifffile.TiffWriter(stream, ome=True) as file:
        write = partial(
            file.write,
            tile=(_BLOCK, _BLOCK),
            compression="zlib",
            photometric="minisblack",
            resolutionunit="CENTIMETER",
        )
        write(values, resolution=(density, density), subifds=levels, metadata=_metadata(made))
        for level in range(1, levels + 1):
            values = _halved(values)
            write(values, resolution=(density / 2**level,) * 2, subfiletype=1)


def _metadata(made: SlideMap) -> dict[str, object]:
    """What the OME-XML says; its UUID is made of the content, so equal maps are equal files."""
    facts = {"name": made.name, "step": made.step, **asdict(made.extent)}
    return {
        "axes": "YX",
        "Name": made.name,
        "Channel": {"Name": [made.name]},
        **{f"PhysicalSize{axis}": made.mpp for axis in "XY"},
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XY"},
        "MapAnnotation": {"Namespace": _NAMESPACE, "Value": facts},
        "Creator": f"eosin {__version__}",
        "UUID": str(uuid5(NAMESPACE_OID, f"{facts} {made.values.tobytes().hex()}")),
    }


def _levels(shape: npt.ArrayLike) -> int:
    """How many coarser levels a map has: one at least."""
    return max(1, math.ceil(math.log2(np.max(shape) / _COARSEST)))


def _halved(values: Floats32) -> Floats32:
    """A map at half its resolution, of the scored cells; its sides are even."""
    rows, columns = values.shape
    blocks = values.reshape(rows // 2, 2, columns // 2, 2).astype(np.float64)
    return _mean(np.nansum(blocks, axis=(1, 3)), np.isfinite(blocks).sum(axis=(1, 3)))


def _mean(total: Floats, count: Floats | Ints) -> Floats32:
    """``total / count`` as float32, NaN where nothing was counted."""
    mean = np.full(total.shape, np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean
