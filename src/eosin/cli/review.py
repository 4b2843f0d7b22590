"""`eosin review ...`: take labels out of a record of reviews; copy it and bring a copy back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import print_frame, print_protocol, say

app = typer.Typer(no_args_is_help=True, help="Use the record of reviews.")

Database = Annotated[
    str, typer.Argument(metavar="DB", help="The record: a file, or postgresql://USER@HOST/NAME.")
]


@app.command()
def export(
    db: Database,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="M.csv", help="The manifest.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Keep cases without a label too; training refuses them.")
    ] = False,
) -> None:
    """Write readers' labels, their consensus and adjudication, as a manifest to train on."""
    from contextlib import closing

    from eosin.artefacts.outputs import MANIFEST, require_table
    from eosin.server.labels import labelled_manifest
    from eosin.server.record import Record

    require_table(out, MANIFEST, inputs=[] if "://" in db else [Path(db)])
    with closing(Record(db, create=False)) as record:
        made = labelled_manifest(record, everything=everything)
    made.write(out)
    print_frame(made.counts().reset_index())
    print_protocol(made.protocol, made.notes)
    say(f"written: {out}")


@app.command("backup")
@app.command("restore")
def copy(
    db: Annotated[str, typer.Argument(metavar="DB", help="The record, or a copy of it: a file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="COPY.db", help="What to make.")],
) -> None:
    """Copy a record of SQLite, also while a server writes it, and check the copy.

    A record that is there already is never replaced.
    """
    from eosin.server.connecting import copy_record

    copy_record(db, out)
    say(f"written: {out}")
