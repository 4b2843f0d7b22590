"""What a Run says of the images that its training had to do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def left_out_note(files: int) -> Iterator[str]:
    """A plain sentence on files that could not be read; none where all could."""
    if files:
        were = "1 file could not be read and was"
        if files > 1:
            were = f"{files} files could not be read and were"
        yield f"{were} left out of training."
