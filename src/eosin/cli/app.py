"""The `eosin` command: assembles the verbs and turns errors into one line and an exit code.

``docs/exit-codes.md`` lists the exit codes.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from eosin.cli import (
    bench,
    checklist,
    compare,
    data,
    demo,
    doctor,
    embed,
    encoders,
    ensemble,
    evaluate,
    explain,
    export,
    hub,
    init,
    plan,
    power,
    predict,
    report,
    review,
    serve,
    sites,
    slide,
    split,
    stain,
    stress,
    study,
    train,
)
from eosin.cli.console import EXIT_SKIPPED, Terminated, exit_code, show_everything, stoppable
from eosin.errors import ConfigError, EosinError, EosinWarning, missing_extra
from eosin.files import disk_errors
from eosin.machine import launched
from eosin.version import __version__

_OUTPUTS = ("out", "figure")  # names of arguments that are written
_IMAGES = ("images", "slide", "slide_root")  # of those that name images


class _Verbs(TyperGroup):
    """What the disk refuses a verb becomes an EosinError, and what stops one a sentence."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own click
        """Do what the command line says; ConfigError naming the extra that it lacks."""
        try:
            with stoppable(), disk_errors("a file", doing="read or written"):
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            said = missing_extra(error)
            if said is None:
                raise
            raise ConfigError(f"eosin {ctx.invoked_subcommand} {said}") from error


class _Verb(TyperCommand):
    """A verb whose files may be URLs: what it reads is fetched, and what it writes is sent."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own click
        """Do what the verb says; an output goes to its URL only where the verb ends well."""
        from eosin.remote import as_path, brought, is_url, sent

        def local(name: str, value: object) -> object:
            if isinstance(value, list | tuple):
                return type(value)(local(name, each) for each in value)
            if not isinstance(value, str | Path) or not is_url(str(value)):
                return value
            if name in _OUTPUTS:
                return type(value)(outputs.enter_context(sent(value)))
            if name in _IMAGES and not str(value).lower().endswith(".csv"):
                return as_path(str(value))  # a folder is listed, a slide read by ranges
            return type(value)(brought(value))

        stop = None
        with ExitStack() as outputs:
            ctx.params.update({name: local(name, value) for name, value in ctx.params.items()})
            try:
                return super().invoke(ctx)
            except typer.Exit as ended:
                if ended.exit_code not in (0, EXIT_SKIPPED):
                    raise
                stop = ended
        raise stop


app = typer.Typer(
    name="eosin",
    cls=_Verbs,
    help="Honest, fast, explainable classification of breast-histopathology images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(review.app, name="review")
app.add_typer(slide.app, name="slide")
app.add_typer(stain.app, name="stain")
for _verb in (  # in the order of the help
    *(split.split, train.train, predict.predict, evaluate.evaluate, sites.sites, report.report),
    *(init.init, explain.explain, export.export, bench.bench, compare.compare, stress.stress),
    *(power.power, plan.plan, checklist.checklist, study.study, ensemble.ensemble, demo.demo),
    *(doctor.doctor, encoders.encoders, embed.embed, serve.serve, hub.push, hub.pull),
):
    app.command()(_verb)


for _app in (app, *(group.typer_instance for group in app.registered_groups)):
    for _command in _app.registered_commands if _app else ():
        _command.cls = _Verb


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"eosin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Honest, fast, explainable classification of breast-histopathology images."""
    verb, (_, processes) = context.invoked_subcommand, launched()
    if processes > 1 and verb != "train":
        raise ConfigError(
            f"eosin {verb} is for one process, and {processes} were started (WORLD_SIZE); only "
            "`eosin train` works under torchrun"
        )


def _terminate(*_: object) -> None:
    raise Terminated


def _said(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning of ours as one line; another one with its place, as Python says it."""
    if issubclass(category, EosinWarning):
        return f"{message}\n"
    return _python_says(message, category, filename, lineno, line)


_python_says = warnings.formatwarning


def main() -> None:
    """Run the command line; an EosinError becomes one message and exit code 1."""
    # Threads of PyTorch that wait by spinning starve the reading threads and whoever else is on
    # the machine; asleep, they cost nothing. It must be said before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    show_everything()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.formatwarning = _said
    try:
        app()
    except KeyboardInterrupt as stop:  # before a verb was begun, or after it had ended
        sys.exit(exit_code(stop))
    except EosinError as error:
        typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(error), err=True)
        sys.exit(1)
