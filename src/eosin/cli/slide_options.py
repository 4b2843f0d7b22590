"""Options for whole slides; which arguments are slides, and what is said of those scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import EXIT_SKIPPED, finish, print_protocol, say
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.manifest import Manifest
    from eosin.inference.slides import SlideOptions
    from eosin.reporting.slide_folder import WrittenSlides

Mpp = Annotated[
    float | None,
    typer.Option(min=0.05, max=50, help="um/px at which tiles are read (default: the Run's own)."),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(help="um/px of level 0, for slides that state none."),
]
TileSize = Annotated[
    int | None, typer.Option(min=8, max=4096, help="Side of a tile, pixels (default: the Run's).")
]
Overlap = Annotated[int, typer.Option(min=0, help="Pixels that neighbouring tiles share.")]
LeastTissue = Annotated[
    float, typer.Option(min=0, max=1, help="Share of tissue from which a tile is taken.")
]
Merged = Annotated[
    bool, typer.Option("--merged", help="qupath.geojson: regions of tiles of one class.")
]
Packed = Annotated[bool, typer.Option("--gzip", help="Write qupath.geojson.gz.")]


def slides_in(source: Manifest | Sequence[Path]) -> Manifest | Sequence[Path] | None:
    """The whole slides to score, those of folders too; None where images are to be scored.

    Raises:
        ConfigError: slides and other images together.
    """
    from eosin.artefacts.manifest import Manifest
    from eosin.slides.opening import is_slide
    from eosin.slides.tile import Tile

    if isinstance(source, Manifest):
        first = source.paths[0]
        return source if Tile.of(first) is None and is_slide(first) else None
    found = [[path] if is_slide(path) else _in_folder(path) for path in source]
    if any(found) and not all(found):
        other = source[found.index([])]
        raise ConfigError(f"{other}: is no slide; score slides and other images in separate calls")
    return [path for paths in found for path in paths] or None


def _in_folder(folder: Path) -> list[Path]:
    """The slides in a folder that holds files named like slides and none named like images."""
    from eosin.pixels.reading import is_image_name
    from eosin.remote import walk
    from eosin.slides.opening import SLIDE_NAMES, find_slides

    files = [path / name for path, _, names in walk(folder) for name in names]
    named = any(path.suffix.lower() in SLIDE_NAMES for path in files)
    return [*find_slides(folder)] if named and not any(map(is_image_name, files)) else []


def require_no_slide_options(options: SlideOptions, *, merged: bool, packed: bool) -> None:
    """ConfigError where options for slides are given and images are scored."""
    from eosin.inference.slides import SlideOptions

    if options != SlideOptions() or merged or packed:
        raise ConfigError(
            "--mpp, --slide-mpp, --tile-size, --overlap, --least-tissue, --merged and --gzip are "
            "for whole slides, and none is given"
        )


def print_slides(found: WrittenSlides, *, strict: bool) -> None:
    """What was found of each slide, and where it lies.

    Exit code 3 where some were left out, or where ``strict`` and a tile is flagged.
    """
    from eosin.reporting.slide_folder import ERRORS_NAME
    from eosin.reporting.slide_page import slide_sentence

    for protocol in dict.fromkeys(answer.protocol for answer in found.answers):
        print_protocol(protocol)
    for note in dict.fromkeys(note for answer in found.answers for note in answer.notes):
        say(note, style="dim")
    for answer in found.answers:
        say((Path(answer.slide).name, "bold"), f": {slide_sentence(answer)}")
    page = "report.html" if len(found.answers) == 1 else "report.html in the folder of a slide"
    say(f"written: {found.folder}; open {page}")
    finish(found.skipped, found.folder / ERRORS_NAME)
    if strict and any(answer.flagged for answer in found.answers):
        raise typer.Exit(EXIT_SKIPPED)
