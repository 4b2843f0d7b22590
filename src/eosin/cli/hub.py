"""`eosin push` and `eosin pull`: Runs on a model hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import say
from eosin.cli.sources import RunFolder
from eosin.reporting.wording import counted

Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the hub.")]


def push(
    run: RunFolder,
    repository: Repository,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="P.csv", help="For the figures of the card; RUN's own by default."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it.")] = False,
    publish_patients: Annotated[
        bool,
        typer.Option("--publish-patients", help="With --public: run.json names patients."),
    ] = False,
) -> None:
    """Send a Run and its model card to a hub (HF_ENDPOINT), as a private repository."""
    from eosin.artefacts.predictions import read_predictions
    from eosin.errors import ConfigError
    from eosin.networks.hub import push_run
    from eosin.networks.run import PREDICTIONS_NAME, read_run
    from eosin.reporting.model_card import model_card

    found = read_run(run)
    named = counted(len(found.record.seen_patients), "patient")
    if public and not publish_patients:
        raise ConfigError(
            f"{run / 'run.json'} names {named}, so that the Run knows them again; where "
            "these names may be public add --publish-patients"
        )
    own = predictions or run / PREDICTIONS_NAME
    card = model_card(found, read_predictions(own)) if predictions or own.is_file() else ""
    said = push_run(found, repository, card=card, public=public)
    say(f"pushed: {said}")
    say(f"next: eosin pull {repository} -o DIR --sha256 {found.sha256}")


def pull(
    repository: Repository,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to make.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="That the Run must have.")
    ] = None,
) -> None:
    """Fetch a Run from a hub and check it by its hashes; nothing in it is code."""
    from eosin.networks.hub import pull_run

    found = pull_run(repository, out, revision=revision, sha256=sha256)
    say(f"pulled: {found}")
    say(f"SHA-256 {found.sha256}; whoever pushed it can tell whether this is the one")
