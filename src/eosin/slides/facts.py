"""What a slide's file states of itself: whose it is, its um/px and its objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

_FINEST, _COARSEST = 0.05, 10.0  # um/px that a scanner may have
_MOST_APART: Final = 0.02  # of the um/px across and down
_MICROMETRES: Final = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4}


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a slide; see ``Slide`` for what each field means."""

    mpp: float | None
    mpp_fault: str
    objective: float | None


def facts_of(properties: Mapping[str, str], ome: str | None = None) -> Facts:
    """The facts in OpenSlide's properties, and in OME-XML where there is some."""
    stated = _ome_mpp(ome) if ome else ()
    if not stated:
        names = ("openslide.mpp-x", "openslide.mpp-y")
        stated = tuple(float(properties[name]) for name in names if name in properties)
    mpp, fault = usable_mpp(stated)
    power = properties.get("openslide.objective-power")
    return Facts(mpp, fault, None if power is None else float(power))


def usable_mpp(stated: tuple[float, ...]) -> tuple[float | None, str]:
    """The mean of the um/px across and down; None, and why, where they are none to rely on."""
    if not stated:
        return None, "states no um/px"
    for each in stated:
        if not is_sensible(each):
            return None, f"states {each:g} um/px, which no scanner has"
    across, down = stated[0], stated[-1]
    if abs(across - down) > _MOST_APART * min(stated):
        return None, f"states {across:g} um/px across and {down:g} down, which differ"
    return math.fsum(stated) / len(stated), ""


def is_sensible(mpp: float) -> bool:
    """Whether a scanner can have this um/px."""
    return _FINEST <= mpp <= _COARSEST


def _ome_mpp(xml: str) -> tuple[float, ...]:
    """The um/px across and down that OME-XML gives its first image; nothing where it gives none."""
    try:
        pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
        sides = [] if pixels is None else [_um(pixels.attrib, axis) for axis in "XY"]
    except (ElementTree.ParseError, ValueError):
        return ()
    return tuple(side for side in sides if side is not None)


def _um(attributes: Mapping[str, str], axis: str) -> float | None:
    unit = _MICROMETRES.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    size = attributes.get(f"PhysicalSize{axis}")
    return None if size is None or unit is None else float(size) * unit
