"""`eosin serve`: Runs behind an API and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import say, stoppable
from eosin.cli.sources import MOST_MEGAPIXELS, AllowSeen, BatchSize, Device, Engine, MaxMegapixels


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER | M.csv", help="Images and slides to show, by id."),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="FILE | URL", help="Where answers of readers are kept."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="To listen on; other machines reach all but 127.0.0.1.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds the token that every request must name; needed beyond 127.0.0.1."),
    ] = None,
    show_patients: Annotated[
        bool, typer.Option("--show-patients", help="Name patients on the pages.")
    ] = False,
    allow_seen: AllowSeen = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = 16,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Serve Runs to programs and people, on this machine alone unless a token is given."""
    from eosin.server.running import run_server
    from eosin.server.settings import ServeOptions, read_token

    options = ServeOptions(
        runs=tuple(runs),
        data=data,
        db=db,
        host=host,
        port=port,
        token=None if token_file is None else read_token(token_file),
        show_patients=show_patients,
        allow_seen=allow_seen,
        engine=engine,
        device=device,
        batch_size=batch_size,
    )
    with stoppable(kept=lambda: "what was asked is answered"):
        run_server(options, say)
