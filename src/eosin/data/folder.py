"""Any dataset laid out as one folder a class, with the patient read from the file names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eosin.artefacts.manifest import SPLITS, Manifest
from eosin.artefacts.names import patient_pattern
from eosin.data.identity import patient_by_pattern
from eosin.data.neighbours import named_coordinates
from eosin.data.scan import (
    ReadDataset,
    find_images,
    image_rows,
    look_at,
    require_images,
    sorted_by_path,
)
from eosin.errors import ConfigError, DataError, first_ten
from eosin.files import StrPath, valid_text
from eosin.pixels.image_files import ImageFiles, not_read
from eosin.pixels.reading import SkippedFile, is_image_name
from eosin.protocol import UNKNOWN, UNSPLIT, Protocol
from eosin.tasks import Task

_EXPECTED = "one folder of images (PNG, JPEG, TIFF, BMP) a class"
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
NO_PATIENTS = (
    "No patient pattern was given: each image counts as its own patient, a leak between training "
    "and test cannot be seen, and intervals are too narrow."
)


def read_folder(
    root: StrPath,
    *,
    patient: str | None = None,
    positive: str | None = None,
    ordinal: bool = False,
    mpp: float | None = None,
) -> ReadDataset:
    r"""Read a folder with one subfolder a class.

    The class of an image is the name of the folder it lies in, so ``ROOT/class/image`` and
    ``ROOT/patient/class/image`` both work. Classes are ordered naturally (0, 1, 2, 10). Folders
    named train, val and test (two of them at least) above the class folders are read as splits, and
    an image in none of them is left out; the protocol is named by what is known of patients.

    Args:
        root: the folder.
        patient: a regular expression looked for in the file name; its first group is the
            patient, e.g. ``r"^(\d+)_"``. Without it each image is its own patient, and the
            protocol says that patients are unknown. Syntax and limits: ``PatientPattern``; names
            are tried under other endings too: ``patient_by_pattern``.
        positive: the positive one of two classes; the last in order when not given.
        ordinal: whether the order of the classes is a grade.
        mpp: um/px of the images, where it is known: slides are read at it for a Run of theirs.

    Returns:
        The manifest and the files left out: outside of a class folder, with a name that the
        pattern does not match, empty, truncated, no images, of another format. Where names place a
        patch on its slide (``..._x1001_y951_...``), ``x`` and ``y`` hold its position in pixels.

    Raises:
        DataError: the folder is missing, holds fewer than two classes, or has a class folder
            without one usable image.
        ConfigError: ``patient`` is no expression with a group, or ``positive`` no class.
    """
    if patient is not None:
        patient_pattern(patient)
    root = Path(root)
    top = root.resolve()
    found = find_images(root, expected=_EXPECTED)
    splits = _split_folders(found.images, top)
    folders = _class_folders(found, top)
    folders -= {folder for folder in folders if splits and folder.name.casefold() in _SPLITS}
    patients, skipped = _name_patients(found.images, top, patient, splits)
    whole, unreadable = look_at(list(patients))
    skipped += [*found.skipped, *unreadable]
    skipped += [not_read(path) for path in found.others if path.parent in folders]
    require_images(root, whole, skipped, expected=_EXPECTED)
    _require_each(folders, whole, skipped)
    task = _task(root, whole, positive=positive, ordinal=ordinal)
    notes = [] if patient else [NO_PATIENTS]
    if task.positive is not None and positive is None:
        notes.append(f"The positive class is {task.positive!r}: the last in order.")
    known = {} if mpp is None else {"mpp": f"{mpp:g}"}
    rows = [_row(path, patients[path], split=splits.get(path, ""), **known) for path in whole]
    manifest = Manifest(
        frame=image_rows(rows),
        task=task,
        dataset=valid_text(top.name),
        protocol=UNSPLIT if patient else UNKNOWN,
        notes=tuple(notes),
        patient_pattern=patient or "",
    )
    return ReadDataset(_named(manifest) if splits else manifest, sorted_by_path(skipped))


def _split_folders(images: Sequence[Path], top: Path) -> dict[Path, str]:
    """The split of each image that lies in a class folder below a split's; none where fewer than
    two splits have images.
    """
    placed = {}
    for path in images:
        above = [part.casefold() for part in path.relative_to(top).parts[:-2]]
        split = next((_SPLITS[part] for part in above if part in _SPLITS), "")
        if split:
            placed[path] = split
    return placed if len({*placed.values()}) > 1 else {}


def _named(manifest: Manifest) -> Manifest:
    """A manifest whose splits are those of folders, under the protocol that they come to."""
    names = [name for name in SPLITS if (manifest.frame["split"] == name).any()]
    crossing = manifest.crossing_patients()
    known = manifest.protocol.patients_known
    protocol = Protocol(
        unit="patient" if known and not crossing else "image",
        design=f"{'/'.join(names)} folders",
        leaky=known and bool(crossing),
        patients_known=known,
    )
    notes = manifest.notes
    if protocol.leaky:
        notes += (
            f"{len(crossing)} patients stand in more than one of the folders "
            f"{', '.join(names)}: {first_ten(crossing)}.",
        )
    return replace(manifest, protocol=protocol, notes=notes)


def _class_folders(found: ImageFiles, top: Path) -> set[Path]:
    """Folders below ``top`` that hold images or no folder, and links that should lead to such."""
    above = {top, *(folder.parent for folder in found.folders)}
    ends = {folder for folder in found.folders if folder not in above}
    for item in found.skipped:
        if item.path.parent == top and item.path.is_symlink() and not is_image_name(item.path):
            target = Path(os.path.realpath(item.path))
            if target not in above and not top.is_relative_to(target):
                ends.add(item.path)
    return ends | {path.parent for path in found.images if path.parent != top}


def _require_each(
    folders: Iterable[Path], images: Iterable[Path], skipped: Sequence[SkippedFile]
) -> None:
    """DataError, naming it and why, where there is no image of a class that has a folder."""
    classes = {path.parent.name for path in images}
    lost = next((folder for folder in sorted(folders) if folder.name not in classes), None)
    if lost is None:
        return
    inside = [item for item in skipped if lost in (item.path, item.path.parent)]
    first = f"{inside[0].path.name}: {inside[0].reason}" if inside else "it is empty"
    raise DataError(
        f"{lost}: nothing in this class folder can be used ({len(inside)} skipped; {first}); "
        f"correct that, or move the folder elsewhere if it is no class"
    )


def _name_patients(
    paths: Sequence[Path], top: Path, pattern: str | None, splits: Mapping[Path, str]
) -> tuple[dict[Path, str], list[SkippedFile]]:
    """The patient of each image that lies in a class folder and whose name gives one."""
    patients: dict[Path, str] = {}
    skipped: list[SkippedFile] = []
    for path in paths:
        own = valid_text(path.relative_to(top).as_posix())
        patient = own if pattern is None else patient_by_pattern(pattern, path.name)
        if path.parent == top:
            reason = "lies in no class folder; move it into one"
        elif patient is None:
            reason = f"the patient pattern {pattern!r} finds no patient in the name"
            reason += "; correct the name or the pattern"
        elif splits and path not in splits:
            reason = "lies in no class folder of a split; move it into one of train, val or test"
        else:
            patients[path] = patient
            continue
        skipped.append(SkippedFile(path, reason))
    return patients, skipped


def _task(root: Path, paths: Sequence[Path], *, positive: str | None, ordinal: bool) -> Task:
    classes = tuple(sorted({_label(path) for path in paths}, key=natural))
    if all(name.casefold() in _SPLITS for name in classes):
        raise DataError(
            f"{root}: the folders that hold images are named {list(classes)}, which are splits, no "
            "classes; put the class folders into them: train/CLASS/image, test/CLASS/image"
        )
    if len(classes) < 2:
        raise DataError(
            f"{root}: holds images of one class only ({classes[0]!r}); want {_EXPECTED}: name "
            "the folder above the class folders"
        )
    positive = positive_class(classes, positive, among=f"two class folders; {root} has")
    return Task(valid_text(root.resolve().name), classes, positive=positive, ordinal=ordinal)


def positive_class(classes: Sequence[str], asked: str | None, *, among: str) -> str | None:
    """The one ``asked`` for of two classes, else the last; None of more than two, or ConfigError.

    ``among`` are the words before the list of classes.
    """
    if asked is not None and (len(classes) != 2 or asked not in classes):
        raise ConfigError(
            f"positive class {asked!r} must be one of exactly {among} {list(classes)}"
        )
    return (asked or classes[-1]) if len(classes) == 2 else None


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that orders 0, 1, 2, 10; the name itself settles a tie such as 1 and 01."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], name


def _label(path: Path) -> str:
    return valid_text(path.parent.name)


def _row(path: Path, patient: str, **known: str) -> dict[str, str]:
    row = {"path": str(path), "label": _label(path), "patient": patient}
    return {**row, **named_coordinates(path.name), **known}
