"""The slides that a server shows: found when it starts, read box by box, with stored answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.artefacts.manifest import read_manifest
from eosin.artefacts.outputs import PREDICTIONS
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.slide import SlideAnswer, read_slide_answer
from eosin.data.scale import um_per_pixel
from eosin.errors import DataError
from eosin.inference.slides import ANSWER_NAME, TILES_NAME
from eosin.pixels.tissue_tiles import grid_sides
from eosin.pixels.writing import png_bytes
from eosin.remote import as_path
from eosin.reporting.galleries import thumbnail
from eosin.reporting.html import data_url
from eosin.reporting.overlay import HeatmapStyle, colour_of
from eosin.reporting.slide_page import slide_files, slide_sentence
from eosin.server.worklist import case_id
from eosin.slides.maps import read_map
from eosin.slides.opening import find_slides, is_slide, opened, read_tile
from eosin.slides.tile import Tile

if TYPE_CHECKING:
    from eosin.arrays import Floats32, UInt8Image
    from eosin.networks.run import Run
    from eosin.slides.slide import Slide

_TILE: Final = 256  # side of a picture of the pyramid, pixels
_FIRST: Final = 8  # level of the pyramid: one picture that shows the whole slide
_MAP: Final = ".ome.tiff"
_COLOURS: Final = HeatmapStyle().colormap
_UNKNOWN: Final = (
    "this slide {fault}, so it has no scale bar and no tile to score; state its um/px in the "
    "column mpp of a manifest and give that as --data"
)
_UNSCALED: Final = (
    "this Run was trained at an unknown um/px, so it cannot be told which tile to score; give as "
    "--data what `eosin predict RUN SLIDE -o FOLDER --mpp X` writes with it"
)


@dataclass(frozen=True)
class Shown:
    """A slide, and what a manifest or ``eosin predict`` says of it.

    Methods raise KeyError for what is not there, and DataError for what cannot be read.
    """

    id: str  # opaque; of its path
    name: str
    path: Path
    patient: str  # empty where nobody says
    mpp: float | None  # um/px of level 0 by a manifest: counts more than the file's
    answer: SlideAnswer | None  # of ``eosin predict``
    folder: Path  # where that lies; else the slide

    def open(self) -> Slide:
        """The slide with all that is known of its um/px."""
        slide = opened(self.path)
        mpp = self.mpp or slide.mpp or (self.answer.slide_mpp if self.answer else None)
        return replace(slide, mpp=mpp, mpp_fault="" if mpp else slide.mpp_fault)

    def facts(self) -> dict[str, object]:
        """What a page needs to show it, as JSON has it, without a path."""
        slide, answer = self.open(), self.answer
        return {
            **{"width": slide.levels[0].width, "height": slide.levels[0].height},
            **{"mpp": slide.mpp, "objective": slide.objective},
            "fault": "" if slide.mpp else _UNKNOWN.format(fault=slide.mpp_fault),
            "layers": [self._layer(name) for name in self.layers],
            "positive": answer.task.positive if answer else None,
            "said": [slide_sentence(answer), *answer.notes] if answer else [],
        }

    def picture(self, level: int, column: int, row: int) -> bytes:
        """A JPEG of the Deep Zoom pyramid, whose levels halve and whose pictures abut."""
        slide = self.open()
        full = slide.levels[0]
        top = (max(full.width, full.height) - 1).bit_length()
        if not (_FIRST <= level <= top and column >= 0 and row >= 0):
            raise KeyError(level, column, row)
        scale = 2 ** (top - level)
        width = min(_TILE, -(-full.width // scale) - _TILE * column)
        height = min(_TILE, -(-full.height // scale) - _TILE * row)
        if min(width, height) < 1:
            raise KeyError(level, column, row)
        side = _TILE * scale
        pixels = slide.region(column * side, row * side, side, _TILE)
        return thumbnail(pixels[:height, :width], longest=_TILE, fine=True)[0]

    @property
    def layers(self) -> dict[str, Path]:
        """The files of its maps by their names."""
        names = slide_files(self.answer.task) if self.answer else {}
        files = {name.removesuffix(_MAP): self.folder / name for name in names if _MAP in name}
        return {name: file for name, file in files.items() if file.is_file()}

    def layer_picture(self, name: str) -> bytes:
        """A PNG of a map, a pixel a cell, clear where no tile was scored."""
        values = read_map(self.layers[name]).values
        colours = colour_of(np.nan_to_num(values) / _highest(name, values), _COLOURS)
        return png_bytes(np.dstack([colours, np.isfinite(values).astype(np.uint8) * 255]))

    def look(self, run: Run, x: float, y: float) -> tuple[UInt8Image, dict[str, object]]:
        """The tile of a Run's grid that holds a point of level 0: its pixels; and as JSON has it
        where it lies, its picture, and what is stored of the 3 x 3 tiles around, row by row.
        """
        slide = self.open()
        if x >= slide.levels[0].width or y >= slide.levels[0].height:
            raise KeyError(x, y)
        step, width, size = self._grid(slide, run)
        left, top = (int(position // step * step) for position in (x, y))
        corners = [(left + i * step, top + k * step) for k in (-1, 0, 1) for i in (-1, 0, 1)]
        names = [Tile(self.path, *corner, width, size).path.name for corner in corners]
        pixels = read_tile(Tile(self.path, left, top, width, size))
        nine = slide.region(*corners[0], 3 * step, 336)
        file = self.folder / TILES_NAME
        stored = _probabilities(file, file.stat().st_mtime_ns) if file.is_file() else {}
        return pixels, {
            **{"x": left, "y": top, "width": width, "picture": data_url("png", png_bytes(pixels))},
            "around": data_url("jpeg", thumbnail(nine, longest=len(nine), fine=True)[0]),
            "middles": [{"x": a + width / 2, "y": b + width / 2} for a, b in corners],
            "stored": [stored.get(name) for name in names],
        }

    def _grid(self, slide: Slide, run: Run) -> tuple[int, float, int]:
        """Step and side of a Run's tiles at level 0, and their pixels; as stored, if they are."""
        own, scale = self.answer, run.record.scale
        if slide.mpp is None:
            raise DataError(_UNKNOWN.format(fault=slide.mpp_fault))
        if own is not None and own.run_sha256 == run.sha256:
            return round(own.step), own.tile_width, own.size
        if scale is None or scale.mpp is None:
            raise DataError(_UNSCALED)
        return *grid_sides(scale.size, scale.mpp, slide_mpp=slide.mpp), scale.size

    def _layer(self, name: str) -> dict[str, object]:
        found = read_map(self.layers[name])
        rows, columns = found.values.shape
        ramp = colour_of(np.linspace(0, 1, 9, dtype=np.float32), _COLOURS)
        return {
            **{"name": name, "width": columns * found.step, "height": rows * found.step},
            "title": name if found.name == name else f"probability of {found.name}",
            "high": _highest(name, found.values),
            "colours": ["#" + bytes(each).hex() for each in ramp],
        }


