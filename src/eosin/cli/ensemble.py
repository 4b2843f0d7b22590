"""`eosin ensemble`: from several Runs to one that answers with their vote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eosin.cli.console import finish, print_protocol, say, showing
from eosin.cli.sources import MOST_MEGAPIXELS, BatchSize, Device, MaxMegapixels

if TYPE_CHECKING:
    from eosin.training.left_out import Trained


def ensemble(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Two or more Run folders.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the ensemble.")
    ],
    vote: Annotated[
        Literal["soft", "hard", "weighted", "fusion"],
        typer.Option(
            help="soft: mean probability. hard: majority; a tie goes to the class with the higher "
            "mean probability. weighted: weights of least log loss on validation patients. "
            "fusion: a small network on all members' features, fitted on validation patients."
        ),
    ] = "soft",
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="S.csv",
            help="The split manifest whose validation patients fit weights, fusion and threshold.",
        ),
    ] = None,
    device: Device = "auto",
    batch_size: BatchSize = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the fusion head.")] = 0,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Combine Runs by a vote into a Run that predict, evaluate and report take like any other.

    Runs of folds are combined fold by fold, with out-of-fold predictions.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import RUN_FILES, require_output_folder
    from eosin.networks.run import read_run
    from eosin.training.ensemble import EnsembleOptions, make_ensembles
    from eosin.training.fusion import FusionOptions

    inputs = [*runs, manifest] if manifest else runs
    require_output_folder(out, RUN_FILES, inputs=inputs, run=True)
    images = read_manifest(manifest) if manifest else None
    options = EnsembleOptions(device=device, batch_size=batch_size, fusion=FusionOptions(seed=seed))
    with showing() as progress:
        made = make_ensembles(
            [read_run(run) for run in runs],
            {vote: out},
            manifest=images,
            options=options,
            progress=progress,
        )[vote]
    _print(made, runs, out)


def _print(made: Trained, runs: list[Path], out: Path) -> None:
    from eosin.artefacts.run import EnsembleRun
    from eosin.networks.run import ERRORS_NAME, PREDICTIONS_NAME

    record = made.run.record
    print_protocol(record.protocol, record.notes)
    if isinstance(record, EnsembleRun) and record.weights:
        for run, weight in zip(runs, record.weights, strict=True):
            say(f"  {weight:.3f}  {run}")
    say(f"{record.backbone}: run written: {out}")
    if made.predictions is not None:
        say(f"out-of-fold predictions: {out / PREDICTIONS_NAME}")
    finish(made.skipped, out / ERRORS_NAME)
