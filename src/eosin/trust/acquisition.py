"""How a Run's own images were taken, and what of another image lies outside of that."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.artefacts.reference import Acquisition, Flag, Range
from eosin.data.breakhis import BreakHisName
from eosin.errors import DataError
from eosin.pixels.acquisition import ACQUISITION
from eosin.trust.familiarity import patient_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Floats, Ints

_STAIN: Final = ACQUISITION[5:16]
_COLUMN: Final = {name: column for column, name in enumerate(ACQUISITION)}
_OUTER: Final = 0.01  # share of patients' images beyond either end of what is common
_MARGIN: Final = 1.0  # times the way from the median to that end, on top
_LEAST_TISSUE: Final = 0.05  # less is flagged; less still where the Run's own images have less
_MOST_BLACK: Final = 0.5
_ENOUGH: Final = 0.2  # of tissue, for stains that cannot be told to be a fault
_SIZE: Final = 1.25  # how much longer or shorter a side may be
_MPP: Final = 1.2
# 40 in a_40x_1.png
_NAMED: Final = re.compile(r"(?<![0-9A-Za-z.])(\d{1,3}(?:\.\d+)?)[xX](?![0-9A-Za-z])")


def learn_acquisition(measures: Floats, patient: Ints, rows: pd.DataFrame) -> Acquisition:
    """The ranges of images' ``measures`` (n, names) in which nearly all of every patient lie.

    Args:
        measures: as ``pixels.acquisition.measure`` gives them.
        patient: a number for each image's patient, shape (n,).
        rows: the manifest's rows of the images.
    """
    sides = np.sort(measures[:, :2], axis=1)
    stated, steps = mpp_of(rows), set(magnifications_of(rows)) - {""}
    known = stated[np.isfinite(stated)]
    found = {
        name: _range(measures[:, column], patient)
        for name, column in list(_COLUMN.items())[2:]
        if np.isfinite(measures[:, column]).any()
    }
    return Acquisition(
        magnifications=tuple(sorted(steps, key=lambda step: (len(step), step))),
        mpp=Range(low=known.min() / _MPP, high=known.max() * _MPP) if len(known) else None,
        short_side=Range(low=sides[:, 0].min() / _SIZE, high=sides[:, 0].max() * _SIZE),
        long_side=Range(low=sides[:, 1].min() / _SIZE, high=sides[:, 1].max() * _SIZE),
        measures=found,
    )


def flags_of(measures: Floats, known: Acquisition) -> tuple[Flag, ...]:
    """What of one image's ``measures`` (names,) lies outside of what is ``known``."""
    value = dict(zip(ACQUISITION, measures.tolist(), strict=True))
    flags: list[Flag] = []
    empty = _is_empty(value, known)
    if empty:
        flags.append("no-tissue")
    sharpness = known.measures.get("sharpness")
    if not empty and sharpness is not None and value["sharpness"] < sharpness.low:
        flags.append("blurred")
    if not empty and _is_stained_otherwise(value, known):
        flags.append("stain")
    sides = sorted((value["height"], value["width"]))
    if not all(map(_inside, sides, (known.short_side, known.long_side))):
        flags.append("other-size")
    return tuple(flags)


def stated_otherwise(rows: pd.DataFrame, known: Acquisition) -> list[str]:
    """Of each manifest row, the magnification that it states where the Run has another; or ``""``.

    The um/px decides where both sides know it.
    """
    said = []
    for step, mpp in zip(magnifications_of(rows), mpp_of(rows).tolist(), strict=True):
        if known.mpp is not None and math.isfinite(mpp):
            said.append("" if _inside(mpp, known.mpp) else f"{mpp:g} um/px")
        else:
            other = step and known.magnifications and step not in known.magnifications
            said.append(f"{step}X" if other else "")
    return said


def magnifications_of(rows: pd.DataFrame) -> list[str]:
    """The magnification that each row of a manifest or, failing that, its file's name states."""
    return [
        step or _named(Path(path))
        for step, path in zip(rows["magnification"], rows["path"], strict=True)
    ]


def mpp_of(rows: pd.DataFrame) -> Floats:
    """Micrometres a pixel that the rows of a manifest state, shape (n,); NaN where they do not."""
    cells: Sequence[object] = list(rows["mpp"]) if "mpp" in rows else [""] * len(rows)
    found = np.array([_number(cell) for cell in cells], dtype=np.float64)
    return np.where(found > 0, found, np.nan)


def _is_empty(value: dict[str, float], known: Acquisition) -> bool:
    tissue, black = known.measures["tissue"], known.measures["black"]
    least, most = min(_LEAST_TISSUE, tissue.low), max(_MOST_BLACK, black.high)
    return value["tissue"] <= max(least, 0.0) or value["black"] > most


def _is_stained_otherwise(value: dict[str, float], known: Acquisition) -> bool:
    told = [name for name in _STAIN if name in known.measures]
    if any(not math.isfinite(value[name]) for name in told):
        return value["tissue"] >= _ENOUGH
    return not all(_inside(value[name], known.measures[name]) for name in told)


def _range(values: Floats, patient: Ints) -> Range:
    known = np.isfinite(values)
    order = np.argsort(values[known])
    weights = patient_weights(patient[known])[order]
    middles = np.cumsum(weights) - weights / 2
    low, median, high = np.interp((_OUTER, 0.5, 1 - _OUTER), middles, values[known][order])
    return Range(
        low=float(low - _MARGIN * (median - low)), high=float(high + _MARGIN * (high - median))
    )


def _inside(value: float, known: Range) -> bool:
    return known.low <= value <= known.high


def _named(file: Path) -> str:
    try:
        return str(BreakHisName.parse(file.name).magnification)
    except DataError:
        found = _NAMED.search(file.stem)
        return found[1] if found else ""


def _number(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return math.nan
