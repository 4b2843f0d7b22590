"""What a study keeps beside its Runs: the state of a cell, and what a folder was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from eosin.artefacts.codec import Artefact, Fields, parse_artefact, read_fields
from eosin.artefacts.values import NotNegative, Sha256

if TYPE_CHECKING:
    from pathlib import Path

_FIX = "remove that folder, and the study makes it again"


class CellState(Artefact):
    """How far a cell is."""

    kind: Literal["study cell"] = "study cell"
    key: Sha256  # SHA-256 of all that the cell's result depends on
    # SHA-256 of the files that its networks start from, by backbone, where found
    weights: dict[str, Sha256]
    done: bool  # whether it is finished
    seconds: NotNegative | None  # how long it took; None until it is done


class MadeFrom(Artefact):
    """All that the contents of a folder depend on, as plain JSON values."""

    kind: Literal["made from"] = "made from"
    facts: dict[str, JsonValue]


def read_cell_state(path: Path) -> CellState | None:
    """The state in a cell's folder, None where there is none; DataError where it is damaged."""
    if not path.is_file():
        return None
    fields = {"format_version": 1, **read_fields(path, fix=_FIX)}  # 0.1.0 wrote no format
    return parse_artefact(CellState, fields, path, fix=_FIX, upgrade=_cell_from_0_1_0)


def read_made_from(path: Path) -> MadeFrom | None:
    """What a folder was made from; None where it does not say, as those of 0.1.0 do not."""
    if not path.is_file():
        return None
    fields = {"format_version": 1, **read_fields(path, fix=_FIX)}
    if fields["format_version"] == 1:
        return None
    return parse_artefact(MadeFrom, fields, path, fix=_FIX)


def _cell_from_0_1_0(fields: Fields) -> Fields:
    return {"kind": "study cell", "seconds": None, **fields}
