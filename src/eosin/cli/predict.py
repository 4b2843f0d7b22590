"""`eosin predict`: score images with a Run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.errors import ConfigError


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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Score images; refuses patients that the Run was trained or validated on."""
    from eosin.cli.console import counting, finish, print_protocol, say
    from eosin.inference.predict import PredictOptions
    from eosin.inference.predict import predict as predict_images
    from eosin.manifest import read_manifest
    from eosin.models.run import read_run
    from eosin.pixels.reading import error_table_path, write_error_table

    tables = [path for path in images if path.suffix.lower() == ".csv"]
    if tables and len(images) > 1:
        raise ConfigError(f"give one manifest or image files, not both: {tables[0]}")
    source = read_manifest(tables[0]) if tables else images
    options = PredictOptions(
        split=split, allow_seen=allow_seen, device=device, batch_size=batch_size
    )
    with counting("scoring", None) as on_files:
        scored = predict_images(read_run(run), source, options, on_files=on_files)
    scored.predictions.write(out)
    write_error_table(scored.skipped, error_table_path(out))
    provenance = scored.predictions.provenance
    print_protocol(provenance.protocol, provenance.notes)
    say(f"{len(scored.predictions)} images scored, written: {out}")
    finish(scored.skipped, error_table_path(out))
