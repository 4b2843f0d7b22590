"""Options that several commands share, and the images that their arguments name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.errors import ConfigError
from eosin.machine import MOST_MEGAPIXELS as MOST_MEGAPIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.manifest import Manifest


def _limit(most: float) -> float:
    from eosin.pixels.reading import limit_megapixels

    limit_megapixels(most)
    return most


MaxMegapixels = Annotated[
    float,
    typer.Option(
        "--max-megapixels",
        min=0.001,
        callback=_limit,
        help="Larger images are left out; memory grows with it.",
    ),
]


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A Run folder.")]
Positive = Annotated[str | None, typer.Option(help="The positive one of two classes.")]
Ordinal = Annotated[bool, typer.Option("--ordinal", help="Classes are grades.")]
Resamples = Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")]
BootstrapSeed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps (Apple).")]
Engine = Annotated[str, typer.Option(help="auto, torch, onnxruntime or openvino (exported Runs).")]
ScoredSplit = Annotated[
    str | None, typer.Option(help="The manifest's split to score (test, val or train).")
]
AllowSeen = Annotated[
    bool,
    typer.Option(
        "--allow-seen", help="Score patients the Run was trained on, and say so on the result."
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images a forward pass.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Reading threads (one a core).")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local | ADDRESS",
        help="Let many workers do it, on this machine or on a Ray cluster: the same result.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start again what was interrupted.")]


def read_source(paths: Sequence[Path], *, option: str = "") -> Manifest | Sequence[Path]:
    """The manifest that ``paths`` name, or the paths themselves.

    Raises:
        ConfigError: a manifest among others; the message names it, and the option if there is one.
    """
    from eosin.artefacts.manifest import read_manifest

    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(paths) > 1:
        to = f" to {option}" if option else ""
        raise ConfigError(f"give one manifest or image files{to}, not both: {tables[0]}")
    return read_manifest(tables[0]) if tables else paths


def require_not_both(*, resume: bool, overwrite: bool) -> None:
    """ConfigError where both are asked for."""
    if resume and overwrite:
        raise ConfigError("--resume continues and --overwrite starts again; give one of them")
