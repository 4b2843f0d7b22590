"""Whole slides as a manifest: a row a slide, with labels from a table or regions drawn on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.cells import parse_cells
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.names import patient_pattern
from eosin.data.annotations import read_annotations
from eosin.data.folder import natural, positive_class
from eosin.data.identity import patient_by_pattern
from eosin.data.scan import ReadDataset, image_rows, require_images, sorted_by_path
from eosin.errors import ConfigError, DataError
from eosin.files import disk_errors, valid_text
from eosin.pixels.reading import SkippedFile
from eosin.protocol import UNSPLIT
from eosin.slides.opening import find_slides, open_where_told
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ENDINGS = (".geojson", ".geojson.gz", ".json", ".xml")
_FIX = "want a CSV with the columns slide and label"
UNLABELLED = Task("unlabelled slides", ("no label", "any label"))
NO_LABELS = "No labels were given: the classes are placeholders, and nothing can be trained on it."
SLIDE_IS_PATIENT = (
    "No patient was named: each slide counts as its own patient, so slides of one person may stand "
    "on both sides of a split."
)


@dataclass(frozen=True, slots=True)
class SlideSources:
    """What is known of slides beside their files.

    Attributes:
        labels: a CSV with ``slide`` (the file's name, with or without its ending) and ``label``,
            and ``patient`` or other columns, which the manifest keeps.
        patient: a regular expression whose first group in a slide's file name is the patient.
        annotations: a folder of QuPath GeoJSON or Aperio XML files named like the slides.
        outside: with annotations, the label of tissue outside of every region; empty leaves it out.
        slide_mpp: um/px of level 0, for slides that state none.
        positive: the positive one of two classes.
        ordinal: whether the classes are grades.
    """

    labels: Path | None = None
    patient: str | None = None
    annotations: Path | None = None
    outside: str = ""
    slide_mpp: float | None = None
    positive: str | None = None
    ordinal: bool = False


def read_slides(root: Path, sources: SlideSources) -> ReadDataset:
    """A manifest with a row a slide: ``path``, ``label``, ``patient``, ``slide``, ``mpp``.

    Where regions are drawn on slides, the classes are theirs, ``annotations`` names the file of
    each slide and the label of slides is empty; ``eosin data tile`` brings regions to tiles.

    Raises:
        ConfigError: labels and annotations together, or a pattern that is none.
        DataError: no slide can be used, there are fewer than two classes, or the labels or an
            annotation cannot be read. A slide that these do not name is skipped.
    """
    if sources.labels and sources.annotations:
        raise ConfigError("--labels says what slides are, --annotations what regions are: give one")
    if sources.outside and not sources.annotations:
        raise ConfigError("--outside names what --annotations leave; give both")
    if sources.patient:
        patient_pattern(sources.patient)
    known = _labels(sources.labels) if sources.labels else None
    drawn = _annotations(sources.annotations) if sources.annotations else {}
    rows, skipped = list[dict[str, str]](), list[SkippedFile]()
    for path in find_slides(root):
        try:
            rows.append(_row(path, known, drawn, sources))
        except DataError as error:
            skipped.append(SkippedFile.from_error(path, error))
    require_images(root, rows, skipped, expected="whole slides")
    named = bool(sources.patient) or (known is not None and any("patient" in row for row in rows))
    task = _task(rows, sorted(drawn.values()), sources)
    notes = [*([] if named else [SLIDE_IS_PATIENT]), *([NO_LABELS] if task is UNLABELLED else [])]
    manifest = Manifest(
        frame=image_rows({"patient": row["slide"], **row} for row in rows),
        task=task,
        dataset=valid_text(root.resolve().name),
        protocol=UNSPLIT,
        notes=tuple(notes),
        patient_pattern=sources.patient or "",
    )
    return ReadDataset(manifest, sorted_by_path(skipped))


def _row(
    path: Path,
    known: Mapping[str, Mapping[str, str]] | None,
    drawn: Mapping[str, Path],
    sources: SlideSources,
) -> dict[str, str]:
    """What is known of a slide; DataError where file, label, patient or annotation is missing."""
    slide = open_where_told(path, sources.slide_mpp)
    row = {"path": str(path), "slide": valid_text(path.stem), "label": ""}
    if known is not None:
        told = known.get(path.name) or known.get(path.stem)
        if told is None:
            raise DataError(f"{path}: the labels name no such slide; add it or move it elsewhere")
        if told.get("patient") == "":
            raise DataError(f"{path}: the labels name no patient for it; fill in that cell")
        row |= {name: cell for name, cell in told.items() if name not in ("slide", "path")}
    if sources.patient:
        found = patient_by_pattern(sources.patient, path.name)
        if found is None:
            raise DataError(f"{path}: the patient pattern {sources.patient!r} finds no patient")
        row["patient"] = found
    row["mpp"] = "" if slide.mpp is None else f"{slide.mpp:.6g}"
    if drawn and path.stem not in drawn:
        raise DataError(f"{path}: no annotation is named {path.stem}; draw one")
    if drawn:
        row |= {"annotations": str(drawn[path.stem]), "outside": sources.outside}
    return row


def _labels(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of labels, by the name of the slide."""
    with disk_errors(path, doing="read"):
        frame = parse_cells(path.read_bytes(), path, kind="label", fix=_FIX, key="slide")
    if "label" not in frame:
        raise DataError(f"{path}: has no column 'label'; {_FIX}")
    twice = frame["slide"][frame["slide"].duplicated()]
    if len(twice):
        raise DataError(f"{path}: slide {twice.iloc[0]!r} stands in two rows; keep one")
    rows = frame.to_dict("records")
    return {row["slide"]: {str(name): str(cell) for name, cell in row.items()} for row in rows}


def _annotations(folder: Path) -> dict[str, Path]:
    """The file of regions of each slide, by the slide's name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of annotations; correct the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.resolve().iterdir()):
        ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), None)
        if ending is None:
            continue
        stem = path.name[: -len(ending)]
        if stem in found:
            raise DataError(f"{path}: annotates the same slide as {found[stem].name}; keep one")
        found[stem] = path
    if not found:
        raise DataError(f"{folder}: holds no annotation; want files that end in {_ENDINGS}")
    return found


def _task(rows: Sequence[Mapping[str, str]], drawn: Sequence[Path], sources: SlideSources) -> Task:
    regions = [region for path in drawn for region in read_annotations(path)]
    labels = {row["label"] for row in rows} | {region.label for region in regions}
    labels |= {sources.outside} if drawn else set()
    classes = tuple(sorted(labels - {""}, key=natural))
    if not classes:
        return UNLABELLED
    if len(classes) < 2:
        more = "; name what lies outside of the regions with --outside" if drawn else ""
        raise DataError(f"everything has the label {classes[0]!r}: a task needs two classes{more}")
    positive = positive_class(classes, sources.positive, among="two; there are")
    return Task("slides", classes, positive=positive, ordinal=sources.ordinal)
