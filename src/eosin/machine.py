"""What this program runs on: the cores that it may use, the libraries that are installed."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def available_cores() -> int:
    """How many cores this program may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reading_threads(asked: int | None = None) -> int:
    """As many as asked for, or one a core that this program may run on."""
    return available_cores() if asked is None else asked


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed, in their order."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
