"""The official folds of BreakHis: five train-test divisions, each with images of its own in test.

They come as ``dsfold1.txt`` to ``dsfold5.txt`` (``name|magnification|fold|train or test`` a line)
or as one ``Folds.csv`` with the columns ``fold``, ``mag``, ``grp``, ``filename``.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from eosin.artefacts.cells import separator
from eosin.errors import ConfigError, DataError
from eosin.protocol import Protocol
from eosin.remote import as_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from eosin.artefacts.manifest import Manifest

_GROUPS = ("train", "test")
_CSV_COLUMNS = ("fold", "grp", "filename")
_FIX = (
    "want Folds.csv (columns fold, mag, grp, filename) or dsfoldK.txt "
    "(lines like SOB_B_A-14-22549AB-100-001.png|100|1|train)"
)

Folds = dict[int, dict[str, str]]  # fold -> file name -> "train" or "test"


@dataclass(frozen=True, slots=True)
class OfficialFold:
    """Which official division to take."""

    source: Path  # ``Folds.csv``, a ``dsfoldK.txt`` or a folder of those
    # the fold, from 1; None takes all of them, each image in the fold that tests it
    number: int | None = None


def read_folds(source: Path) -> Folds:
    """Read official folds; DataError naming the file and line where they are not such."""
    if source.is_dir():
        files = sorted(source.glob("dsfold*.txt"))
        if not files:
            raise DataError(f"{source}: holds no dsfoldK.txt; {_FIX}")
    elif source.is_file():
        files = [source]
    else:
        raise DataError(f"{source}: no such fold file; {_FIX}")
    folds: Folds = {}
    for file in files:
        for fold, name, group in _entries(file):
            if folds.setdefault(fold, {}).setdefault(name, group) != group:
                raise DataError(f"{file}: {name} stands in train and test of fold {fold}; keep one")
    return folds


def place_images(manifest: Manifest, official: OfficialFold) -> Manifest:
    """The manifest divided as the official folds say.

    With a fold number each image stands in ``split`` train or test; without one each stands in
    the ``fold`` that tests it. Images that the folds do not list stand nowhere, and a note says
    how many. Patients that cross make the protocol leaky, and a note names them.

    Raises:
        DataError: a fold file is wrong, or none of the images is in it.
        ConfigError: no such fold, or no number where images are tested in several folds.
    """
    folds = read_folds(official.source)
    number = official.number
    if number is None and len(folds) == 1:
        number = next(iter(folds))
    listed = {Path(name).stem: name for fold in folds.values() for name in fold}
    paths = [as_path(path) for path in manifest.frame["path"]]
    names = [listed.get(path.stem, path.name) for path in paths]  # whatever its ending
    if number is None:
        placed = manifest.frame.assign(fold=_tested_in(folds, names, official.source))
        design = f"{len(folds)}-fold"
    else:
        placed = manifest.frame.assign(split=_groups(folds, number, names, official.source))
        design = f"fold {number}"
    return _named(manifest, placed, design=design)


def _entries(file: Path) -> Iterator[tuple[int, str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a readable fold file ({error}); {_FIX}") from error
    rows = _csv_rows(file, text) if file.suffix.lower() == ".csv" else _pipe_rows(text)
    for line, (fold, name, group) in rows:
        if not fold.isdecimal() or group not in _GROUPS or not name:
            raise DataError(f"{file}, line {line}: fold {fold!r}, group {group!r}; {_FIX}")
        yield int(fold), name, group


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    table = csv.DictReader(text.splitlines(), delimiter=separator(text, _CSV_COLUMNS))
    missing = [name for name in _CSV_COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise DataError(f"{file}: has no column {missing}; {_FIX}")
    for row in table:
        fold, group, path = (str(row[name] or "").strip() for name in _CSV_COLUMNS)
        yield table.line_num, (fold, PurePosixPath(path.replace("\\", "/")).name, group)


def _pipe_rows(text: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    for line, entry in enumerate(text.splitlines(), start=1):
        if not entry.strip():
            continue
        name, _, fold, group = ([part.strip() for part in entry.split("|")] + [""] * 4)[:4]
        yield line, (fold, name, group)


def _groups(folds: Folds, number: int, names: list[str], source: Path) -> list[str]:
    if number not in folds:
        raise ConfigError(f"{source}: has no fold {number}; choose one of {sorted(folds)}")
    groups = [folds[number].get(name, "") for name in names]
    _require_listed(groups, source)
    return groups


def _tested_in(folds: Folds, names: list[str], source: Path) -> list[str]:
    """The fold that tests each image; ConfigError where several do."""
    tests = [
        (name, fold) for fold, group in folds.items() for name in group if group[name] == "test"
    ]
    here = set(names)
    times = Counter(name for name, _ in tests if name in here)
    repeated = sorted(name for name, count in times.items() if count > 1)
    if repeated:
        raise ConfigError(
            f"{source}: {len(repeated)} images are tested in more than one of the folds "
            f"{sorted(folds)} (e.g. {repeated[0]}), so these are separate divisions and not a "
            f"cross-validation; choose one of them: --official-fold {min(folds)}"
        )
    tested = {name: str(fold) for name, fold in tests}
    found = [tested.get(name, "") for name in names]
    _require_listed(found, source)
    return found


def _require_listed(parts: list[str], source: Path) -> None:
    if not any(parts):
        raise DataError(f"{source}: lists none of the images found; is it of another dataset?")


def _named(manifest: Manifest, placed: pd.DataFrame, *, design: str) -> Manifest:
    """The manifest with its parts, its protocol, and notes on what is missing or crosses."""
    notes = list(manifest.notes)
    nowhere = int(((placed["split"] == "") & (placed["fold"] == "")).sum())
    if nowhere:
        notes.append(f"{nowhere} images are in no part of the official {design} and stay unused.")
    draft = replace(manifest, frame=placed)
    crossing = draft.crossing_patients()
    if crossing:
        notes.append(f"Patients that cross the official {design}: {', '.join(crossing)}.")
    protocol = Protocol(unit="official", design=design, leaky=bool(crossing))
    return replace(draft, protocol=protocol, notes=tuple(notes))
