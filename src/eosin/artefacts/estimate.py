"""The Estimate: any figure, with its interval, its n, what it is about, and what to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eosin.artefacts.glossary import GLOSSARY
from eosin.artefacts.values import Count
from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

Level = Literal["image", "patient"]
_ROUNDING = 1e-9  # of a sum of shares


@dataclass(frozen=True, slots=True)
class Scope:
    """What a figure is about: all that was scored, or a part of it. Text is for readers only.

    Attributes:
        class_name: the class that it speaks of; None where it speaks of all.
        magnification: of the images; None where it is all of them.
    """

    class_name: str | None = None
    magnification: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.magnification is not None:
            parts.append(f"magnification {self.magnification}")
        if self.class_name is not None:
            parts.append(f"class {self.class_name}")
        return ", ".join(parts) or "all"


ALL = Scope()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, a difference of two, or a mean of several.

    Attributes:
        value: in the metric's unit; None where it has no meaning.
        low, high: its patient-clustered interval; None where there is none.
        images, patients: the n behind it; for a class, those it stands on:
            of recall and sensitivity the class, of specificity the others, of precision the chosen.
        metric: its name in the glossary.
        scope: what it is about.
        level: whether images or patients were scored.
        note: plain sentences for a reader, which explain what is missing; or empty.

    Raises:
        DataError: it contradicts itself, e.g. an interval without a value.
    """

    value: float | None
    low: float | None
    high: float | None
    images: Count
    patients: Count
    metric: str
    scope: Scope = ALL
    level: Level = "image"
    note: str = ""

    def __post_init__(self) -> None:
        ends = self.low, self.high
        said = (
            f"{self.metric}, {self.scope}: value = {self.value}, low = {ends[0]}, high = {ends[1]}"
        )
        if self.metric not in GLOSSARY:
            raise DataError(f"metric = {self.metric!r} is unknown; want one of {list(GLOSSARY)}")
        if (ends[0] is None) != (ends[1] is None) or (self.value is None and ends != (None, None)):
            raise DataError(f"{said}: half of an interval, or an interval of nothing")
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            raise DataError(f"{said}: low lies above high")
        if ends[0] is None and not self.note:
            raise DataError(f"{said}: note = '' does not say what is missing")

    def __str__(self) -> str:
        name = GLOSSARY[self.metric].title
        about = "" if self.scope == ALL else f" of {self.scope}"
        if self.value is None:
            return f"{name}{about}: {self.note}"
        ends = "no interval" if self.low is None else f"[{self.low:.3f}, {self.high:.3f}]"
        n = f"{self.images} images, {self.patients} patients"
        return f"{name}{about} {self.value:.3f} {ends} ({n})"

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero, unrounded, lies outside it."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def lies_within(self, least: float, most: float) -> bool:
        """Whether value and interval, where there are any, lie between both."""
        known = [x for x in (self.value, self.low, self.high) if x is not None]
        return all(least - _ROUNDING <= x <= most + _ROUNDING for x in known)


def figure_frame(rows: Iterable[tuple[Mapping[str, object], Estimate]]) -> pd.DataFrame:
    """A row a figure: what is told beside it, then the figure itself.

    Its columns: metric, scope, value, low, high, n_images, n_patients, note. A value or an interval
    that does not exist is NaN here, and the note says why.
    """
    import pandas as pd

    frame = pd.DataFrame(
        {
            **beside,
            "metric": each.metric,
            "scope": str(each.scope),
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "n_images": each.images,
            "n_patients": each.patients,
            "note": each.note,
        }
        for beside, each in rows
    )
    return frame.astype({"value": float, "low": float, "high": float})
