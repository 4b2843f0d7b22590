"""The one place that says which eosin this is."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
