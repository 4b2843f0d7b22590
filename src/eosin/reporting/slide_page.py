"""What is written of a scored slide: maps, regions for QuPath, an overlay, its answer and page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import write_artefact
from eosin.artefacts.outputs import PAGE, PICTURE, PREDICTIONS, Output, document
from eosin.artefacts.reference import ABSTAIN
from eosin.files import write_text
from eosin.inference.doubt import certain_and_doubtful
from eosin.inference.slides import ANSWER_NAME, TILES_NAME, WHOLE_NAME
from eosin.pixels.writing import write_png
from eosin.remote import as_path
from eosin.reporting.galleries import Caption, tiles_of
from eosin.reporting.html import render
from eosin.reporting.overlay import HeatmapStyle, blend, faded
from eosin.reporting.panel import Cell, Heading, draw_panel
from eosin.reporting.tables import Table
from eosin.reporting.wording import capital, counted, number, per_cent
from eosin.slides.geojson import TileResults, is_geojson, write_geojson
from eosin.slides.grid import Extent, TileGrid
from eosin.slides.maps import is_map, map_of, write_map
from eosin.trust.summary import trust_lines

if TYPE_CHECKING:
    from eosin.arrays import Floats, UInt8Image
    from eosin.artefacts.slide import ClassShare, SlideAnswer
    from eosin.inference.slides import ScoredSlide
    from eosin.slides.maps import SlideMap
    from eosin.tasks import Task

_FILES = {
    TILES_NAME: PREDICTIONS,
    WHOLE_NAME: PREDICTIONS,
    ANSWER_NAME: document("slide answer"),
    "overlay.png": PICTURE,
    "report.html": PAGE,
    **dict.fromkeys(("qupath.geojson", "qupath.geojson.gz"), Output("GeoJSON file", is_geojson)),
}
_MAP = Output("map of eosin's", is_map)
INTERVALS = (
    "Intervals are over squares of 1 mm of this slide's own tissue: how much the shares would vary "
    "over more tissue like it. They say nothing about whether the Run is right."
)
PALETTE = ((75, 59, 143), (194, 57, 107), (0, 158, 115), (230, 159, 0), (86, 180, 233))
_FINEST, _WIDEST = 1200, 2048  # of the overlay's longer side, pixels
_SHOWN = 6  # tiles of each kind on the page
_STYLE = HeatmapStyle()
_OPACITY = 0.55  # of the colours of more than two classes


def write_slide(
    found: ScoredSlide, folder: Path, *, merged: bool = False, packed: bool = False
) -> Path:
    """Write all that belongs to a scored slide beside its ``tiles.csv``; the page's path.

    Args:
        found: the slide.
        folder: where to.
        merged: tiles of one class that touch become one region in ``qupath.geojson``.
        packed: that file is gzipped, as ``qupath.geojson.gz``.
    """
    tiles, extent = _grid(found), _extent(found.answer)
    drawn = {
        name: write_map(folder / f"{name}.ome.tiff", values, tiles, extent, name=of)
        for name, (of, values) in _maps(found).items()
    }
    regions = f"qupath.geojson{'.gz' if packed else ''}"
    write_geojson(folder / regions, _results(found, tiles), merged=merged)
    picture = _picture(found, tiles, drawn.get("attention", next(iter(drawn.values()))))
    write_png(_panel(found.answer, picture), folder / "overlay.png")
    names = {"maps": [f"{name}.ome.tiff" for name in drawn], "regions": regions}
    write_text(folder / "report.html", render("slide.html", _facts(found, picture) | names))
    write_artefact(found.answer, folder / ANSWER_NAME)  # last: with it the slide is done
    return folder / "report.html"


def slide_files(task: Task) -> dict[str, Output]:
    """What lies in the folder of a slide, by the name of each file."""
    maps = dict.fromkeys((*_chances(task), "attention", "familiarity"), _MAP)
    return {**_FILES, **{f"{name}.ome.tiff": kind for name, kind in maps.items()}}


def slide_sentence(answer: SlideAnswer) -> str:
    """For the terminal and the page: the slide's answer, or how its tissue divides."""
    if answer.whole is not None:
        chance = answer.whole.probabilities[answer.whole.decision]
        abstain = "; the answer is to abstain" if answer.whole.answer == ABSTAIN else ""
        count = counted(answer.tiles, "tile")
        return f"{answer.whole.decision}, probability {number(chance)} ({count}{abstain})."
    few = "" if answer.classes[0].low is not None else "; too little tissue for intervals"
    shares = "; ".join(_shares(answer))
    return f"Share of the tissue: {shares} ({counted(answer.tiles, 'tile')}{few})."