def find_shown(data: Path, *, named: bool) -> tuple[Shown, ...]:
    """The slides in a folder, with what ``eosin predict`` wrote there, in a manifest, or one alone.

    They are ``named`` as their files, or numbered. DataError where a table cannot be read.
    """
    answers, maps = dict[Path, tuple[SlideAnswer, Path]](), set[Path]()
    rows: dict[Path, dict[str, str]] = {}
    if data.is_dir():
        for file in sorted(data.resolve().rglob(ANSWER_NAME)):
            answer = read_slide_answer(file)
            path = as_path(answer.slide).resolve()
            answers.setdefault(path, (answer, file.parent))
            rows[path] = {} if answer.patient == answer.slide else {"patient": answer.patient}
            maps |= {file.parent / name for name in slide_files(answer.task)}
        with suppress(DataError):  # no slide lies there
            rows = {each: {} for each in find_slides(data) if each not in maps} | rows
    elif is_slide(data):
        rows = {data.resolve(): {}}
    elif not (data.is_file() and PREDICTIONS.known(data)):
        known = {as_path(row["path"]): row for row in read_manifest(data).frame.to_dict("records")}
        rows = {path: row for path, row in known.items() if is_slide(path)}
    found = []
    for number, (path, row) in enumerate(sorted(rows.items()), 1):
        mpp, name = row.get("mpp"), path.name if named else f"Slide {number}"
        told = path, row.get("patient", ""), um_per_pixel(mpp) if mpp else None
        found.append(Shown(case_id(str(path)), name, *told, *answers.get(path, (None, path))))
    return tuple(found)


@lru_cache(maxsize=8)
def _probabilities(file: Path, _changed: int) -> dict[str, dict[str, float]]:
    """The stored probabilities of tiles by their names."""
    table = read_predictions(file)
    rows = zip(table.frame["path"], table.probabilities.tolist(), strict=True)
    return {Path(path).name: dict(zip(table.task.classes, row, strict=True)) for path, row in rows}


def _highest(name: str, values: Floats32) -> float:
    """The value with the darkest colour: the highest that a tile weighs, else 1."""
    return float(np.nanmax(values)) if name == "attention" else 1.0
