"""What a command scores or explains: a manifest, or image files and folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest


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
