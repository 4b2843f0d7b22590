"""Numbers and sentences as every page writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate

NO_BREAK = "\u00a0"  # a space that does not break


def number(value: float | None, *, signed: bool = False) -> str:
    """Three decimals, e.g. ``0.964``; an en dash where there is none.

    With its sign a difference is ``+0.031``, ``−0.120`` or, rounded to nothing, ``0.000``.
    """
    if value is None:
        return "–"
    if not signed:
        return f"{value:.3f}"
    text = f"{abs(value):.3f}"
    return ("" if float(text) == 0 else "+" if value > 0 else "−") + text


def interval(found: Estimate, *, signed: bool = False, space: str = NO_BREAK) -> str:
    """``[0.941, 0.981]``, or nothing where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"[{number(found.low, signed=signed)},{space}{number(found.high, signed=signed)}]"


def figure(found: Estimate, *, space: str = NO_BREAK) -> str:
    """``0.964 [0.941, 0.981]``, on one line; ``space`` stands within the interval."""
    return f"{number(found.value)} {interval(found, space=space)}".strip()


def cell(found: Estimate, *, signed: bool = False, starred: bool = False) -> str:
    """The same for a table: the value over its interval, starred where that excludes zero."""
    star = f"{NO_BREAK}★" if starred and found.excludes_zero else ""
    between = interval(found, signed=signed)
    return f"{number(found.value, signed=signed)}{star}\n{between}".strip()


def measured(found: Estimate) -> str:
    """What a figure measures, inside a sentence: ``accuracy``, ``ROC AUC by patient``."""
    name = GLOSSARY[found.metric].name
    return f"{name} by patient" if found.level == "patient" else name


def per_cent(share: float) -> str:
    """A share in [0, 1] as whole per cent, for sentences only: ``49 %``."""
    return f"{whole(share)}{NO_BREAK}%"


def whole(share: float) -> str:
    """A share in [0, 1] as a whole number of per cent: ``49``."""
    return f"{100 * share:.0f}"


def counted(count: int, noun: str) -> str:
    """``1 patient``, ``1,820 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def capital(text: str) -> str:
    """The text with its first letter large, the others as they are."""
    return text[:1].upper() + text[1:]
