"""`eosin compare`: several models on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import print_frame, print_protocol, say
from eosin.cli.sources import BootstrapSeed, Resamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.comparison import Comparison
    from eosin.artefacts.predictions import Predictions


def compare(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="P.csv P.csv ...", help="Predictions, a table a model.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Page, tables, PNGs.")],
    name: Annotated[
        list[str] | None,
        typer.Option(help="What to call a model; once a table, in order. Default: from its Run."),
    ] = None,
    resamples: Resamples = 2000,
    seed: BootstrapSeed = 0,
) -> None:
    """Compare models on the same images: paired intervals, exact tests, shared mistakes, ranks."""
    from eosin.artefacts.outputs import require_output_folder
    from eosin.artefacts.predictions import read_predictions
    from eosin.evaluation.compare import compare_predictions
    from eosin.reporting.comparison_page import COMPARISON_FILES, write_comparison

    require_output_folder(out, COMPARISON_FILES, inputs=predictions)
    tables = [read_predictions(path) for path in predictions]
    names = _names(tables, name or [])
    comparison = compare_predictions(
        dict(zip(names, tables, strict=True)), resamples=resamples, seed=seed
    )
    runs = {
        called: [_found(run, path) for run in table.provenance.runs]
        for called, table, path in zip(names, tables, predictions, strict=True)
    }
    page = write_comparison(comparison, out, runs=runs)
    _print(comparison)
    say(f"written: {page}")


def _names(tables: Sequence[Predictions], given: Sequence[str]) -> tuple[str, ...]:
    """Names as given; else from where the tables come from. ConfigError unless one a table."""
    from eosin.errors import ConfigError
    from eosin.evaluation.alignment import model_names

    if not given:
        return model_names([table.provenance for table in tables])
    if len(given) != len(tables) or len(set(given)) != len(given):
        raise ConfigError(
            f"{len(tables)} tables need as many distinct names, got {list(given)}; "
            "give --name once for each table, in order, or not at all"
        )
    return tuple(given)


def _found(run: str, table: Path) -> Path:
    """A Run folder as it was named, else beside the table, else the table's own folder."""
    from eosin.networks.run import RECORD_NAME

    asked = Path(run)
    folders = [asked, table.parent / asked, table.parent / asked.name]
    if table.resolve().parent.name == asked.name:
        folders.append(table.parent)
    return next((folder for folder in folders if (folder / RECORD_NAME).is_file()), asked)


def _print(comparison: Comparison) -> None:
    """Rankings, tests, warnings, protocols, notes and the next step."""
    import pandas as pd

    from eosin.reporting.comparison_page import next_steps
    from eosin.reporting.comparison_tables import pair_table, ranking_table

    metrics = ("accuracy", comparison.primary_metric)
    tables = [ranking_table(comparison, metric) for metric in metrics]
    for table in (*tables, pair_table(comparison, best_only=True)):
        print_frame(pd.DataFrame(table.rows, columns=list(table.columns)), title=table.caption)
    for warning in comparison.warnings:
        say(warning, style="bold red")
    for protocol in dict.fromkeys(p.protocol for p in comparison.provenance.values()):
        print_protocol(protocol)
    for note in comparison.notes:
        say(note, style="dim")
    for step in next_steps(comparison):
        say(step)
