"""Journals, cells of a study and folders of copies know their own records, undamaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eosin.artefacts.codec import Artefact, parse_artefact, parse_fields, plain, sealed
from eosin.artefacts.journal import JournalHead
from eosin.artefacts.preprocessing import MacenkoStep, StainTarget
from eosin.artefacts.study import CellState, MadeFrom, read_cell_state, read_made_from
from eosin.errors import DataError
from eosin.pixels.stain_copies import StainCopies

RECORDS: list[Artefact] = [
    JournalHead(
        run="runs/bh",
        run_sha256="a" * 64,
        images=12,
        images_sha256="b" * 64,
        split="test",
        allow_seen=False,
        device="auto",
        engine="auto",
        batch_size=32,
        eosin="0.1.0",
    ),
    CellState(key="c" * 64, weights={"efficientnet_b0": "d" * 64}, done=True, seconds=12.5),
    MadeFrom(facts={"runs": {"a": "e" * 64}, "images": 4}),
    StainCopies(
        step=MacenkoStep(
            StainTarget(((0.6, 0.8, 0.0), (0.0, 0.6, 0.8)), (1.5, 1.0)), beta=0.15, alpha=1.0
        )
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_no_damage_to_a_field_goes_unnoticed(
    record: Artefact, every_mutation: Callable[[dict[str, Any]], list[Any]]
) -> None:
    def read(text: str) -> Artefact:
        fields = parse_fields(text.encode(), "x.json", fix="make it again")
        return parse_artefact(type(record), fields, "x.json", fix="make it again")

    assert read(json.dumps(sealed(record))) == record
    found = every_mutation(sealed(record))
    assert len(found) > 60
    for mutation in found:
        with pytest.raises(DataError, match=r"x\.json: .*make it again|x\.json: .*update eosin"):
            read(mutation.text)


def test_what_a_study_of_0_1_0_kept_is_read_where_it_can_be_trusted(tmp_path: Path) -> None:
    cell, made = tmp_path / "cell.json", tmp_path / "made-from.json"
    assert read_cell_state(cell) is None
    cell.write_text(json.dumps({"key": "c" * 64, "weights": {}, "done": True, "seconds": 3.5}))
    assert read_cell_state(cell) == CellState(key="c" * 64, weights={}, done=True, seconds=3.5)
    cell.write_text(json.dumps({"key": "c" * 64, "weights": {}, "done": "yes"}))
    with pytest.raises(DataError, match=r"cell\.json: done = 'yes'.*remove that folder"):
        read_cell_state(cell)
    made.write_text(json.dumps({"runs": {"a": "e"}, "images": 4}))
    assert read_made_from(made) is None
    made.write_text(json.dumps({**plain(RECORDS[2]), "checksum": "0" * 64}))
    with pytest.raises(DataError, match="its checksum is not that of its fields"):
        read_made_from(made)