def share_table(answer: SlideAnswer) -> Table:
    """A row a class: its share of the tissue with the interval, and its mean probability."""
    rows = tuple((each.name, _share(each), number(each.probability)) for each in answer.classes)
    columns = ("Class", "Share of the tissue", "Mean probability")
    return Table(INTERVALS, columns, rows, frozenset({1, 2}))


def _shares(answer: SlideAnswer) -> tuple[str, ...]:
    return tuple(f"class {each.name}: {_share(each)}" for each in answer.classes)


def _share(found: ClassShare) -> str:
    between = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{number(found.share)}{between}"


def _grid(found: ScoredSlide) -> TileGrid:
    x, y = (axis[found.rows] for axis in found.tiled.corners)
    return TileGrid.of(x, y, found.answer.tile_width, step=found.answer.step)


def _extent(answer: SlideAnswer) -> Extent:
    return Extent(answer.width, answer.height, answer.slide_mpp)


def _maps(found: ScoredSlide) -> dict[str, tuple[str, Floats]]:
    """Values of the tiles by the name of their file, with what they are."""
    predictions, task = found.scored.predictions, found.answer.task
    values = predictions.probabilities
    maps = {file: (name, values[:, task.index(name)]) for file, name in _chances(task).items()}
    if found.attention is not None:
        maps["attention"] = ("attention", found.attention)
    if predictions.trust is not None:
        familiarity = predictions.frame["familiarity"].to_numpy(np.float64)
        if np.isfinite(familiarity).any():
            maps["familiarity"] = ("familiarity", familiarity)
    return maps


def _chances(task: Task) -> dict[str, str]:
    """The class of each map of a probability, by the name of its file: of two the positive one."""
    if task.positive is not None:
        return {"probability": task.positive}
    return {f"probability-{k}": name for k, name in enumerate(task.classes)}


def _results(found: ScoredSlide, tiles: TileGrid) -> TileResults:
    predictions, answer = found.scored.predictions, found.answer
    columns = [f"P({name})" for name in answer.task.classes]
    measured = dict(zip(columns, predictions.probabilities.T, strict=True))
    if found.attention is not None:
        measured["attention"] = found.attention
    if predictions.trust is not None:
        measured["familiarity"] = predictions.frame["familiarity"].to_numpy(np.float64)
        measured["flagged"] = predictions.flagged.astype(float)
    return TileResults(
        slide=Path(answer.slide).name,
        tiles=tiles,
        classes=list(predictions.frame["decision"]),
        colours=_colours(answer),
        measurements=measured,
        mpp=answer.slide_mpp,
    )


def _colours(answer: SlideAnswer) -> dict[str, tuple[int, int, int]]:
    """Of each class; the positive one of two is the red one."""
    names = [*answer.task.classes]
    if answer.task.positive is not None:
        names.sort(key=lambda name: name == answer.task.positive)
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names)}


def _picture(found: ScoredSlide, tiles: TileGrid, first: SlideMap) -> UInt8Image:
    """The slide under its map: of two classes the positive one's, else each tile's class."""
    answer = found.answer
    longest = max(answer.width, answer.height) * answer.slide_mpp
    mpp = min(found.tiled.mask.mpp, longest / _FINEST)
    image = found.tiled.overview
    if mpp < found.tiled.mask.mpp:  # a small slide
        image = found.tiled.slide.overview(mpp)
    if found.attention is None and answer.task.positive is None:
        return _in_colours(found, tiles, image, mpp)
    values = np.nan_to_num(_laid(first, image.shape, mpp))
    most = values.max() if found.attention is not None else 1.0
    return blend(image, np.asarray(values / most, np.float32), _STYLE)


def _panel(answer: SlideAnswer, picture: UInt8Image) -> UInt8Image:
    """The picture with what it shows."""
    key = _key(answer)
    lines = (
        f"{answer.tiles:,} tiles of {answer.size} px at {answer.mpp:.3g} um/px, "
        f"{answer.tissue_mm2:.2f} mm2 of tissue",
        f"Protocol of the Run's training: {answer.protocol.name}",
    )
    heading = Heading(Path(answer.slide).name, lines, key)
    cell = Cell(picture, "Share of the tissue", _shares(answer))
    return draw_panel([cell], heading, _STYLE, width=_WIDEST)


