"""What models are called beside each other: short where that is enough, always distinct."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.predictions import Provenance


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
