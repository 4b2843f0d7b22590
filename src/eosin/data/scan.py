"""What every dataset reader shares: finding image files, looking at each, counting them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import COLUMNS
from eosin.errors import DataError
from eosin.pixels.image_files import ImageFiles, find_image_files
from eosin.pixels.reading import SkippedFile, inspect_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.manifest import Manifest

_THREADS = 8  # headers are small: a few threads hide the latency of a network disk


@dataclass(frozen=True)
class ReadDataset:
    """What a reader found.

    Attributes:
        manifest: the images that can be used.
        skipped: the files that look like images of the dataset and cannot, by path.
    """

    manifest: Manifest
    skipped: tuple[SkippedFile, ...] = ()


def find_images(root: Path, *, expected: str) -> ImageFiles:
    """What lies under the folder ``root``, by absolute path.

    Args:
        root: a folder.
        expected: how the names should read, for the error.

    Raises:
        DataError: ``root`` is missing, is no folder, or holds no file named like an image.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {state}; name the folder that holds {expected}")
    found = find_image_files([root.resolve()])
    found.require_images([root], expected)
    return found


def look_at(paths: Sequence[Path]) -> tuple[list[Path], list[SkippedFile]]:
    """Read every header: the paths of whole images, in order, and the rest with their reasons."""

    def fault(path: Path) -> SkippedFile | None:
        try:
            inspect_image(path)
        except DataError as error:
            return SkippedFile.from_error(path, error)
        return None

    with ThreadPoolExecutor(_THREADS) as pool:
        faults = list(pool.map(fault, paths))
    whole = [path for path, bad in zip(paths, faults, strict=True) if bad is None]
    return whole, [bad for bad in faults if bad is not None]


def require_images(
    root: Path, kept: Sequence[object], skipped: Sequence[SkippedFile], *, expected: str
) -> None:
    """DataError, with the first reason, where a reader is left with no image at all."""
    if kept:
        return
    first = f" (the first: {skipped[0].path.name}: {skipped[0].reason})" if skipped else ""
    raise DataError(
        f"{root}: none of {len(skipped)} image files can be used{first}; want {expected}"
    )


def first_of_each_name(paths: Sequence[Path]) -> tuple[list[Path], list[SkippedFile]]:
    """The first file of each name, and the others: one image must not count twice.

    For datasets in which the name is the identity of an image, whatever its ending.
    """
    first: dict[str, Path] = {}
    again: list[SkippedFile] = []
    for path in paths:
        if first.setdefault(path.stem, path) != path:
            reason = f"has the name of {first[path.stem]}, which comes first; keep one of the two"
            again.append(SkippedFile(path, reason))
    return list(first.values()), again


def image_rows(rows: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """A manifest's frame from one mapping an image; columns that a reader leaves out are empty."""
    import pandas as pd

    known = list(rows)
    columns = dict.fromkeys([*COLUMNS, *(name for row in known for name in row)], "")
    return pd.DataFrame([{**columns, **row} for row in known])


def sorted_by_path(skipped: Iterable[SkippedFile]) -> tuple[SkippedFile, ...]:
    """Skipped files in the order of their paths."""
    return tuple(sorted(skipped, key=lambda item: item.path))


def count_table(manifest: Manifest) -> pd.DataFrame:
    """How many images and patients each class has.

    Returns:
        One row a class, in the task's order, the empty ones too; columns ``images``,
        ``patients`` (not where they are unknown) and the images at each magnification
        (``"40X"``...), whole numbers. A patient with images of two classes counts in both rows.
    """
    import pandas as pd

    frame, known = manifest.frame, manifest.protocol.patients_known
    levels, counts = magnifications(manifest), []
    for name in manifest.task.classes:
        rows = frame[frame["label"] == name]
        people = {"patients": rows["patient"].nunique()} if known else {}
        counts.append({"images": len(rows), **people, **counts_at(rows, levels)})
    return pd.DataFrame(counts, index=pd.Index(manifest.task.classes, name="class"))


def magnifications(manifest: Manifest) -> list[str]:
    """The known magnifications of a manifest's images, from low to high."""
    return sorted({level for level in manifest.frame["magnification"] if level}, key=_as_number)


def counts_at(images: pd.DataFrame, levels: Sequence[str]) -> dict[str, int]:
    """How many images there are at each magnification, by ``"40X"``..."""
    return {f"{level}X": int((images["magnification"] == level).sum()) for level in levels}


def _as_number(level: str) -> tuple[float, str]:
    try:
        return float(level), level
    except ValueError:
        return float("inf"), level
