"""Galleries: images as small JPEGs inside the page, each with its caption.

A later section, such as heatmaps, needs no template: make tiles with ``tiles_of``, put them into a
``Gallery`` and give that to ``write_report``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.remote import as_path
from eosin.reporting.html import data_url
from eosin.reporting.overlay import scaled
from eosin.reporting.tables import patients_in
from eosin.reporting.wording import counted, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from eosin.arrays import UInt8Image
    from eosin.artefacts.predictions import Predictions

    Picture = Path | UInt8Image

LONGEST_SIDE = 220
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Caption:
    """What stands under an image: a title, short lines, and small print such as the file name."""

    title: str = ""
    lines: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Tile:
    """An image ready for the page."""

    source: str  # the address of a JPEG, often ``data:``; empty where the image was not read
    width: int  # of the JPEG, in pixels
    height: int  # of the JPEG, in pixels
    alt: str  # what a reader who cannot see it is told; or why there is no image
    caption: Caption  # what stands under it
    link: str = ""  # address of a larger picture


@dataclass(frozen=True)
class Gallery:
    """A section of tiles."""

    anchor: str  # its id in the page
    title: str  # its heading
    lead: str  # what to look at, in a sentence or two
    groups: tuple[tuple[str, tuple[Tile, ...]], ...]  # heading (or empty) and tiles of each part
    small: bool = False  # whether small tiles do
    wide: bool = False  # whether the tiles of a group share its width


def tiles_of(
    pictures: Iterable[tuple[Picture, Caption]], *, longest: int = LONGEST_SIDE
) -> tuple[Tile, ...]:
    """Tiles from images (paths, or RGB bytes of shape (height, width, 3)) and their captions.

    Their longer side is at most ``longest``. A file that cannot be read becomes a tile without an
    image, naming the file and the reason.
    """
    return tuple(_tile(picture, caption, longest) for picture, caption in pictures)


def sample_gallery(predictions: Predictions, *, each: int = 6, patients: bool = True) -> Gallery:
    """Up to ``each`` images of every class, from as many patients as possible.

    ``patients`` says whether they are known, and so counted and named.
    """
    frame = predictions.frame
    groups = []
    for name in predictions.task.classes:
        rows = frame[frame["label"] == name]
        if rows.empty:
            continue
        heading = f"{name} · {counted(len(rows), 'image')}"
        if patients:
            heading += f", {counted(patients_in(rows), 'patient')}"
        shown = _spread(rows, each)
        captions = [
            (as_path(row.path), Caption(lines=(_joined(row.patient, row.magnification),)))
            for row in (shown if patients else shown.assign(patient="")).itertuples()
        ]
        groups.append((heading, tiles_of(captions)))
    lead = (
        "Each with its patient and magnification, where known. Do they look as their labels say, "
        "and alike in stain and scale across classes? A stain that goes with a class can be all a "
        "model learns."
    )
    return Gallery("samples", "Sample images", lead, tuple(groups), small=True)


def mistakes_gallery(predictions: Predictions, *, most: int = 24, patients: bool = True) -> Gallery:
    """The misclassified images, those with the most confident wrong answer first.

    ``patients`` says whether they are known, and so named.
    """
    wrong = predictions.label_index != predictions.predicted_index
    frame = predictions.frame.assign(confidence=predictions.probabilities.max(axis=1))[wrong]
    frame = frame.sort_values(["confidence", "path"], ascending=[False, True], kind="stable")
    shown = frame.head(most)
    pictures = [
        (as_path(row["path"]), _mistake(row, named=patients)) for _, row in shown.iterrows()
    ]
    total = len(predictions)
    if frame.empty:
        lead = f"None of {counted(total, 'image')} was misclassified."
    else:
        whose = f", from {counted(patients_in(shown), 'patient')}" if patients else ""
        lead = (
            f"{len(frame):,} of {counted(total, 'image')} were misclassified; here are the "
            f"{len(shown)} with the most confident wrong answer{whose}. Look for what they share: "
            "a patient, a stain, blur, fat or empty background, or a label that may be wrong."
        )
    return Gallery("mistakes", "Most confident mistakes", lead, (("", tiles_of(pictures)),))


def thumbnail(
    image: UInt8Image, *, longest: int = LONGEST_SIDE, fine: bool = False
) -> tuple[bytes, int, int]:
    """A JPEG of an RGB image, its longer side at most ``longest``, with its width and height."""
    import cv2

    small = scaled(image, min(1, longest / max(image.shape[:2])))
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90 if fine else JPEG_QUALITY]
    if fine:  # colours at full resolution too: small nuclei keep theirs
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", bgr, options)
    return data.tobytes(), small.shape[1], small.shape[0]


def _tile(picture: Picture, caption: Caption, longest: int) -> Tile:
    from eosin.pixels.reading import read_image

    if not isinstance(picture, Path):
        return _shown(picture, caption, longest)
    if not caption.name:
        caption = Caption(caption.title, caption.lines, picture.name)
    try:
        return _shown(read_image(picture), caption, longest)
    except DataError as error:
        reason = str(error).removeprefix(f"{picture}: ")
        return Tile("", 0, 0, f"{picture.name}: {reason}", caption)


def _shown(image: UInt8Image, caption: Caption, longest: int) -> Tile:
    data, width, height = thumbnail(image, longest=longest)
    words = ", ".join(filter(None, (caption.title, *caption.lines, caption.name)))
    return Tile(data_url("jpeg", data), width, height, words, caption)


def _mistake(row: pd.Series, *, named: bool) -> Caption:
    probability = number(float(row["confidence"]))
    whom = f"Patient {row['patient']}" if named and row["patient"] else ""
    lines = (f"Truth: {row['label']}", _joined(whom, row["magnification"]))
    return Caption(f"Predicted {row['predicted']}, {probability}", tuple(filter(None, lines)))


def _joined(patient: str, magnification: str) -> str:
    return ", ".join(part for part in (patient, magnification and f"{magnification}×") if part)


def _spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """``count`` rows, no patient twice before every patient came once.

    Each patient begins at another one of its sorted images, so that magnifications mix.
    """
    import pandas as pd

    patients = rows["patient"].nunique()
    parts = []
    for index, (_, part) in enumerate(rows.sort_values("path").groupby("patient", sort=True)):
        start = index * len(part) // patients
        parts.append(part.assign(turn=[(n - start) % len(part) for n in range(len(part))]))
    ordered = pd.concat(parts).sort_values(["turn", "patient"], kind="stable")
    if patients > count:
        return ordered.iloc[[k * patients // count for k in range(count)]]
    return ordered.head(count)
