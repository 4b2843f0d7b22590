"""The `eosin` command: assembles the verbs and turns errors into one line and an exit code.

Exit codes: 0 done; 1 a problem that the message names, with its fix; 2 wrong usage; 3 done, but
some files were skipped and are named in an error table; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from eosin.cli import (
    bench,
    compare,
    data,
    demo,
    doctor,
    ensemble,
    evaluate,
    explain,
    export,
    predict,
    report,
    split,
    stain,
    study,
    train,
)
from eosin.cli.console import show_everything
from eosin.errors import EosinError
from eosin.version import __version__

app = typer.Typer(
    name="eosin",
    help="Honest, fast, explainable classification of breast-histopathology images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(stain.app, name="stain")
for verb in (split.split, train.train, predict.predict, evaluate.evaluate, report.report):
    app.command()(verb)
app.command()(explain.explain)
app.command()(export.export)
app.command()(bench.bench)
app.command()(compare.compare)
app.command()(study.study)
app.command()(ensemble.ensemble)
app.command()(demo.demo)
app.command()(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"eosin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Honest, fast, explainable classification of breast-histopathology images."""


def main() -> None:
    """Run the command line; an EosinError becomes one message and exit code 1."""
    # Threads of PyTorch that wait by spinning starve the reading threads and whoever else is on
    # the machine; asleep, they cost nothing. It must be said before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    show_everything()
    try:
        app()
    except EosinError as error:
        typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(error), err=True)
        sys.exit(1)
