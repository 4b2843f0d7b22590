"""Slides scored and written one after the other: a folder a slide, and a table of them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.looks import as_html
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.outputs import require_output_folder, table
from eosin.artefacts.slide import SlideAnswer, read_slide_answer
from eosin.artefacts.tables import write_csv
from eosin.errors import ConfigError, DataError, EosinError
from eosin.files import valid_text
from eosin.inference.scoring import PredictOptions
from eosin.inference.slides import ANSWER_NAME, SlideOptions, predict_slide, tile_options
from eosin.locks import one_writer
from eosin.pixels.reading import SkippedFile, write_error_table
from eosin.progress import SILENT, Progress
from eosin.remote import as_path
from eosin.reporting.slide_page import slide_files, write_slide
from eosin.reporting.wording import counted
from eosin.spread import Here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from eosin.data.tiles import TileOptions
    from eosin.networks.run import Run
    from eosin.spread import Spread

SLIDES_NAME, ERRORS_NAME = "slides.csv", "errors.csv"
_SLIDES = table("table of slides", "slide", "tissue_mm2")


@dataclass(frozen=True, slots=True)
class SlideWriteOptions:
    """How slides are written.

    Attributes:
        merged: tiles of one class that touch become one region in ``qupath.geojson``.
        packed: that file is gzipped.
        resume: continue what was interrupted; slides that are done stay as they are.
        overwrite: start again what was interrupted.
    """

    merged: bool = False
    packed: bool = False
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class WrittenSlides:
    """The answers in the order of the slides, and those that could not be scored."""

    folder: Path
    answers: tuple[SlideAnswer, ...]
    skipped: tuple[SkippedFile, ...]

    def __str__(self) -> str:
        scored, left_out = counted(len(self.answers), "slide"), len(self.skipped)
        return f"{scored} scored, {left_out} left out: {self.folder}"

    def frame(self) -> pd.DataFrame:
        """A row a slide, as in ``slides.csv``."""
        return slide_frame(self.answers)

    def _repr_html_(self) -> str:
        return as_html(self, self.frame())


def predict_slides(
    run: Run,
    slides: Manifest | Sequence[Path],
    out: Path,
    slide_options: SlideOptions | None = None,
    options: PredictOptions | None = None,
    *,
    writing: SlideWriteOptions | None = None,
    progress: Progress = SILENT,
    spread: Spread | None = None,
) -> WrittenSlides:
    """Score whole slides and write what is found; of several, each has a folder of its name.

    Args:
        run: a finished Run.
        slides: a manifest of slides, of which one split is scored, or their files.
        out: the folder: ``tiles.csv``, maps, ``qupath.geojson``, ``overlay.png``, ``slide.json``
            and ``report.html`` of a slide, and ``slides.csv`` of all.
        slide_options: how slides are read.
        options: how tiles are scored.
        writing: how results are written.
        progress: told of tiles.
        spread: scores tiles; None for this process.

    Raises:
        ConfigError: the scale of the Run is not known and none is given; two slides of one name.
        DataError: no slide could be scored; or what an interruption left is in the way.
        LeakageError: the Run was trained or validated on patients of a slide.
    """
    options, writing = options or PredictOptions(), writing or SlideWriteOptions()
    rows, tiling = _rows(slides, options.split), tile_options(run, slide_options or SlideOptions())
    several = len(rows) > 1
    inputs = [run.folder, *(as_path(row["path"]) for row in rows)]
    files = slide_files(run.record.task)
    holds = dict.fromkeys((row["slide"] for row in rows), None) if several else files
    require_output_folder(out, {**holds, SLIDES_NAME: _SLIDES}, inputs=inputs)
    for row in rows if several else ():
        require_output_folder(out / row["slide"], files, inputs=inputs)
    answers, skipped = list[SlideAnswer](), list[SkippedFile]()
    spread = spread or Here()  # one for all slides: networks are opened once
    with one_writer(out):
        for number, row in enumerate(rows, 1):
            folder = out / row["slide"] if several else out
            if several:
                progress.note(f"slide {number} of {len(rows)}: {row['slide']}")
            work = _Work(run, row, folder, tiling, options, writing, spread)
            try:
                answers.append(work.done() or work.do(progress))
            except DataError as error:
                if not several:
                    raise
                skipped.append(SkippedFile.from_error(as_path(row["path"]), error))
        write_error_table(skipped, out / ERRORS_NAME)
        if not answers:
            raise DataError(f"no slide could be scored: {skipped[0].path}: {skipped[0].reason}")
        write_csv(slide_frame(answers), out / SLIDES_NAME)
    return WrittenSlides(out, tuple(answers), tuple(skipped))


def slide_frame(answers: Sequence[SlideAnswer]) -> pd.DataFrame:
    """A row a slide: its tissue, tiles, and the share of each class with its interval."""
    import pandas as pd

    return pd.DataFrame(
        {
            "slide": answer.slide,
            "patient": answer.patient,
            "label": answer.label,
            "tissue_mm2": round(answer.tissue_mm2, 4),
            "tiles": answer.tiles,
            "unread": answer.unread,
            "flagged": answer.flagged,
            "decision": answer.whole.decision if answer.whole else "",
            **{
                f"{name}_{each.name}": value
                for each in answer.classes
                for name, value in (
                    ("share", each.share),
                    ("low", each.low),
                    ("high", each.high),
                    ("p", each.probability),
                )
            },
        }
        for answer in answers
    )


@dataclass(frozen=True)
class _Work:
    """One slide to score."""

    run: Run
    row: Mapping[str, str]
    folder: Path
    tiling: TileOptions
    options: PredictOptions
    writing: SlideWriteOptions
    spread: Spread

    def done(self) -> SlideAnswer | None:
        """The answer of an earlier call to the same question; None where there is none."""
        path = self.folder / ANSWER_NAME
        if not self.writing.resume or not path.is_file():
            return None
        try:
            found = read_slide_answer(path)
        except EosinError:
            return None
        asked = (self.run.sha256, self.tiling.size, self.tiling.overlap, self.row["path"])
        same = (found.run_sha256, found.size, found.overlap, found.slide) == asked
        return found if same and abs(found.mpp / self.tiling.mpp - 1) < 0.01 else None

    def do(self, progress: Progress) -> SlideAnswer:
        """Score it and write all that belongs to it."""
        found = predict_slide(
            self.run,
            as_path(self.row["path"]),
            self.folder,
            self.tiling,
            self.options,
            known=self.row,
            spread=self.spread,
            resume=self.writing.resume,
            overwrite=self.writing.overwrite,
            progress=progress,
        )
        write_slide(found, self.folder, merged=self.writing.merged, packed=self.writing.packed)
        return found.answer


def _rows(slides: Manifest | Sequence[Path], split: str | None) -> list[dict[str, str]]:
    """The slides to score with what is known of them; ConfigError where two have one name."""
    if isinstance(slides, Manifest):
        slides.require_honest_name()
        chosen = slides.in_split(split) if split else slides
        rows = [
            {str(k): str(cell) for k, cell in row.items()}
            for row in chosen.frame.to_dict("records")
        ]
    else:
        rows = [{"path": str(path.absolute())} for path in slides]
    for row in rows:
        row["slide"] = row.get("slide") or valid_text(Path(row["path"]).stem)
    names = [row["slide"] for row in rows]
    unfit = next((name for name in names if Path(name).name != name), None)
    if unfit is not None:
        raise ConfigError(f"slide {unfit!r}: is no name of a folder; rename it in the manifest")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two slides are called {twice!r}: score them one after the other")
    return rows
