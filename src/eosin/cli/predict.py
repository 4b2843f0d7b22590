"""`eosin predict`: score images with a Run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.progress import Shown


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A Run folder.")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="S.csv | FILES...", help="A manifest, or image files and folders."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="P.csv", help="The predictions.")],
    split: Annotated[
        str | None, typer.Option(help="The manifest's split to score (test, val or train).")
    ] = None,
    allow_seen: Annotated[
        bool,
        typer.Option(
            "--allow-seen", help="Score patients the Run was trained on, and say so on the result."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a prediction that was interrupted.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where one was interrupted.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="auto, torch, onnxruntime or openvino (exported Runs).")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Reading threads (one a core).")
    ] = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Score images; refuses patients that the Run was trained or validated on.

    Results are kept as they come: after Ctrl-C, a crash or a full disk, run the same command with
    --resume.
    """
    from eosin.artefacts.outputs import PREDICTIONS, require_table
    from eosin.cli.console import finish, print_protocol, say, showing, stoppable
    from eosin.cli.sources import read_source
    from eosin.inference.journal import journal_path
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table
    from eosin.networks.run import read_run
    from eosin.pixels.reading import error_table_path
    from eosin.progress import Shown

    if resume and overwrite:
        raise ConfigError("--resume goes on and --overwrite starts anew; give one of them")
    beside = (journal_path(out), error_table_path(out))
    require_table(out, PREDICTIONS, inputs=[run, *images], beside=beside)
    source = read_source(images)
    options = PredictOptions(
        split=split,
        allow_seen=allow_seen,
        device=device,
        batch_size=batch_size,
        workers=workers,
        engine=engine,
    )
    progress = Shown()
    again = "run the same command with --resume"
    with stoppable(again, kept=lambda: _kept(progress)), showing(progress):
        scored = predict_to_table(
            read_run(run),
            source,
            out,
            options,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    provenance = scored.predictions.provenance
    print_protocol(provenance.protocol, provenance.notes)
    say(f"{len(scored.predictions)} images scored, written: {out}")
    finish(scored.skipped, error_table_path(out))


def _kept(progress: Shown) -> str:
    if progress.total is None:
        return "nothing is scored yet"
    return f"{progress.done:,} of {progress.total:,} files are done and kept"
