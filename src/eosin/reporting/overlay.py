"""A heatmap laid on its image; no torch.

The tissue is faded to grey, so that colour means evidence and nothing else. The colours run one way
in lightness and grow opaque with the map: where it is 0 there is tissue alone. A line encloses the
strongest fifth of the picture, of the map smoothed a little: the line of a fine map is a tangle
otherwise. Holes have a line as well, specks of under a thousandth of the picture none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.arrays import Bools, FloatMap
    from eosin.pixels.reading import UInt8Image


TOP_SHARE = 0.2
SHORTEST, LONGEST = 512, 2048  # of a picture's longer side, pixels
_COLOUR_KEPT, _LIGHTENED = 0.15, 0.25  # of faded tissue
_RISE = 0.75  # power of the opacity: weak evidence is seen as well, and 0 stays clear
_SPECK = 0.001  # of the picture's area
_SMOOTHING = 0.03  # standard deviation, of the shorter side
_FRAME = 160


@dataclass(frozen=True, slots=True)
class HeatmapStyle:
    """How heatmaps are drawn.

    Attributes:
        colormap: a matplotlib colour map whose lightness runs one way.
        opacity: of the strongest position, above 0 and up to 1.
        original: whether the image stands beside its overlay.

    Raises:
        ConfigError: another colour map, or an opacity outside that range.
    """

    colormap: str = "YlOrRd"
    opacity: float = 0.75
    original: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.opacity <= 1:
            raise ConfigError(f"opacity = {self.opacity}: want a number above 0 and up to 1")
        import cv2
        import matplotlib as mpl

        fit = "such as YlOrRd, Blues, magma_r, viridis or cividis"
        if self.colormap not in mpl.colormaps:
            raise ConfigError(f"colour map {self.colormap!r} is unknown; take one {fit}")
        light = cv2.cvtColor(_table(self.colormap)[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
        steps = np.diff(light) * np.sign(light[-1] - light[0])
        if steps.min() < -1 or abs(light[-1] - light[0]) < 50:
            raise ConfigError(
                f"colour map {self.colormap!r} does not run one way from light to dark or back, "
                f"so that stronger evidence can look weaker; take one {fit}"
            )


def blend(image: UInt8Image, values: FloatMap, style: HeatmapStyle) -> UInt8Image:
    """The faded image under its map, same shape.

    Args:
        image: RGB (H, W, 3).
        values: the map (H, W), 0 to 1; where it is 0 the tissue has no colour on it.
        style: the colours.
    """
    tissue = faded(image)
    mixed = colour_of(values, style.colormap).astype(np.float32)
    mixed -= tissue
    mixed *= (np.float32(style.opacity) * np.clip(values, 0, 1) ** np.float32(_RISE))[:, :, None]
    mixed += tissue
    return np.asarray(np.rint(mixed, out=mixed), np.uint8)


def faded(image: UInt8Image) -> UInt8Image:
    """The tissue nearly without its colour, and a little lighter."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    kept, light = _COLOUR_KEPT * (1 - _LIGHTENED), 255 * _LIGHTENED
    plain = cv2.addWeighted(image, kept, grey, 1 - _LIGHTENED - kept, light)
    return np.asarray(plain, np.uint8)


def colour_of(values: FloatMap, colormap: str) -> UInt8Image:
    """The colours of values 0 to 1, RGB, with one more axis of 3 at the end."""
    return _table(colormap)[np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)]


def _table(colormap: str) -> UInt8Image:
    """The 256 colours of a map (256, 3)."""
    import matplotlib as mpl

    return np.asarray(np.rint(mpl.colormaps[colormap](np.arange(256) / 255)[:, :3] * 255), np.uint8)


def at_reading_size(picture: UInt8Image) -> UInt8Image:
    """A picture with a longer side of 512 (by a whole factor) to 2,048 pixels."""
    return _enlarged(_shrunk(picture))


def _shrunk(picture: UInt8Image) -> UInt8Image:
    return scaled(picture, min(1, LONGEST / max(picture.shape[:2])))


def _enlarged(picture: UInt8Image) -> UInt8Image:
    return scaled(picture, -(-SHORTEST // max(picture.shape[:2])))


def scaled(picture: UInt8Image, scale: float) -> UInt8Image:
    """A picture at ``scale`` times its size, a pixel at least; at 1 it is the picture itself."""
    import cv2

    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def draw_overlay(
    image: UInt8Image, values: FloatMap, style: HeatmapStyle, *, contour: bool = True
) -> UInt8Image:
    """The image at reading size under its map (H, W), and the line around what is ``enclosed``."""
    import cv2

    small = _shrunk(image)
    fitting: FloatMap = np.asarray(cv2.resize(values, small.shape[1::-1]), np.float32)
    picture = _enlarged(blend(small, fitting, style))
    if not contour:
        return picture
    return _outlined(picture, enclosed(fitting, shape=(picture.shape[0], picture.shape[1])))


def strongest(values: FloatMap, *, share: float = TOP_SHARE) -> Bools:
    """The ``share`` of the area with the highest values (H, W); pixels of value 0 never count."""
    index = min(values.size - 1, int(values.size * (1 - share)))
    limit = np.partition(values, index, axis=None)[index]
    return np.asarray((values >= limit) & (values > 0))


def enclosed(values: FloatMap, *, shape: tuple[int, int] | None = None) -> Bools:
    """What the line runs around (H, W): the strongest fifth of the smoothed map.

    Evidence on no more than a fifth of the picture is enclosed as it is.

    Args:
        values: the map.
        shape: of the picture that the line is drawn on; None for the map's own.
    """
    import cv2

    if np.count_nonzero(values > 0) > TOP_SHARE * values.size:
        sigma = _SMOOTHING * min(values.shape)
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
    if shape and shape != values.shape:
        values = np.asarray(cv2.resize(values, shape[::-1]), np.float32)
    return strongest(values)


def colour_bar(width: int, height: int, style: HeatmapStyle) -> UInt8Image:
    """From 0 at the left to 1 at the right as it looks over white glass, in a thin frame."""
    ramp = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    bar = blend(np.full((height, width, 3), 255, np.uint8), ramp, style)
    bar[[0, -1]], bar[:, [0, -1]] = _FRAME, _FRAME
    return bar


def _outlined(picture: UInt8Image, region: Bools) -> UInt8Image:
    """A white line with a dark core around ``region`` and its holes: it stands out on any tissue.

    Of specks the largest has a line where there is nothing else.
    """
    import cv2

    found, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(line) for line in found]
    least = min(_SPECK * region.size, max(areas, default=0.0))
    found = [line for line, area in zip(found, areas, strict=True) if area >= least]
    canvas = np.ascontiguousarray(picture)
    for colour, thickness in (((255, 255, 255), 3), ((31, 27, 36), 1)):
        cv2.drawContours(canvas, found, -1, colour, thickness, cv2.LINE_AA)
    return canvas
