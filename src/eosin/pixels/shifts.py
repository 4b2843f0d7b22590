"""What may differ between laboratories, scanners and days, as changes of an image, five severities.

The severities run from what is hardly seen to what a pathologist would send back. They are fixed
here, before any network is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from eosin.errors import ConfigError
from eosin.pixels.stain_jitter import restain, scale_stains

if TYPE_CHECKING:
    from eosin.arrays import UInt8Image
    from eosin.pixels.concentration import StainEstimate

SEVERITIES: Final = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Shift:
    """One kind of change.

    Attributes:
        title: what to call it on a page.
        amounts: one a severity, growing away from no change.
        unit: what an amount is, to be formatted, e.g. ``"sigma {:g} px"``.
        apply: image (h, w, 3) and amount to the changed image of the same shape; the generator is
            for what is drawn.
    """

    title: str
    amounts: tuple[float, float, float, float, float]
    unit: str
    apply: Callable[[UInt8Image, float, np.random.Generator], UInt8Image]


def _blur(image: UInt8Image, sigma: float, _: np.random.Generator) -> UInt8Image:
    return _bytes(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def _jpeg(image: UInt8Image, quality: float, _: np.random.Generator) -> UInt8Image:
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    data = cv2.imencode(".jpg", image[:, :, ::-1], options)[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise ConfigError(f"an image of {image.shape[:2]} pixels cannot be written as JPEG")
    return _bytes(decoded[:, :, ::-1])


def _brightness(image: UInt8Image, factor: float, _: np.random.Generator) -> UInt8Image:
    return _bytes(cv2.convertScaleAbs(image, alpha=factor))


def _haematoxylin(image: UInt8Image, factor: float, _: np.random.Generator) -> UInt8Image:
    return scale_stains(image, (factor, 1.0))


def _eosin(image: UInt8Image, factor: float, _: np.random.Generator) -> UInt8Image:
    return scale_stains(image, (1.0, factor))


def _hue(image: UInt8Image, degrees: float, _: np.random.Generator) -> UInt8Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)  # hue in 256ths of a turn
    hsv[:, :, 0] += np.uint8(round(degrees * 256 / 360))  # wraps round, as hue does
    return _bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _rescale(image: UInt8Image, factor: float, _: np.random.Generator) -> UInt8Image:
    """The middle of the image, enlarged to its size: a higher magnification of less tissue."""
    height, width = image.shape[:2]
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[top : top + rows, left : left + columns]
    return _bytes(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC))


def _noise(image: UInt8Image, sigma: float, random: np.random.Generator) -> UInt8Image:
    grains = random.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(np.rint(image + grains), 0, 255).astype(np.uint8)


SHIFTS: Final[Mapping[str, Shift]] = MappingProxyType(
    {
        "blur": Shift("Blur", (0.5, 1.0, 1.5, 2.5, 4.0), "sigma {:g} px", _blur),
        "jpeg": Shift("JPEG", (80, 60, 40, 20, 10), "quality {:g}", _jpeg),
        "brightness": Shift(
            "Less light", (0.95, 0.85, 0.75, 0.6, 0.45), "factor {:g}", _brightness
        ),
        "haematoxylin": Shift(
            "Haematoxylin", (1.1, 1.25, 1.5, 1.75, 2.0), "factor {:g}", _haematoxylin
        ),
        "eosin": Shift("Eosin", (1.1, 1.25, 1.5, 1.75, 2.0), "factor {:g}", _eosin),
        "hue": Shift("Hue", (4, 8, 16, 24, 36), "{:g} degrees", _hue),
        "rescale": Shift("Magnification", (1.1, 1.25, 1.5, 2.0, 4.0), "factor {:g}", _rescale),
        "noise": Shift("Noise", (4, 8, 16, 24, 40), "sigma {:g} grey levels", _noise),
    }
)
# Towards the stains of other patients, by how different these are: needs the patients' stains.
OTHER_STAINS: Final = "stains of other patients"
STAIN_RANKS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the other patients, ordered by distance


def apply_shift(
    image: UInt8Image, name: str, severity: int, random: np.random.Generator
) -> UInt8Image:
    """The image under one shift; same shape, the caller's array untouched.

    Args:
        image: (height, width, 3) RGB bytes.
        name: one of ``SHIFTS``.
        severity: 1 to 5.
        random: for what is drawn, such as noise.

    Raises:
        ConfigError: there is no such shift or severity.
    """
    if name not in SHIFTS or severity not in SEVERITIES:
        raise ConfigError(
            f"shift {name!r} of severity {severity}: want one of {list(SHIFTS)} and 1 to 5"
        )
    shift = SHIFTS[name]
    return shift.apply(image, shift.amounts[severity - 1], random)


def stain_of_other(
    patient: str, severity: int, stains: Mapping[str, StainEstimate]
) -> StainEstimate | None:
    """The stains of another patient, the more different the higher the severity.

    The others are ordered by the distance of their stained optical densities from the patient's
    own (both stain vectors, each times its maximum concentration), and severity 5 is the last.
    None where the patient's stains or all others' are not known.
    """
    own = stains.get(patient)
    others = [name for name in sorted(stains) if name != patient]
    if own is None or not others:
        return None
    distance = {name: _distance(own, stains[name]) for name in others}
    others.sort(key=lambda name: distance[name])
    rank = max(0, round(STAIN_RANKS[severity - 1] * len(others)) - 1)
    return stains[others[rank]]


def exchange_stain(
    image: UInt8Image, own: StainEstimate | None, other: StainEstimate | None
) -> UInt8Image:
    """The image in another's stains; unchanged where one of the two is not known."""
    return image if own is None or other is None else restain(image, own, other)


def _distance(one: StainEstimate, other: StainEstimate) -> float:
    first = one.stain_matrix * one.max_concentration[:, None]
    second = other.stain_matrix * other.max_concentration[:, None]
    return float(np.linalg.norm(first - second))


def _bytes(image: object) -> UInt8Image:
    return np.asarray(image, dtype=np.uint8)
