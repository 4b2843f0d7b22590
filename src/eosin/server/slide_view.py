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
from eosin.errors import ConfigError, DataError
from eosin.inference.slides import ANSWER_NAME, TILES_NAME, SlideOptions, tile_options
from eosin.pixels.tissue_tiles import grid_sides
from eosin.reporting.overlay import HeatmapStyle, colour_of
from eosin.reporting.slide_page import slide_files, slide_sentence
from eosin.server.worklist import case_id
from eosin.slides.maps import is_map, read_map
from eosin.slides.opening import find_slides, is_slide, opened
from eosin.slides.tile import Tile

if TYPE_CHECKING:
    from eosin.arrays import UInt8Image
    from eosin.networks.run import Run
    from eosin.slides.slide import Slide

TILE: Final = 256  # side of a picture of the pyramid, pixels
FIRST_LEVEL: Final = 8  # of the pyramid: one picture shows the whole slide
_AROUND: Final = 112  # side of each of the nine tiles in the picture around one, pixels
_MAP: Final = ".ome.tiff"
_COLOURS: Final = HeatmapStyle().colormap


@dataclass(frozen=True)
class Look:
    """A tile that somebody looks at.

    Attributes:
        tile: on the grid of the Run.
        pixels: RGB (size, size, 3).
        around: the 3 x 3 tiles of which it is the middle, RGB.
        stored: their stored probabilities by class, row by row; None where there are none.
        centres: of each, x and y at level 0.
    """

    tile: Tile
    pixels: UInt8Image
    around: UInt8Image
    stored: tuple[dict[str, float] | None, ...]
    centres: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Shown:
    """A slide that is shown.

    Attributes:
        id: opaque; of its path.
        name: to call it by.
        path: its file.
        patient: whom it shows, where a manifest or a stored answer says so.
        mpp: um/px of level 0 that a manifest states; counts more than what the file states.
        folder: where ``eosin predict`` wrote of it.
        answer: what it wrote.
    """

    id: str
    name: str
    path: Path
    patient: str = ""
    mpp: float | None = None
    folder: Path | None = None
    answer: SlideAnswer | None = None

    def open(self) -> Slide:
        """The slide with all that is known of its um/px; DataError where it cannot be read."""
        slide = opened(self.path)
        mpp = self.mpp or slide.mpp or (self.answer.slide_mpp if self.answer else None)
        return replace(slide, mpp=mpp, mpp_fault="" if mpp else slide.mpp_fault)

    def facts(self) -> dict[str, object]:
        """What a page needs to show it, as JSON has it; no path."""
        slide, answer = self.open(), self.answer
        full = slide.levels[0]
        return {
            "id": self.id,
            "name": self.name,
            "width": full.width,
            "height": full.height,
            "mpp": slide.mpp,
            "fault": slide.mpp_fault,
            "objective": slide.objective,
            "tile": TILE,
            "levels": [FIRST_LEVEL, _top(slide)],
            "layers": [self._layer(name) for name in self.layers],
            "answer": answer and slide_sentence(answer),
            "notes": answer and answer.notes,
            "positive": answer and answer.task.positive,
        }

    def picture(self, level: int, column: int, row: int) -> UInt8Image:
        """A picture of the Deep Zoom pyramid, whose level halves the one above; no overlap.

        Raises:
            KeyError: there is none; level 8 is the first, for those before it would show less.
            DataError: the slide cannot be read.
        """
        slide = self.open()
        full, top = slide.levels[0], _top(slide)
        if not (FIRST_LEVEL <= level <= top and min(column, row) >= 0):
            raise KeyError(level)
        scale = 2 ** (top - level)
        width, height = (
            min(TILE, -(-side // scale) - TILE * index)
            for side, index in ((full.width, column), (full.height, row))
        )
        if min(width, height) < 1:
            raise KeyError(column, row)
        side = TILE * scale
        return slide.region(column * side, row * side, side, TILE)[:height, :width]

    @property
    def layers(self) -> dict[str, Path]:
        """The files of its maps by their names."""
        folder, answer = self.folder, self.answer
        files = [folder / name for name in slide_files(answer.task)] if folder and answer else []
        return {
            file.name.removesuffix(_MAP): file
            for file in files
            if file.name.endswith(_MAP) and file.is_file()
        }

    def layer_picture(self, name: str) -> UInt8Image:
        """A map as RGBA, a pixel a cell, clear where no tile was scored; KeyError: no such map."""
        values = read_map(self.layers[name]).values
        colours = colour_of(np.nan_to_num(values) / _highest(name, values), _COLOURS)
        return np.dstack([colours, np.isfinite(values).astype(np.uint8) * 255])

    def look(self, run: Run, x: float, y: float) -> Look:
        """The tile of the Run's grid that holds a point of level 0.

        Raises:
            KeyError: the point lies outside of the slide.
            ConfigError: the Run states no scale.
            DataError: the slide states no um/px, or cannot be read.
        """
        slide = self.open()
        if not (0 <= x < slide.levels[0].width and 0 <= y < slide.levels[0].height):
            raise KeyError(x, y)
        step, width, size = self._grid(slide, run)
        left, top = (int(place // step * step) for place in (x, y))
        corners = [(left + i * step, top + k * step) for k in (-1, 0, 1) for i in (-1, 0, 1)]
        named = [Tile(self.path, *corner, width, size).path.name for corner in corners]
        return Look(
            tile=Tile(self.path, left, top, width, size),
            pixels=slide.region(left, top, width, size),
            around=slide.region(*corners[0], 3 * step, 3 * _AROUND),
            stored=tuple(self._stored().get(name) for name in named),
            centres=tuple((a + width / 2, b + width / 2) for a, b in corners),
        )

    def _grid(self, slide: Slide, run: Run) -> tuple[int, float, int]:
        """Step and side of a Run's tiles at level 0, and their pixels; as stored, if it is."""
        own = self.answer
        if slide.mpp is None:
            raise DataError(
                f"this slide {slide.mpp_fault}, so no tile of a known scale can be cut; state its "
                "um/px in the column mpp of a manifest and start the server with it as --data"
            )
        if own is not None and own.run_sha256 == run.sha256:
            return round(own.step), own.tile_width, own.size
        try:
            tiling = tile_options(run, SlideOptions())
        except ConfigError as error:
            raise ConfigError(
                "this Run was trained on images of unknown um/px, so it is not known at which "
                "scale to read tiles for it; score the slide with `eosin predict RUN SLIDE -o OUT "
                "--mpp X` and start the server with --data OUT"
            ) from error
        return *grid_sides(tiling.size, tiling.mpp, slide_mpp=slide.mpp), tiling.size

    def _layer(self, name: str) -> dict[str, object]:
        found = read_map(self.layers[name])
        rows, columns = found.values.shape
        ramp = colour_of(np.linspace(0, 1, 9, dtype=np.float32), _COLOURS)
        return {
            "name": name,
            "title": found.name if found.name == name else f"probability of {found.name}",
            "high": _highest(name, found.values),
            "width": columns * found.step,
            "height": rows * found.step,
            "colours": ["#" + bytes(each).hex() for each in ramp],
        }

    def _stored(self) -> dict[str, dict[str, float]]:
        """The stored probabilities of tiles by their names."""
        file = self.folder / TILES_NAME if self.folder else None
        return _probabilities(file, file.stat().st_mtime_ns) if file and file.is_file() else {}


def find_shown(data: Path, *, named: bool) -> tuple[Shown, ...]:
    """The slides in what a server is to show; none where it is a predictions table, say.

    Args:
        data: a slide, a manifest, or a folder: with slides, or what ``eosin predict`` wrote of
            some, or both.
        named: whether they are called by the names of their files.

    Raises:
        DataError: a manifest or a stored answer cannot be read.
    """
    answers, rows = dict[Path, tuple[Path, SlideAnswer]](), dict[Path, dict[str, str]]()
    if data.is_dir():
        for file in sorted(data.resolve().rglob(ANSWER_NAME)):
            answer = read_slide_answer(file)
            answers.setdefault(Path(answer.slide).resolve(), (file.parent, answer))
        rows = {path: {"patient": answer.patient} for path, (_, answer) in answers.items()}
        with suppress(DataError):  # no slide lies there
            rows |= {path: {} for path in find_slides(data) if path not in rows and not _map(path)}
    elif is_slide(data):
        rows = {data.resolve(): {}}
    elif not (data.is_file() and PREDICTIONS.known(data)):
        known = {Path(row["path"]): row for row in read_manifest(data).frame.to_dict("records")}
        rows = {path: row for path, row in known.items() if is_slide(path)}
    return tuple(
        Shown(
            case_id(str(path)),
            path.name if named else f"Slide {number}",
            path,
            rows[path].get("patient", ""),
            um_per_pixel(rows[path]["mpp"]) if rows[path].get("mpp") else None,
            *answers.get(path, (None, None)),
        )
        for number, path in enumerate(sorted(rows), 1)
    )


@lru_cache(maxsize=8)
def _probabilities(file: Path, _changed: int) -> dict[str, dict[str, float]]:
    table = read_predictions(file)
    rows = zip(table.frame["path"], table.probabilities.tolist(), strict=True)
    return {Path(path).name: dict(zip(table.task.classes, row, strict=True)) for path, row in rows}


def _top(slide: Slide) -> int:
    """The level of the pyramid that has all pixels of the slide."""
    full = slide.levels[0]
    return (max(full.width, full.height) - 1).bit_length()


def _highest(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """The value with the darkest colour: of what tiles weigh the highest there is, else 1."""
    return float(np.nanmax(values)) if name == "attention" else 1.0


def _map(path: Path) -> bool:
    return path.name.endswith(_MAP) and is_map(path)
