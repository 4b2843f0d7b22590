"""`eosin predict`: score images with a Run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import EXIT_SKIPPED, RESUME, finish, print_protocol, say, spreading
from eosin.cli.slide_options import (
    LeastTissue,
    Merged,
    Mpp,
    Overlap,
    Packed,
    SlideMpp,
    TileSize,
)
from eosin.cli.sources import (
    MOST_MEGAPIXELS,
    AllowSeen,
    BatchSize,
    Cluster,
    Device,
    Engine,
    MaxMegapixels,
    Overwrite,
    Resume,
    RunFolder,
    ScoredSplit,
    Workers,
    read_source,
    require_not_both,
)
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.predictions import Predictions
    from eosin.inference.predict import Scored
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.slides import SlideOptions
    from eosin.progress import Shown

_ROWS = 10  # flagged images that the terminal names

Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="S.csv | FILES... | SLIDES...",
        help="A manifest, image files and folders, or whole slides.",
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="P.csv | DIR", help="The predictions; of slides a folder."),
]
Coverage = Annotated[
    float, typer.Option(help="Share of new patients' images whose set holds the truth.")
]
ByClass = Annotated[
    bool, typer.Option("--by-class", help="Cover every class so, not only all together.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with code 3 where any image is flagged.")
]


def predict(
    run: RunFolder,
    images: Images,
    out: Out,
    split: ScoredSplit = None,
    allow_seen: AllowSeen = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    coverage: Coverage = 0.9,
    sets: Annotated[str, typer.Option(help="lac (smallest sets) or aps.")] = "lac",
    by_class: ByClass = False,
    strict: Strict = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = 32,
    workers: Workers = None,
    cluster: Cluster = None,
    mpp: Mpp = None,
    slide_mpp: SlideMpp = None,
    tile_size: TileSize = None,
    overlap: Overlap = 0,
    least_tissue: LeastTissue = 0.25,
    merged: Merged = False,
    packed: Packed = False,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Score images or whole slides; refuses patients that the Run was trained or validated on.

    Results are kept as they come: after Ctrl-C, a crash or a full disk, run the same command with
    --resume.
    """
    from eosin.artefacts.outputs import PREDICTIONS, require_table
    from eosin.cli.slide_options import require_no_slide_options, slides_in
    from eosin.inference.journal import journal_path
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.slides import SlideOptions
    from eosin.pixels.reading import error_table_path
    from eosin.trust.conformal import SetOptions, named_method

    require_not_both(resume=resume, overwrite=overwrite)
    options = PredictOptions(
        split=split,
        allow_seen=allow_seen,
        device=device,
        batch_size=batch_size,
        workers=workers,
        engine=engine,
        sets=SetOptions(coverage, named_method(sets), by_class),
    )
    slides = SlideOptions(mpp, slide_mpp, tile_size, overlap, least_tissue)
    how = _How(options, slides, cluster, resume, overwrite, strict, merged, packed)
    source = read_source(images)
    if (whole := slides_in(source)) is not None:
        _score_slides(run, whole, out, how)
        return
    require_no_slide_options(slides, merged=merged, packed=packed)
    beside = (journal_path(out), error_table_path(out))
    require_table(out, PREDICTIONS, inputs=[run, *images], beside=beside)
    _score_images(run, source, out, how)


@dataclass(frozen=True, slots=True)
class _How:
    """How images or slides are scored and written."""

    options: PredictOptions
    slides: SlideOptions
    cluster: str | None
    resume: bool
    overwrite: bool
    strict: bool  # whether an image that is flagged means exit code 3
    merged: bool
    packed: bool


def _score_images(run: Path, images: Manifest | Sequence[Path], out: Path, how: _How) -> None:
    from eosin.inference.table import predict_to_table
    from eosin.networks.run import read_run

    device = how.options.device
    with spreading(how.cluster, device, again=RESUME, kept=_kept) as (spread, progress):
        scored = predict_to_table(
            read_run(run),
            images,
            out,
            how.options,
            resume=how.resume,
            overwrite=how.overwrite,
            progress=progress,
            spread=spread,
        )
    _print_scored(scored, out, strict=how.strict)


def _score_slides(run: Path, slides: Manifest | Sequence[Path], out: Path, how: _How) -> None:
    from eosin.cli.slide_options import print_slides
    from eosin.networks.run import read_run
    from eosin.reporting.slide_folder import SlideWriteOptions, predict_slides

    writing = SlideWriteOptions(how.merged, how.packed, how.resume, how.overwrite)
    device = how.options.device
    with spreading(how.cluster, device, again=RESUME, kept=_kept) as (spread, progress):
        found = predict_slides(
            read_run(run),
            slides,
            out,
            how.slides,
            how.options,
            writing=writing,
            progress=progress,
            spread=spread,
        )
    print_slides(found, strict=how.strict)


def _print_scored(scored: Scored, out: Path, *, strict: bool) -> None:
    """What was scored and left out; exit code 3 where ``strict`` and an image is flagged."""
    from eosin.pixels.reading import error_table_path

    provenance = scored.predictions.provenance
    print_protocol(provenance.protocol, provenance.notes)
    say(f"{counted(len(scored.predictions), 'image')} scored, written: {out}")
    _print_trust(scored.predictions)
    finish(scored.skipped, error_table_path(out))
    if strict and scored.predictions.flagged.any():
        raise typer.Exit(EXIT_SKIPPED)


def _print_trust(predictions: Predictions) -> None:
    from eosin.trust.summary import flagged_lines, trust_lines

    for line in trust_lines(predictions):
        say(line, style="yellow" if predictions.flagged.any() else "")
    for line in flagged_lines(predictions, most=_ROWS):
        say(f"  {line}", style="dim")


def _kept(progress: Shown) -> str:
    if progress.total is None:
        return "nothing is scored yet"
    return f"{progress.done:,} of {progress.total:,} files are done and kept"
