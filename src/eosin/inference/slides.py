"""From a Run and whole slides to the tiles that hold tissue, scored, and an answer for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import make_predictions
from eosin.artefacts.slide import ClassShare, SlideAnswer, WholeAnswer
from eosin.data.identity import Identity
from eosin.data.scan import image_rows
from eosin.data.tiles import TileOptions, tile_slide
from eosin.errors import ConfigError
from eosin.evaluation.intervals import Bootstrap, Interval
from eosin.files import valid_text
from eosin.inference.bags import answers_slides
from eosin.inference.predict import Scored
from eosin.inference.table import predict_to_table
from eosin.pixels.tissue_mask import TISSUE, Area
from eosin.progress import SILENT, Progress
from eosin.protocol import Protocol
from eosin.settings import checked_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.predictions import Predictions
    from eosin.data.tiles import TiledSlide
    from eosin.inference.scoring import PredictOptions
    from eosin.networks.run import Run
    from eosin.spread import Spread

TILES_NAME, ANSWER_NAME, WHOLE_NAME = "tiles.csv", "slide.json", "answer.csv"
_SQUARE = 1000.0  # um, the side of the squares that are drawn for intervals
_FEWEST = 8  # squares of tissue; of fewer there is no interval


@checked_options
@dataclass(frozen=True, slots=True)
class SlideOptions:
    """How slides are read for a Run."""

    mpp: float | None = None  # um/px of tiles; None for the scale that the Run was trained at
    slide_mpp: float | None = None  # um/px of level 0, for slides that state none
    size: int | None = None  # side of a tile, pixels; None for the Run's own
    overlap: int = 0  # pixels that neighbouring tiles share
    least: float = 0.25  # share of tissue from which a tile is scored


@dataclass(frozen=True)
class ScoredSlide:
    """A slide with its tiles scored."""

    tiled: TiledSlide
    scored: Scored  # a row a tile
    answer: SlideAnswer
    attention: Floats | None = None  # of each tile, where the Run answers for slides, shape (n,)

    @cached_property
    def rows(self) -> Ints:
        """The numbers of the tiles that were scored, in the order of the predictions."""
        return _rows_of(self.scored.predictions, self.tiled)


def tile_options(run: Run, options: SlideOptions) -> TileOptions:
    """Which tiles a Run wants.

    Raises:
        ConfigError: it was trained on images of unknown um/px, and none is given.
    """
    own = run.record.scale
    mpp = options.mpp or (own.mpp if own else None)
    if mpp is None:
        raise ConfigError(
            f"{run.folder} was trained on images whose um/px is not known, so it is not known at "
            "which scale to read slides for it: say --mpp X, the um/px of its training images"
        )
    size = options.size or (own.size if own else run.record.preprocessing.size)
    return TileOptions(mpp, size, options.overlap, options.least, options.slide_mpp)


def predict_slide(
    run: Run,
    path: Path,
    folder: Path,
    tiling: TileOptions,
    options: PredictOptions,
    *,
    known: Mapping[str, str] | None = None,
    spread: Spread | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScoredSlide:
    """Score the tissue of one slide; ``tiles.csv`` in ``folder`` is kept as it comes.

    Args:
        run: a finished Run.
        path: the slide.
        folder: where to.
        tiling: which tiles, of ``tile_options``.
        options: how they are scored.
        known: what a manifest says of the slide: its ``patient``, ``label`` and more.
        spread: scores tiles; None for this process.
        resume: continue what an interruption left.
        overwrite: start anew even so.
        progress: told of tiles.

    Raises:
        DataError: the slide cannot be read, states no um/px or holds no tissue.
        LeakageError, ConfigError, ModelError: as ``predict_to_table``.
    """
    tiled = tile_slide(path, tiling, known=known or {})
    tiles, whole = _tile_rows(run, tiled, known or {}), answers_slides(run)
    scored = predict_to_table(
        run,
        tiles,
        folder / (WHOLE_NAME if whole else TILES_NAME),
        options,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        spread=spread,
    )
    if not whole:
        return ScoredSlide(tiled, scored, _answer(run, tiled, tiling, scored))
    single, attention = _tiles_of(scored, tiles)
    single.predictions.write(folder / TILES_NAME)
    answer = with_changes(_answer(run, tiled, tiling, single), whole=_whole(scored.predictions))
    return ScoredSlide(tiled, single, answer, attention)


def _tiles_of(scored: Scored, tiles: Manifest) -> tuple[Scored, Floats]:
    """What a Run that answers for slides says of the tiles of one, and what each weighs."""
    known, table = scored.predictions, scored.predictions.attention
    if table is None:
        raise ValueError("a Run that answers for slides says what tiles weigh")
    rows = tiles.frame.set_index("path").loc[table["path"]].reset_index()
    chances = table[known.probability_columns].to_numpy(np.float64)
    provenance = replace(known.provenance, threshold=None)
    single = make_predictions(rows, chances, task=known.task, provenance=provenance)
    return replace(scored, predictions=single), table["attention"].to_numpy(np.float64)


def _whole(predictions: Predictions) -> WholeAnswer:
    frame, names = predictions.frame, predictions.task.classes
    return WholeAnswer(
        decision=str(frame["decision"][0]),
        probabilities=dict(zip(names, predictions.probabilities[0].tolist(), strict=True)),
        answer=str(frame["answer"][0]) if predictions.trust else None,
    )


def _tile_rows(run: Run, tiled: TiledSlide, known: Mapping[str, str]) -> Manifest:
    """The tiles as images to score, with the patient of their slide as far as it is known."""
    path = tiled.slide.path
    named = known.get("patient") or patient_of(run, path)
    own = {
        "slide": valid_text(path.stem),
        "patient": named or valid_text(str(path)),
        "label": known.get("label", ""),
    }
    protocol = Protocol(unit="external", patients_known=bool(named))
    frame = image_rows(tiled.rows(own))
    return Manifest(frame, run.record.task, "slides", protocol)


def patient_of(run: Run, path: Path) -> str | None:
    """Whom a slide shows by its name; slides that were patients in training are known again."""
    identity = Identity.of(run.record)
    by_name = next((name for name in (path.name, path.stem) if name in identity.seen), None)
    return by_name or identity.patient_of(path)


def _rows_of(predictions: Predictions, tiled: TiledSlide) -> Ints:
    return np.array([tiled.index[path] for path in predictions.frame["path"]], np.int64)


def _answer(run: Run, tiled: TiledSlide, tiling: TileOptions, scored: Scored) -> SlideAnswer:
    slide, predictions = tiled.slide, scored.predictions
    width, mpp = tiled.tiles[0].width, slide.known_mpp()
    squares = _squares(predictions, tiled, mpp)
    area = slide.levels[0].width * slide.levels[0].height * mpp**2 / 1e6
    areas = {each.name.lower(): tiled.mask.share(each) for each in Area}
    return SlideAnswer(
        slide=valid_text(str(slide.path)),
        patient=str(predictions.frame["patient"][0]),
        label=str(predictions.frame["label"][0]),
        vendor=slide.vendor,
        width=slide.levels[0].width,
        height=slide.levels[0].height,
        slide_mpp=mpp,
        size=tiling.size,
        overlap=tiling.overlap,
        mpp=width * mpp / tiling.size,
        tile_width=width,
        step=float(tiled.step),
        run=valid_text(str(run.folder)),
        run_sha256=run.sha256,
        task=run.record.task,
        protocol=run.record.protocol,
        threshold=predictions.provenance.threshold,
        tiles=len(predictions),
        unread=len(scored.skipped),
        tissue_mm2=area * sum(areas[each.name.lower()] for each in TISSUE),
        areas=areas,
        flagged=float(predictions.flagged.mean()) if predictions.trust else None,
        squares=len(squares),
        classes=class_shares(predictions, squares),
        whole=None,
        notes=predictions.provenance.notes,
    )


def _squares(predictions: Predictions, tiled: TiledSlide, mpp: float) -> Floats:
    """Tissue of each class (in tiles) in every square of 1 mm that has some, (squares, classes)."""
    rows = _rows_of(predictions, tiled)
    positions = np.stack(tiled.corners, axis=1)[rows] * mpp // _SQUARE
    _, square = np.unique(positions, axis=0, return_inverse=True)
    found = np.zeros((square.max() + 1, len(predictions.task.classes)))
    np.add.at(found, (square.ravel(), predictions.decision_index), tiled.tissue[rows])
    return found


def class_shares(predictions: Predictions, squares: Floats) -> tuple[ClassShare, ...]:
    """The share of each class in the tissue of squares (squares, classes), with its interval."""
    shares, means = _shares(squares.sum(axis=0)), predictions.probabilities.mean(axis=0)
    ends = [Interval(None, None, 0.0)] * len(shares)
    if len(squares) >= _FEWEST:
        bootstrap = Bootstrap()  # of squares in the place of patients
        drawn = _shares(bootstrap.weights([str(k) for k in range(len(squares))]) @ squares)
        ends = [bootstrap.interval(column) for column in drawn.T]
    return tuple(
        ClassShare(
            name=name,
            share=float(shares[k]),
            low=ends[k].low,
            high=ends[k].high,
            probability=float(min(1.0, means[k])),
        )
        for k, name in enumerate(predictions.task.classes)
    )


def _shares(tissue: Floats) -> Floats:
    """Amounts by class, along the last axis, as shares."""
    shares: Floats = tissue / tissue.sum(axis=-1, keepdims=True)
    return shares
