"""`eosin data slides` and `eosin data tile`: whole slides as manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import showing
from eosin.cli.datasets import Out, Root, require_manifest, write_dataset
from eosin.cli.slide_options import LeastTissue, Overlap, SlideMpp
from eosin.cli.sources import Ordinal, Positive


def slides(
    slide_root: Root,
    out: Out,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Columns slide, label and maybe patient.")
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help=r"Its first group in a slide's name is the patient."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="QuPath GeoJSON or Aperio XML, named like the slides."),
    ] = None,
    outside: Annotated[
        str, typer.Option(help="The label of tissue outside of annotations (default: left out).")
    ] = "",
    slide_mpp: SlideMpp = None,
    positive: Positive = None,
    ordinal: Ordinal = False,
) -> None:
    """Whole slides: a row a slide, with its label or its drawn regions."""
    from eosin.data.slides import SlideSources, read_slides

    require_manifest(out, slide_root, *(path for path in (labels, annotations) if path))
    found = read_slides(
        slide_root,
        SlideSources(labels, patient, annotations, outside, slide_mpp, positive, ordinal),
    )
    write_dataset(found, out)


def tile(
    manifest: Annotated[Path, typer.Argument(metavar="M.csv", help="A manifest of slides.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="T.csv", help="The tiles' manifest.")],
    mpp: Annotated[float, typer.Option(min=0.05, max=50, help="um/px to read at.")] = 0.5,
    size: Annotated[int, typer.Option(min=8, max=4096, help="Side of a tile, pixels.")] = 224,
    overlap: Overlap = 0,
    least_tissue: LeastTissue = 0.25,
    per_slide: Annotated[
        int | None, typer.Option(min=1, help="At most so many of a slide, drawn by chance.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 0,
    slide_mpp: SlideMpp = None,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut the tiles to PNG files there.")
    ] = None,
) -> None:
    """Tiles of slides that hold tissue: rows that point into them; --write cuts files."""
    from eosin.artefacts.manifest import read_manifest
    from eosin.data.scan import ReadDataset
    from eosin.data.tiles import TileOptions, tile_manifest, write_tiles

    require_manifest(out, manifest)
    options = TileOptions(mpp, size, overlap, least_tissue, slide_mpp)
    with showing() as progress:
        found = tile_manifest(
            read_manifest(manifest), options, per_slide=per_slide, seed=seed, progress=progress
        )
        if write is not None:
            cut = write_tiles(found.manifest, write, progress=progress)
            found = ReadDataset(cut.manifest, (*found.skipped, *cut.skipped))
    write_dataset(found, out)
