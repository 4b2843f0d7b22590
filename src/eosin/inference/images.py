"""What is to be scored: a split of a manifest, or bare files that no manifest names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.data.breakhis import BreakHisName
from eosin.data.splits import hold_out
from eosin.errors import DataError
from eosin.inference.seen import counts_slides
from eosin.pixels.reading import is_image_name
from eosin.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.run import RunRecord
    from eosin.networks.run import Run


def select_split(run: Run, manifest: Manifest, split: str | None) -> tuple[Manifest, str, bool]:
    """The rows of ``manifest`` to score with ``run``.

    A manifest with folds is divided as for the fold that the Run held out. Without ``split``
    the test split is meant, or every row where the manifest has no splits at all.

    Returns:
        The rows; the name of the split they are; whether that is the test split of the very
        manifest that trained ``run``.

    Raises:
        DataError: the task differs, or the split has no images.

    """
    if manifest.task.classes != run.record.task.classes:
        raise DataError(
            f"the manifest's classes {list(manifest.task.classes)} are not those of "
            f"{run.folder}: {list(run.record.task.classes)}"
        )
    if manifest.folds and run.record.fold is not None:
        manifest = hold_out(manifest, run.record.fold, validation=bool(run.record.val_patients))
    if split is None and not manifest.frame["split"].any():
        known = manifest.protocol.patients_known
        external = Protocol(unit="external", patients_known=known)
        return replace(manifest, protocol=external), "all", False
    split = split or "test"
    own = split == "test" and manifest.fingerprint == run.record.fingerprint
    return manifest.in_split(split), split, own


def external_images(run: Run, places: Sequence[Path]) -> Manifest:
    """Image files, and those in folders, as an unlabelled manifest.

    Patients are known where the Run's own were read from file names, as in BreakHis or by a
    pattern, and every name here gives one. Where the Run's patients are unknown, and so each of
    its images is one, images that bear the name of one of these are taken for it.

    Raises:
        DataError: a place does not exist, or there is no image in any of them.

    """
    import pandas as pd

    files = sorted({file.absolute() for place in places for file in _image_files(place)})
    if not files:
        shown = ", ".join(str(place) for place in places)
        raise DataError(f"{shown}: no image found (want .png, .jpg, .tif or .bmp files)")
    seen = run.record.seen_patients
    slides = counts_slides(seen)
    named = [_patient_of(run.record, seen, file, slides=slides) for file in files]
    rows = [
        {**dict.fromkeys(COLUMNS, ""), "path": str(file), "patient": patient or str(file)}
        for file, patient in zip(files, named, strict=True)
    ]
    known = run.record.protocol.patients_known and all(named)
    protocol = Protocol(unit="external", patients_known=known)
    return _Unlabelled(pd.DataFrame(rows), run.record.task, "files", protocol)


class _Unlabelled(Manifest):
    """Images whose labels nobody knows."""

    labelled = False


def _image_files(place: Path) -> list[Path]:
    if place.is_dir():
        return [path for path in place.rglob("*") if path.is_file() and is_image_name(path)]
    if not place.exists():
        raise DataError(f"{place}: no such image or folder")
    return [place]


def _patient_of(record: RunRecord, seen: frozenset[str], file: Path, *, slides: bool) -> str | None:
    """The patient that the name of a file gives; None where it gives none."""
    if record.patient_pattern:
        match = re.search(record.patient_pattern, file.name)
        return match[1] or None if match else None
    if not record.protocol.patients_known:
        return _image_of(seen, file)
    if record.dataset != "breakhis":
        return None
    try:
        name = BreakHisName.parse(file.name)
    except DataError:
        return None
    return name.slide if slides else name.accession


def _image_of(seen: frozenset[str], file: Path) -> str | None:
    """The seen image that ``file`` is by its name, or by its folders and name."""
    parts = file.parts
    names = [file.stem, *("/".join(parts[place:]) for place in range(1, len(parts) - 1))]
    return next((name for name in names if name in seen), None)
