"""Numbers and sentences as every page writes them."""

from __future__ import annotations

NO_BREAK = "\u00a0"  # a space that does not break


def number(value: float | None) -> str:
    """Three decimals, e.g. ``0.964``; an en dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """``[0.941, 0.981]``, or nothing where there is none."""
    return "" if low is None or high is None else f"[{low:.3f},{NO_BREAK}{high:.3f}]"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """``0.964 [0.941, 0.981]``."""
    return f"{number(value)} {interval(low, high)}".strip()


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
