"""What is made from finished cells: made again only where what it is made from has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.codec import write_artefact
from eosin.artefacts.study import MadeFrom, read_made_from

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
    made_from = MadeFrom.model_validate({"facts": dict(facts)})
    if read_made_from(stamp) == made_from:
        return False
    stamp.unlink(missing_ok=True)
    make()
    write_artefact(made_from, stamp)
    return True
