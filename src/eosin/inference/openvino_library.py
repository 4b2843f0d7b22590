"""The OpenVINO library, imported so that it tells nobody."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """The module ``openvino``; it neither asks nor reports to its maker's servers."""
    with without_telemetry():
        return import_module("openvino")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Let OpenVINO and NNCF be imported as if their package for usage reports were not installed.

    Importing them sends a report otherwise, and writes an identifier into the home folder; both
    fall back on stubs of their own where that package is missing.
    """
    found = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's way to say: not installed
    try:
        yield
    finally:
        if found is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = found
