"""Slides drawn small, with known pixels, in the forms that scanners write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.arrays import UInt8Image

SlideDrawer = Callable[..., Path]


@pytest.fixture(scope="session")
def tissue() -> UInt8Image:
    """Smooth colours with fine grain, 1,000 x 900 pixels, no two places alike."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(60, 255, (30, 34, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (1000, 900), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def drawn_slide() -> SlideDrawer:
    """Writes a tiled pyramid: ``drawn_slide(path, pixels, mpp=0.5, levels=2, compression="jpeg")``.

    ``compression`` is "jpeg" (as YCbCr), "jpeg-rgb", "j2k" (an Aperio file), "lzw", "deflate" or
    None; ``mpp`` is None, a number, or the two across and down; each level halves the one above.
    ``sub`` puts the smaller ones into sub-directories, as OME-TIFF does.
    """
    return _draw


def _draw(
    path: Path,
    pixels: UInt8Image,
    *,
    mpp: float | tuple[float, float] | None = 0.5,
    levels: int = 1,
    compression: str | None = "jpeg",
    tile: int = 256,
    sub: bool = False,
) -> Path:
    import tifffile

    across, down = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    options: dict[str, object] = {
        "tile": (tile, tile),
        "photometric": "rgb",
        "metadata": None,
        "compression": compression,
    }
    if compression == "jpeg-rgb":
        options |= {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}
    if compression == "j2k":
        said = "" if mpp is None else f"|MPP = {mpp}"
        options |= {
            "compression": "APERIO_JP2000_RGB",
            "compressionargs": {"level": 40},
            "description": f"Aperio Image Library v11\r\n{pixels.shape[1]}|AppMag = 20{said}",
        }
    elif across and down:
        options |= {"resolution": (1e4 / across, 1e4 / down), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=levels - 1 if sub else None, **options)
        for _ in range(levels - 1):
            height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
            kept = pixels[: 2 * height, : 2 * width]
            pixels = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA)
            file.write(pixels, subfiletype=1, **options)
    return path
