"""`eosin slide ...`: what a whole slide is, and what of it is tissue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import say
from eosin.cli.slide_options import SlideMpp

if TYPE_CHECKING:
    from eosin.slides.slide import Slide

app = typer.Typer(no_args_is_help=True, help="Look at whole slides.")

File = Annotated[
    Path, typer.Argument(metavar="SLIDE", help="A slide's file, or its folder of DICOM files.")
]


@app.command()
def info(
    slide: File,
    slide_mpp: SlideMpp = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a slide holds: its sides, levels, um/px, tiles, and who decodes it."""
    import json

    from eosin.slides.opening import open_where_told

    opened = open_where_told(slide, slide_mpp)
    facts = _facts(opened)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        shown = name.replace("_", " ").replace("mpp", "um/px")
        say((f"{shown:<14}", "dim"), "-" if value is None else _said(value))
    if opened.mpp is None:
        say(f"{opened.mpp_fault}; say --slide-mpp X", style="yellow")


@app.command()
def show(
    slide: File,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE.png", help="The picture.")],
    slide_mpp: SlideMpp = None,
    size: Annotated[int, typer.Option(min=1, help="A tile's side in pixels.")] = 224,
    mpp: Annotated[float, typer.Option(min=0.05, help="Um/px of a tile.")] = 0.5,
) -> None:
    """Draw a slide, the tiles that show tissue, and where tissue, pen, folds and dirt lie."""
    from eosin.artefacts.outputs import PICTURE, require_output
    from eosin.reporting.slide_picture import write_slide_picture
    from eosin.slides.opening import open_where_told

    require_output(out, PICTURE, inputs=[slide])
    tiles = write_slide_picture(open_where_told(slide, slide_mpp), out, size=size, mpp=mpp)
    say(f"{tiles:,} tiles of {size} px at {mpp:g} um/px show tissue, written: {out}")


def _facts(slide: Slide) -> dict[str, object]:
    source = slide.source
    return {
        "path": str(slide.path),
        "vendor": slide.vendor,
        "sides": [slide.levels[0].width, slide.levels[0].height],
        "levels": [[each.width, each.height] for each in slide.levels],
        "mpp": slide.mpp,
        "objective": slide.objective,
        "tile": source.tile_sides,
        "compression": source.compression,
        "missing_tiles": source.missing,
        "reader": source.reader,
    }


def _said(value: object) -> str:
    """Sides as ``2220 x 2967``, several of them with commas; numbers without trailing noughts."""
    if not isinstance(value, list | tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return (", " if isinstance(value[0], list) else " x ").join(map(_said, value))
