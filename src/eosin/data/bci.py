"""BCI (Liu et al. 2022): H&E images with the HER2 level of their slide in the file name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.data.scan import (
    ReadDataset,
    find_images,
    first_of_each_name,
    image_rows,
    look_at,
    require_images,
    sorted_by_path,
)
from eosin.errors import DataError
from eosin.pixels.reading import SkippedFile
from eosin.protocol import Protocol
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eosin.files import StrPath

HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
NO_PATIENTS = (
    "BCI file names carry no patient: whether a patient stands in both training and test cannot "
    "be seen, and each image counts as its own patient."
)
NOTES = (
    NO_PATIENTS,
    "BCI labels are HER2 levels of whole slides: an image may show tissue that does not express "
    "its level.",
)
_EXPECTED = "BCI images, named e.g. 00013_train_2+.png, in HE/train and HE/test"
_NAME = re.compile(
    r"\d+_(?P<split>train|test)_(?P<level>0|1\+|2\+|3\+)\.(?:png|jpe?g|tiff?|bmp)", re.IGNORECASE
)
_STAINED = "IHC"


def read_bci(root: StrPath) -> ReadDataset:
    """Read ``HE/train`` and ``HE/test``, the folder above them, or a bare folder of BCI images.

    The official test set stays the test split. Where ``root`` holds a folder ``HE`` only that is
    read: its neighbour ``IHC`` shows the same fields stained for HER2, which is the answer.
    Folders are known in any case.

    Returns:
        The manifest (ordered classes 0, 1+, 2+, 3+; each image its own patient) and the files
        left out: misnamed, second of their name, empty, truncated, no images.

    Raises:
        DataError: the folder is missing or holds no BCI image of H&E.
    """
    root = Path(root)
    if _STAINED in _upper(root.resolve().parts[-2:]):
        raise DataError(f"{root}: holds {_STAINED} images; name the folder that holds HE")
    inside = sorted(root.iterdir()) if root.is_dir() else []
    top = next((each for each in inside if each.name.upper() == "HE" and each.is_dir()), root)
    found = find_images(top, expected=_EXPECTED)
    home = top.resolve()
    paths, skipped = first_of_each_name([path for path in found.images if _is_he(path, home)])
    if not paths:
        raise DataError(f"{top}: holds only {_STAINED} images; name the folder that holds HE")
    named = {path: match for path in paths if (match := _NAME.fullmatch(path.name))}
    misnamed = [
        SkippedFile(path, f"not a BCI name: {path.name!r} (want e.g. 00013_train_2+.png)")
        for path in paths
        if path not in named
    ]
    whole, unreadable = look_at(list(named))
    skipped += misnamed + unreadable
    skipped += [item for item in found.skipped if _is_he(item.path, home)]
    require_images(root, whole, skipped, expected=_EXPECTED)
    rows = [
        {
            "path": str(path),
            "label": named[path]["level"],
            "patient": path.stem,
            "split": named[path]["split"].lower(),
        }
        for path in whole
    ]
    manifest = Manifest(
        frame=image_rows(rows),
        task=HER2,
        dataset="bci",
        protocol=Protocol(unit="official", design="test folder", patients_known=False),
        notes=NOTES,
    )
    return ReadDataset(manifest, sorted_by_path(skipped))


def _is_he(path: Path, home: Path) -> bool:
    """Whether a path below ``home`` lies in no folder of IHC images."""
    return _STAINED not in _upper(path.relative_to(home).parts)


def _upper(names: Iterable[str]) -> set[str]:
    return {name.upper() for name in names}
