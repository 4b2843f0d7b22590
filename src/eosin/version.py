"""The version of eosin, which everything else reads here."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