def _key(answer: SlideAnswer) -> str:
    """What the colours of the map mean; empty where each class has its own."""
    if answer.whole is not None:
        return "attention: what a tile weighs in the slide's answer, from 0 to the most of any tile"
    if answer.task.positive is not None:
        return f"probability of {answer.task.positive}, from 0 to 1; clear: not scored, or 0"
    return ""


def _laid(found: SlideMap, shape: tuple[int, ...], mpp: float) -> Floats:
    """The map as the overview at ``mpp`` um/px has it, (height, width)."""
    cells = [
        ((np.arange(side) + 0.5) * mpp / found.mpp).astype(np.int64).clip(max=most - 1)
        for side, most in zip(shape[:2], found.values.shape, strict=True)
    ]
    return np.asarray(found.values[np.ix_(*cells)], np.float32)


def _in_colours(found: ScoredSlide, tiles: TileGrid, image: UInt8Image, mpp: float) -> UInt8Image:
    """The slide at ``mpp`` um/px with each tile in the colour of its class."""
    answer, decisions = found.answer, found.scored.predictions.decision_index
    of_class = map_of(decisions.astype(float), tiles, _extent(answer))
    index = _laid(of_class, image.shape, mpp)
    scored = np.isfinite(index)
    table = np.array([_colours(answer)[name] for name in answer.task.classes], np.float64)
    picture = faded(image).astype(np.float64)
    colour = table[np.rint(index[scored]).astype(int)]
    picture[scored] = (1 - _OPACITY) * picture[scored] + _OPACITY * colour
    return np.rint(picture).astype(np.uint8)


def _facts(found: ScoredSlide, picture: UInt8Image) -> dict[str, object]:
    answer, predictions = found.answer, found.scored.predictions
    remarks = [*trust_lines(predictions), *answer.notes]
    if answer.flagged:
        remarks.insert(0, f"{per_cent(answer.flagged)} of the tiles are flagged.")
    protocol = answer.protocol
    return {
        "title": Path(answer.slide).name,
        "protocol": protocol.name,
        "warning": protocol.warning if protocol.leaky else None,
        "facts": _cover(answer),
        "key": capital(_key(answer)),
        "legend": [*_colours(answer).items()],
        "sentence": slide_sentence(answer),
        "remarks": tuple(dict.fromkeys(remarks)),
        "tables": (share_table(answer), _area_table(answer)),
        "overlay": tiles_of([(picture, Caption("", (), "overlay.png"))], longest=1600)[0],
        "groups": _examples(found),
        "contents": [
            ("verdict", "Answer"),
            ("map", "Map"),
            ("tiles", "Tiles"),
            ("figures", "Figures"),
        ],
    }


def _cover(answer: SlideAnswer) -> list[tuple[str, str]]:
    return [
        ("Run", answer.run),
        ("Protocol", answer.protocol.name),
        ("Slide", f"{answer.width:,} x {answer.height:,} px, {answer.slide_mpp:.4g} um/px"),
        ("Tiles", f"{answer.tiles:,} of {answer.size} px at {answer.mpp:.4g} um/px"),
        ("Tissue", f"{answer.tissue_mm2:.2f} mm2"),
    ]


def _area_table(answer: SlideAnswer) -> Table:
    rows = tuple((name, number(share)) for name, share in answer.areas.items() if share)
    caption = "What lies on the slide, as shares of its area; only tissue is scored."
    return Table(caption, ("Area", "Share"), rows, frozenset({1}))


def _examples(found: ScoredSlide) -> list[tuple[str, object]]:
    """The most certain tiles of each class, the most doubtful, and the least familiar."""
    predictions = found.scored.predictions
    groups = certain_and_doubtful(predictions, each=_SHOWN)
    if predictions.flagged.any():
        strange = np.argsort(predictions.frame["familiarity"].to_numpy(float))
        rows = [int(k) for k in strange if predictions.flagged[k]]
        groups["Flagged, the least familiar first"] = rows[:_SHOWN]
    paths = predictions.frame["path"]
    return [
        (title, tiles_of([(as_path(paths[k]), _caption(found, k)) for k in rows]))
        for title, rows in groups.items()
    ]


def _caption(found: ScoredSlide, row: int) -> Caption:
    predictions = found.scored.predictions
    chosen = predictions.decision_index[row]
    tile = found.tiled.tiles[found.rows[row]]
    lines = [f"x {tile.x:,}, y {tile.y:,}"]
    if predictions.trust and predictions.frame["flags"][row]:
        lines.append(str(predictions.frame["flags"][row]).replace(" ", ", "))
    name = predictions.task.classes[chosen]
    return Caption(f"{name}, {number(predictions.probabilities[row, chosen])}", tuple(lines))
