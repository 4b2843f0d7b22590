"""`eosin study`: one file, many Runs, one page; stopped and resumed at will."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import plain_figure, print_frame, say, spreading
from eosin.cli.sources import MOST_MEGAPIXELS, Cluster, MaxMegapixels
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.evaluation.leakage import MeterRow
    from eosin.study.cells import StudyResult
    from eosin.study.config import StudyFile


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the study.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The images; overrides the file's root.")
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="In place of the file's own; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and an estimate of time; do nothing.")
    ] = False,
    resume: Annotated[  # noqa: ARG001 - a study always continues; the option says so to a reader
        bool, typer.Option("--resume", help="Continue where it stopped (the default).")
    ] = True,
    cluster: Cluster = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Every model and ensemble under every protocol, and what the leaky ones add.

    Finished cells are kept; run the same command again after a stop. A changed cell is redone.
    """
    from eosin.artefacts.outputs import require_output_folder
    from eosin.cli.encoders import say_licence
    from eosin.locks import one_writer
    from eosin.settings import settings_file
    from eosin.study.config import read_study
    from eosin.study.study import STUDY_FILES, run_study

    file = settings_file(file)
    if not dry_run:
        require_output_folder(out, STUDY_FILES, inputs=[file])
    plan = read_study(file, root=data, backbones=backbone or ())
    if dry_run:
        _print_plan(plan, out)
        return
    from eosin.study.table import leakage_rows, write_measured_study

    for name in plan.config.backbones:
        say_licence(name)
    device, kept = plan.config.device, "what is finished is kept"
    with one_writer(out), spreading(cluster, device, kept=lambda _: kept) as (spread, progress):
        found = run_study(plan, out, progress=progress, spread=spread)
        _print_failures(found)
        meter = leakage_rows(found.results, resamples=plan.config.resamples)
        page, table = write_measured_study(found, meter, out)
    _print_leakage(meter)
    say(f"table: {table}")
    say("page: ", (str(page), "bold"))
    for folder in found.comparisons:
        say(f"comparison: {folder}")
    for folder in found.heatmaps:
        say(f"heatmaps: {folder}")
    if found.failures:
        raise typer.Exit(1)


def _print_failures(found: StudyResult) -> None:
    """Each reason once, over the cells that it stopped."""
    reasons: dict[str, list[str]] = {}
    for cell, reason in found.failures:
        reasons.setdefault(reason, []).append(cell.name)
    for reason, names in reasons.items():
        say(f"{len(names)} failed: {reason}", style="red")
        say(f"  {', '.join(names)}", style="dim")


def _print_leakage(meter: Sequence[MeterRow]) -> None:
    """Each model's figures under a leaky and a patient-level protocol, and what the leak adds."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "pair": f"{row.leaky_protocol} against {row.honest_protocol}",
            "model": row.model,
            "metric": leak.added.metric,
            "leaky": plain_figure(leaky),
            "patients apart": plain_figure(honest),
            "leak adds": plain_figure(leak.added),
            "patients": leak.added.patients,
        }
        for row in meter
        for leak, (leaky, honest) in zip(row.leaks, row.figures, strict=True)
    )
    for pair, rows in table.groupby("pair", sort=False) if len(table) else ():
        print_frame(rows.drop(columns="pair"), title=pair)
    for note in dict.fromkeys(leak.added.note for row in meter for leak in row.leaks):
        names = dict.fromkeys(
            leak.added.metric for row in meter for leak in row.leaks if leak.added.note == note
        )
        if note:
            say(f"  {', '.join(names)}: {note}", style="dim")


def _print_plan(plan: StudyFile, out: Path) -> None:
    from eosin.study.estimate import estimate_study

    estimate = estimate_study(plan, out)
    for frame in (estimate.protocols, estimate.networks):
        print_frame(frame.assign(hours=frame["hours"].map(_hours)))
    say(
        f"{counted(estimate.cells, 'cell')}, {counted(estimate.trainings, 'training')}, at least "
        f"{_hours(estimate.seconds / 3600)} hours here from nothing: that is what the passes "
        "through the networks take, as measured; small heads, votes and pictures come on top"
    )
    for backbone, fault in estimate.faults.items():
        say(f"{backbone}: {fault}", style="red")
    if estimate.faults:
        raise typer.Exit(1)


def _hours(count: float) -> str:
    return f"{count:.1f}" if count >= 1 else f"{count:.2f}" if count >= 0.01 else "under 0.01"
