"""Any dataset laid out as one folder a class, with the patient read from the file names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from eosin.artefacts.manifest import Manifest
from eosin.data.scan import (
    ReadDataset,
    find_images,
    image_rows,
    look_at,
    require_images,
    sorted_by_path,
)
from eosin.errors import ConfigError, DataError
from eosin.pixels.reading import SkippedFile
from eosin.protocol import UNKNOWN, UNSPLIT
from eosin.tasks import Task

_EXPECTED = "one folder of images (PNG, JPEG, TIFF, BMP) a class"
_PLACE = re.compile(r"_x(\d+)_y(\d+)(?=[_.])")
_NO_PATIENTS = (
    "No patient pattern was given: each image counts as its own patient, a leak between training "
    "and test cannot be seen, and intervals are too narrow."
)

PatientOf = Callable[[Path], str | None]


def read_folder(
    root: Path,
    *,
    patient: str | None = None,
    positive: str | None = None,
    ordinal: bool = False,
) -> ReadDataset:
    r"""Read a folder with one subfolder a class.

    The class of an image is the name of the folder it lies in, so ``ROOT/class/image`` and
    ``ROOT/patient/class/image`` both work. Classes are ordered naturally (0, 1, 2, 10).

    Args:
        root: the folder.
        patient: a regular expression looked for in the file name; its first group is the
            patient, e.g. ``r"^(\d+)_"``. Without it each image is its own patient, and the
            protocol says that patients are unknown.
        positive: the positive one of two classes; the last in order when not given.
        ordinal: whether the order of the classes is a grade.

    Returns:
        The manifest and the files left out: outside of a class folder, with a name that the
        pattern does not match, empty, truncated, no images. Where names place a patch on its
        slide (``..._x1001_y951_...``), the columns ``x`` and ``y`` hold that place in pixels.

    Raises:
        DataError: the folder is missing, or holds fewer than two classes of usable images.
        ConfigError: ``patient`` is no expression with a group, or ``positive`` no class.
    """
    pattern = None if patient is None else _compiled(patient)
    top = root.resolve()
    found = find_images(root, expected=_EXPECTED)
    patients, skipped = _name_patients(found, top, pattern)
    whole, unreadable = look_at(list(patients))
    skipped += unreadable
    require_images(root, whole, skipped, expected=_EXPECTED)
    task = _task(root, whole, positive=positive, ordinal=ordinal)
    notes = [] if pattern else [_NO_PATIENTS]
    if task.positive is not None and positive is None:
        notes.append(f"The positive class is {task.positive!r}: the last in order.")
    manifest = Manifest(
        frame=image_rows([_row(path, patients[path]) for path in whole]),
        task=task,
        dataset=top.name,
        protocol=UNSPLIT if pattern else UNKNOWN,
        notes=tuple(notes),
        patient_pattern=patient or "",
    )
    return ReadDataset(manifest, sorted_by_path(skipped))


def _compiled(patient: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(patient)
    except re.error as error:
        raise ConfigError(
            f"patient pattern {patient!r} is no regular expression ({error})"
        ) from error
    if pattern.groups == 0:
        raise ConfigError(
            f"patient pattern {patient!r} has no group; put the patient in brackets, "
            r"e.g. ^(\d+)_"
        )
    return pattern


def _name_patients(
    paths: Sequence[Path], top: Path, pattern: re.Pattern[str] | None
) -> tuple[dict[Path, str], list[SkippedFile]]:
    """The patient of each image that lies in a class folder and whose name gives one."""
    patients: dict[Path, str] = {}
    skipped: list[SkippedFile] = []
    for path in paths:
        if path.parent == top:
            skipped.append(SkippedFile(path, "lies in no class folder; move it into one"))
            continue
        if pattern is None:
            patients[path] = path.relative_to(top).as_posix()
            continue
        match = pattern.search(path.name)
        if match is None or not match[1]:
            reason = f"the patient pattern {pattern.pattern!r} finds no patient in the name"
            skipped.append(SkippedFile(path, f"{reason}; correct the name or the pattern"))
        else:
            patients[path] = match[1]
    return patients, skipped


def _task(root: Path, paths: Sequence[Path], *, positive: str | None, ordinal: bool) -> Task:
    classes = tuple(sorted({path.parent.name for path in paths}, key=_natural))
    if len(classes) < 2:
        raise DataError(
            f"{root}: holds images of one class only ({classes[0]!r}); want {_EXPECTED}: name "
            "the folder above the class folders"
        )
    if positive is not None and (len(classes) != 2 or positive not in classes):
        raise ConfigError(
            f"positive class {positive!r} must be one of exactly two class folders; "
            f"{root} has {list(classes)}"
        )
    if len(classes) == 2:
        positive = positive or classes[-1]
    return Task(root.resolve().name, classes, positive=positive, ordinal=ordinal)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that orders 0, 1, 2, 10; the name itself settles a tie such as 1 and 01."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], name


def _row(path: Path, patient: str) -> dict[str, str]:
    row = {"path": str(path), "label": path.parent.name, "patient": patient}
    place = _PLACE.search(path.name)
    return {**row, "x": place[1], "y": place[2]} if place else row
