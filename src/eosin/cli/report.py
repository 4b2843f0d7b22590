"""`eosin report`: one self-contained page on a Run and what it predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A Run folder.")],
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Its predictions.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="report.html", help="The page.")],
) -> None:
    """Write a self-contained HTML report: verdict, intervals, curves, mistakes, limits."""
    from eosin.cli.console import say
    from eosin.models.run import read_run
    from eosin.predictions import read_predictions
    from eosin.reporting.report import write_report

    write_report(read_run(run), read_predictions(predictions), out)
    say(f"report written: {out}")
