"""What a command reads: a manifest, or image files and folders, of how many pixels at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest


def _limit(most: float) -> float:
    from eosin.pixels.reading import limit_megapixels

    limit_megapixels(most)
    return most


MOST_MEGAPIXELS: Final = 32.0
MaxMegapixels = Annotated[
    float,
    typer.Option(
        "--max-megapixels",
        min=0.001,
        callback=_limit,
        help="Larger images are left out; memory grows with it.",
    ),
]


def read_source(places: Sequence[Path], *, option: str = "") -> Manifest | Sequence[Path]:
    """The manifest that ``places`` name, or the places themselves.

    Raises:
        ConfigError: a manifest among others; the message names it, and the option if there is one.
    """
    from eosin.artefacts.manifest import read_manifest

    tables = [path for path in places if path.suffix.lower() == ".csv"]
    if tables and len(places) > 1:
        to = f" to {option}" if option else ""
        raise ConfigError(f"give one manifest or image files{to}, not both: {tables[0]}")
    return read_manifest(tables[0]) if tables else places
