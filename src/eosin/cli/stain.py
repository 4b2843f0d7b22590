"""`eosin stain ...`: copies of a manifest's images in one stain, and a sheet of what methods do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import finish, print_protocol, say, showing, stoppable
from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels

app = typer.Typer(no_args_is_help=True, help="Normalise stains; show what each method does.")


class Method(StrEnum):
    """How stains are normalised."""

    reinhard = "reinhard"
    macenko = "macenko"
    vahadane = "vahadane"


class PerUnit(StrEnum):
    """What a stain is estimated over."""

    image = "image"
    patient = "patient"


Target = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The image whose stain the others are given.")
]


@app.command()
def normalize(
    manifest: Annotated[Path, typer.Argument(metavar="S.csv", help="A manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder.")],
    method: Annotated[Method, typer.Option(help="How.")] = Method.vahadane,
    target: Target = None,
    per: Annotated[
        PerUnit, typer.Option(help="Estimate the stain of each image, or of each patient.")
    ] = PerUnit.image,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads (one a core).")] = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Write copies in one stain, as PNG under their old names, and DIR/manifest.csv.

    Without --target that is the median stain of the training split. Stopped by Ctrl-C or a crash,
    the same command continues. To train on one stain, `eosin train --stain` is enough.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import require_output_folder
    from eosin.data.stained import COPIES, StainOptions, normalize_stains
    from eosin.locks import one_writer
    from eosin.networks.run import ERRORS_NAME
    from eosin.pixels.reading import write_error_table

    require_output_folder(out, COPIES, inputs=[manifest], whole=True)
    images = read_manifest(manifest)
    options = StainOptions(method.value, target, per.value, workers)
    with stoppable(kept=lambda: "the copies written are kept"), one_writer(out):
        with showing() as progress:
            stained = normalize_stains(images, out, options, progress=progress)
        stained.manifest.write(out / "manifest.csv")
        write_error_table(stained.skipped, out / ERRORS_NAME)
    notes = [note for note in stained.manifest.notes if note != stained.warning]
    print_protocol(stained.manifest.protocol, notes)
    if stained.warning:
        say(stained.warning, style="bold red")
    unchanged = int((~stained.manifest.frame["stain_note"].isin(["", "own-stain"])).sum())
    say(
        f"{len(stained.manifest)} copies ({stained.kept} were there already, {unchanged} show no "
        f"stain and are unchanged), written: {out / 'manifest.csv'}"
    )
    finish(stained.skipped, out / ERRORS_NAME)


@app.command()
def show(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Image files and folders.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="SHEET.png", help="The sheet.")],
    target: Target = None,
    most: Annotated[int, typer.Option(min=1, help="Images shown, spread over those given.")] = 6,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Draw images before and after each method, with their haematoxylin and eosin.

    Without --target the target is the median stain of the images shown.
    """
    from eosin.artefacts.outputs import PICTURE, require_output
    from eosin.pixels.reading import error_table_path, write_error_table
    from eosin.reporting.stain_sheet import write_stain_sheet

    errors = error_table_path(out)
    require_output(out, PICTURE, inputs=[*images, *([target] if target else [])], beside=(errors,))
    skipped = write_stain_sheet(images, out, target=target, most=most)
    write_error_table(skipped, errors)
    say(f"written: {out}")
    finish(skipped, errors)
