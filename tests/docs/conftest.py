"""Where the documentation lies, and its modules as mkdocs imports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="session", autouse=True)
def modules_of_the_documentation() -> Iterator[None]:
    """``import reference_pages`` finds it, in these tests alone."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))
