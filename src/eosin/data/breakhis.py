"""BreakHis (Spanhol et al. 2016): every fact of an image comes from its file name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Literal, Self

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis_folds import OfficialFold, place_images
from eosin.data.scan import (
    ReadDataset,
    find_images,
    first_of_each_name,
    image_rows,
    look_at,
    require_images,
    sorted_by_path,
)
from eosin.errors import ConfigError, DataError
from eosin.pixels.reading import SkippedFile
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eosin.files import StrPath

TaskName = Literal["binary", "subtype", "eva"]
PatientUnit = Literal["accession", "slide"]

# Adenosis, fibroadenoma, phyllodes tumour, tubular adenoma.
BENIGN = ("A", "F", "PT", "TA")
MALIGNANT = ("DC", "LC", "MC", "PC")  # ductal, lobular, mucinous and papillary carcinoma
MAGNIFICATIONS = (40, 100, 200, 400)
BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
SUBTYPE = Task("subtype", BENIGN + MALIGNANT)
EVA = Task("eva", ("TA", "MC", "F", "DC"))  # the types that kaiko-ai/eva keeps, in its order
TASKS: dict[TaskName, Task] = {"binary": BINARY, "subtype": SUBTYPE, "eva": EVA}

_EXPECTED = "BreakHis images, named e.g. SOB_M_DC-14-2523-400-001.png"
_NAME = re.compile(
    r"SOB_(?P<class>[BM])_(?P<subtype>[A-Z]+)"
    r"-(?P<year>\d{2})-(?P<number>\d+)(?P<blocks>[A-Z]*)"
    r"-(?P<magnification>\d+)-(?P<sequence>\d+)(?:\.[^.]+)?"
)
PATIENT_NOTES: dict[PatientUnit, str] = {
    "accession": "A patient is an accession number: the slide name without its block letters.",
    "slide": (
        "A patient is a slide, as in most published work; slides of one accession number count "
        "as different patients although they come from one person."
    ),
}


@dataclass(frozen=True, slots=True)
class BreakHisName:
    """What a BreakHis file name says, e.g. ``SOB_B_A-14-22549AB-100-001.png``."""

    malignant: bool  # the class, M or B in the name
    subtype: str  # ``"A"``, ``"F"``, ``"PT"``, ``"TA"``, ``"DC"``, ``"LC"``, ``"MC"`` or ``"PC"``
    year: int  # of the biopsy, two digits
    slide: str  # ``"14-22549AB"``, the published patient
    accession: str  # ``"14-22549"``: the slides of one accession number are one patient
    blocks: str  # ``"AB"``, or empty
    magnification: int  # 40, 100, 200 or 400
    sequence: int  # the running number of the image on its slide

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a file name, whatever its ending; DataError where it is not a BreakHis one."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise DataError(
                f"not a BreakHis name: {name!r} (want e.g. SOB_M_DC-14-2523-400-001.png)"
            )
        malignant, subtype = match["class"] == "M", match["subtype"]
        if subtype not in (MALIGNANT if malignant else BENIGN):
            kind, known = ("malignant", MALIGNANT) if malignant else ("benign", BENIGN)
            raise DataError(f"{name!r}: {subtype!r} is no {kind} type of BreakHis {list(known)}")
        magnification = int(match["magnification"])
        if magnification not in MAGNIFICATIONS:
            raise DataError(f"{name!r}: magnification {magnification} is none of {MAGNIFICATIONS}")
        accession = f"{match['year']}-{match['number']}"
        return cls(
            malignant=malignant,
            subtype=subtype,
            year=int(match["year"]),
            slide=accession + match["blocks"],
            accession=accession,
            blocks=match["blocks"],
            magnification=magnification,
            sequence=int(match["sequence"]),
        )


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    name: BreakHisName


def read_breakhis(
    root: StrPath,
    *,
    task: TaskName = "binary",
    magnifications: Sequence[int] = (),
    patient: PatientUnit = "accession",
    folds: StrPath | None = None,
    official_fold: int | None = None,
) -> ReadDataset:
    """Read the official ``BreaKHis_v1`` tree or any folder of BreakHis-named files.

    Args:
        root: the folder; its subfolders are walked and their names not looked at.
        task: ``"binary"`` (benign, malignant), ``"subtype"`` (A, F, PT, TA, DC, LC, MC, PC) or
            ``"eva"`` (TA, MC, F and DC; images of other types are left out).
        magnifications: which of 40, 100, 200, 400 to keep; none means all.
        patient: what counts as one patient, the accession number or the slide.
        folds: the official folds: ``Folds.csv``, a ``dsfoldK.txt`` or a folder of those.
        official_fold: which official fold to take, from 1; without it the fold files must test
            each image at most once. The official five do not: each is a train-test division of
            its own, so one of them has to be chosen.

    Returns:
        The manifest, with the further columns ``slide``, ``subtype``, ``year`` and ``sequence``,
        and the files left out: misnamed, second of their name, empty, truncated, no images.

    Raises:
        DataError: the folder is missing or holds no BreakHis image; a fold file is wrong.
        ConfigError: an unknown magnification, or a fold that does not exist.
    """
    strange = sorted(set(magnifications) - set(MAGNIFICATIONS))
    if strange:
        raise ConfigError(f"magnifications {strange} are unknown; want some of {MAGNIFICATIONS}")
    root = Path(root)
    found = find_images(root, expected=_EXPECTED)
    paths, skipped = first_of_each_name(found.images)
    named, misnamed = _parse_names(paths)
    chosen = _at_magnifications(root, named, magnifications)
    wanted = _of_eva(root, chosen) if task == "eva" else chosen
    whole, unreadable = look_at([item.path for item in wanted])
    skipped += [*misnamed, *unreadable, *found.skipped]
    require_images(root, whole, skipped, expected=_EXPECTED)
    kept = set(whole)
    rows = [_row(item, task=task, patient=patient) for item in wanted if item.path in kept]
    manifest = Manifest(
        frame=image_rows(rows),
        task=TASKS[task],
        dataset="breakhis",
        notes=(PATIENT_NOTES[patient],),
    )
    if folds is not None:
        manifest = place_images(manifest, OfficialFold(Path(folds), official_fold))
    elif official_fold is not None:
        raise ConfigError(
            f"official fold {official_fold} needs the official fold file as well: --folds FILE"
        )
    return ReadDataset(manifest, sorted_by_path(skipped))


def patient_of(name: str, seen: Iterable[str]) -> str | None:
    """The patient of a file of this name, in the unit of ``seen``; None for other names."""
    try:
        parsed = BreakHisName.parse(name.split(".")[0])
    except DataError:
        return None
    return parsed.slide if counts_slides(seen) else parsed.accession


def counts_slides(patients: Iterable[str]) -> bool:
    """Whether patients are slides: an accession number has no block letters."""
    return any(_accession(patient) != patient for patient in patients)


def same_people(patients: Iterable[str], seen: frozenset[str]) -> set[str]:
    """Those of ``patients`` in ``seen``, whichever side counts slides, whichever accessions."""
    known = seen | {_accession(patient) for patient in seen}
    return {patient for patient in patients if patient in known or _accession(patient) in seen}


def other_slides(patients: Iterable[str], seen: frozenset[str]) -> list[str]:
    """Of ``patients``, the new slides whose accession number has another slide in ``seen``."""
    if not counts_slides(seen):
        return []
    numbers = {_accession(patient) for patient in seen}
    return [p for p in patients if p not in seen and _accession(p) in numbers]


def _accession(patient: str) -> str:
    """``14-22549`` of a slide ``14-22549AB``: without its block letters."""
    return patient.rstrip(ascii_uppercase)


def _parse_names(paths: Sequence[Path]) -> tuple[list[_Image], list[SkippedFile]]:
    named, misnamed = [], []
    for path in paths:
        try:
            named.append(_Image(path, BreakHisName.parse(path.name)))
        except DataError as error:
            misnamed.append(SkippedFile(path, str(error)))
    return named, misnamed


def _at_magnifications(
    root: Path, named: list[_Image], magnifications: Sequence[int]
) -> list[_Image]:
    """Those at one of the magnifications, all where none is given; DataError where none is left."""
    kept = [item for item in named if item.name.magnification in (magnifications or MAGNIFICATIONS)]
    if named and not kept:
        present = sorted({item.name.magnification for item in named})
        raise DataError(f"{root}: has no image at {list(magnifications)}X, only at {present}X")
    return kept


def _of_eva(root: Path, named: list[_Image]) -> list[_Image]:
    """Those of the types that eva keeps; DataError where none is left."""
    kept = [item for item in named if item.name.subtype in EVA.classes]
    if named and not kept:
        raise DataError(f"{root}: has no image of eva's types {list(EVA.classes)}")
    return kept


def _row(image: _Image, *, task: TaskName, patient: PatientUnit) -> dict[str, str]:
    name = image.name
    binary = BINARY.classes[name.malignant]
    return {
        "path": str(image.path),
        "label": binary if task == "binary" else name.subtype,
        "patient": name.accession if patient == "accession" else name.slide,
        "magnification": str(name.magnification),
        "slide": name.slide,
        "subtype": name.subtype,
        "year": str(name.year),
        "sequence": str(name.sequence),
    }
