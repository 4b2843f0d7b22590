"""What is made from finished cells: made again only where what it is made from has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from eosin.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_STAMP = "made-from.json"


def make_once(folder: Path, facts: Mapping[str, object], make: Callable[[], object]) -> bool:
    """Run ``make``, which fills ``folder``, unless it is full of what ``facts`` give already.

    Whatever stops ``make`` leaves no proof behind, so that the next call makes it again.

    Args:
        folder: where ``make`` writes.
        facts: all that its result depends on, as plain JSON values.
        make: writes into ``folder``.

    Returns:
        whether it had to be made.
    """
    stamp = folder / _STAMP
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == facts:
        return False
    stamp.unlink(missing_ok=True)
    make()
    write_json(stamp, facts)
    return True
