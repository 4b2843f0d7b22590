"""Predictions tables on the same images: the rows they share, and how their protocols differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from eosin.artefacts.predictions import Predictions, Provenance

_MUST_AGREE = ("label", "patient", "magnification")


@dataclass(frozen=True)
class Aligned:
    """Predictions tables whose rows stand for the same images."""

    # by model, in the order given; the rows of each are the same images
    tables: Mapping[str, Predictions]
    left_out: Mapping[str, int]  # by model, how many of its images not all other tables have


def align(tables: Mapping[str, Predictions]) -> Aligned:
    """The images (absolute paths) that all ``tables`` have, in the order of the first.

    Raises:
        DataError: fewer than two tables; tasks differ; a table has an image twice; no image is
            in all; or an image has another label, patient or magnification in another table.
    """
    if len(tables) < 2:
        raise DataError(f"a comparison needs two or more predictions tables, got {len(tables)}")
    for one, other in pairwise(tables):
        _require_same_task(one, tables[one], other, tables[other])
    for name, table in tables.items():
        _require_distinct(name, table)
    first = next(iter(tables.values())).frame["path"]
    common = set(first).intersection(*(table.frame["path"] for table in tables.values()))
    if not common:
        examples = ", ".join(f"{name} has {t.frame['path'].iloc[0]}" for name, t in tables.items())
        raise DataError(
            f"no image is in all tables ({examples}); predict the same manifest with every model"
        )
    order = [path for path in first if path in common]
    aligned = {name: _in_order(table, order) for name, table in tables.items()}
    for one, other in pairwise(aligned):
        _require_same_facts(one, aligned[one].frame, other, aligned[other].frame)
    return Aligned(aligned, {name: len(tables[name]) - len(order) for name in tables})


def protocol_sentences(tables: Mapping[str, Predictions]) -> tuple[str, ...]:
    """What must be said loudly where protocols differ; nothing where all are the same."""
    protocols = {name: table.provenance.protocol for name, table in tables.items()}
    if len(set(protocols.values())) == 1:
        return ()
    same_name = len({protocol.name for protocol in protocols.values()}) == 1
    models: dict[str, list[str]] = {}
    for name, protocol in protocols.items():
        title = f"{protocol.name} with seed {protocol.seed}" if same_name else protocol.name
        models.setdefault(title, []).append(name)
    shown = "; ".join(f"{title}: {', '.join(names)}" for title, names in models.items())
    what = "the draw of the split" if same_name else "the protocol"
    return (
        f"The protocols differ ({shown}), so a difference between models includes what {what} "
        "makes of them.",
    )


def _require_same_task(one: str, first: Predictions, other: str, second: Predictions) -> None:
    asked = [(t.task.classes, t.task.positive, t.task.ordinal) for t in (first, second)]
    if asked[0] != asked[1]:
        shown = [
            f"{list(classes)}" + (f" with {positive} positive" if positive else "")
            for classes, positive, _ in asked
        ]
        raise DataError(
            f"{one} answers for the classes {shown[0]}, {other} for {shown[1]}; only models of "
            "one task, classes in one order, can be compared"
        )


def _require_distinct(name: str, table: Predictions) -> None:
    twice = table.frame["path"].duplicated()
    if twice.any():
        path = table.frame["path"][twice].iloc[0]
        raise DataError(f"{name}: has {path} twice; one row an image can be compared")


def _in_order(table: Predictions, paths: list[str]) -> Predictions:
    frame = table.frame.set_index("path", drop=False).loc[paths].reset_index(drop=True)
    return replace(table, frame=frame)


def _require_same_facts(one: str, first: pd.DataFrame, other: str, second: pd.DataFrame) -> None:
    for column in _MUST_AGREE:
        differs = np.asarray(first[column] != second[column])
        if differs.any():
            row = int(differs.argmax())
            raise DataError(
                f"{first['path'].iloc[row]}: {column} {first[column].iloc[row]!r} in {one}, "
                f"{second[column].iloc[row]!r} in {other} ({int(differs.sum())} such images); "
                "predict the same manifest with every model"
            )


def model_names(provenances: Sequence[Provenance]) -> tuple[str, ...]:
    """A distinct name for each: its model, then its Run folder, then a number where needed.

    Two Runs of ``efficientnet_b0`` in the folders ``a`` and ``b`` become ``efficientnet_b0 (a)``
    and ``efficientnet_b0 (b)``; two tables of one Run, ``efficientnet_b0 (a) #1`` and ``#2``.
    """
    plain = [provenance.model or _folder(provenance) or "model" for provenance in provenances]
    shared = {name for name, times in Counter(plain).items() if times > 1}
    fuller = [
        f"{name} ({folder})" if name in shared and (folder := _folder(provenance)) else name
        for name, provenance in zip(plain, provenances, strict=True)
    ]
    times, met = Counter(fuller), Counter[str]()
    names = []
    for name in fuller:
        met[name] += 1
        names.append(f"{name} #{met[name]}" if times[name] > 1 else name)
    return tuple(names)


def _folder(provenance: Provenance) -> str:
    return " + ".join(Path(run).name for run in provenance.runs)
