"""What a benchmark promises: one line a bar, which `make bench` gathers at its end."""

from __future__ import annotations

MARK = "BAR"


def at_least(what: str, figure: float, bar: float) -> bool:
    """Print whether ``figure`` reaches ``bar``, and return it."""
    return _say(what, figure, f"at least {bar:g}", met=figure >= bar)


def at_most(what: str, figure: float, bar: float) -> bool:
    """Print whether ``figure`` stays within ``bar``, and return it."""
    return _say(what, figure, f"at most {bar:g}", met=figure <= bar)


def _say(what: str, figure: float, wanted: str, *, met: bool) -> bool:
    print(f"{MARK} {'met   ' if met else 'MISSED'} {what}: {figure:.2f} ({wanted})", flush=True)
    return met
