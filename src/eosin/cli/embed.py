"""`eosin embed`: features of images under an encoder, as one AnnData file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import RESUME, finish, say, spreading
from eosin.cli.sources import (
    MOST_MEGAPIXELS,
    BatchSize,
    Cluster,
    Device,
    MaxMegapixels,
    Overwrite,
    Resume,
    Workers,
    read_source,
    require_not_both,
)
from eosin.errors import ConfigError
from eosin.reporting.wording import counted


def embed(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="S.csv | FILES...", help="A manifest, or image files and folders."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="E.h5ad", help="The embeddings.")],
    backbone: Annotated[
        str, typer.Option(help="One of `eosin encoders`, a timm name, hf-hub:OWNER/NAME, a folder.")
    ],
    weights: Annotated[
        str, typer.Option(help="imagenet (of an encoder: its own), none, or a safetensors file.")
    ] = "imagenet",
    fit: Annotated[str, typer.Option(help="stretch or crop.")] = "stretch",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    batch_size: BatchSize = 32,
    workers: Workers = None,
    cluster: Cluster = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Write features of every image (AnnData); scanpy reads it, and `eosin train --embeddings`."""
    from eosin.cli.encoders import say_licence
    from eosin.pixels.reading import error_table_path
    from eosin.training.embed import EmbedOptions
    from eosin.training.embed import embed as embed_images

    require_not_both(resume=resume, overwrite=overwrite)
    if fit not in ("stretch", "crop") or dtype not in ("float32", "float16"):
        raise ConfigError(
            f"--fit {fit!r} --dtype {dtype!r}: want stretch or crop, and float32 or float16"
        )
    options = EmbedOptions(
        backbone=backbone,
        weights=weights,
        fit=fit,  # type: ignore[arg-type]  # seen to be one of them
        dtype=dtype,  # type: ignore[arg-type]
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    say_licence(backbone)
    kept = "what is computed is kept"
    with spreading(cluster, device, again=RESUME, kept=lambda _: kept) as (spread, progress):
        done = embed_images(
            read_source(images),
            out,
            options,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            spread=spread,
        )
    say(f"{counted(done.images, 'image')}, {done.width} features each, written: {out}")
    finish(done.skipped, error_table_path(out))
