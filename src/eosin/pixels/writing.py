"""From the bytes of a picture to a PNG file, and file names that no two pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.arrays import UInt8Image


def write_png(picture: UInt8Image, path: Path, *, effort: int = 1) -> None:
    """Write an RGB image (H, W, 3), or a grey one (H, W), as PNG in one step.

    Args:
        picture: the image.
        path: the file.
        effort: of the compression, 0 to 9; on noisy tissue more costs time and saves little.
    """
    # Encoded in memory: cv2.imwrite neither says why it failed nor takes every file name.
    data = png_bytes(picture, effort=effort, name=path)
    with replacing(path) as draft:
        draft.write_bytes(data)


def require_distinct_names(paths: Sequence[Path], names: Sequence[object]) -> None:
    """DataError, naming both, where two of ``paths`` would be written under one of ``names``."""
    first: dict[object, Path] = {}
    for path, name in zip(paths, names, strict=True):
        if (other := first.setdefault(name, path)) != path:
            raise DataError(f"{other} and {path} would both be copied to {name}; rename one")


def png_bytes(picture: UInt8Image, *, effort: int = 1, name: object = "picture") -> bytes:
    """The file that ``write_png`` writes, of RGBA too; DataError names ``name`` if it fails."""
    import cv2

    order = [2, 1, 0, 3][: picture.shape[-1]]
    bgr = np.ascontiguousarray(picture[:, :, order] if picture.ndim == 3 else picture)
    quick = [cv2.IMWRITE_PNG_COMPRESSION, effort]
    options = [*quick, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    done, data = cv2.imencode(".png", bgr, options)
    if not done:
        raise DataError(f"{name}: could not be encoded as PNG: shape {picture.shape}")
    return data.tobytes()
