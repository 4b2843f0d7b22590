"""eva's split of BreakHis at 40X: as published, and with the slides of a patient kept together.

kaiko-ai/eva (``vision/data/datasets/classification/breakhis.py``) takes four tumour types at 40X
and holds out fourteen slides, each named by what stands between the year and the magnification in
a file name. Slides of one accession number come from one person, and four of the fourteen have
another slide of theirs in training.
"""

from __future__ import annotations

from dataclasses import replace
from string import ascii_uppercase
from typing import TYPE_CHECKING, Literal

from eosin.data.breakhis import EVA, counts_slides
from eosin.errors import ConfigError, DataError
from eosin.protocol import Protocol

if TYPE_CHECKING:
    import pandas as pd

    from eosin.artefacts.manifest import Manifest

EvaSplit = Literal["eva", "eva-clean"]

HELD_OUT = (
    *("18842D", "19979", "15275", "15792", "16875", "3909", "5287"),
    *("16716", "2773", "5695", "16184CD", "23060CD", "21998CD", "21998EF"),
)
_ACCESSIONS = {slide.rstrip(ascii_uppercase) for slide in HELD_OUT}
_IMAGES = (1132, 339)  # in training and held out, as eva checks them


def divide_as_eva(manifest: Manifest, split: EvaSplit) -> Manifest:
    """The 40X images in ``train`` and ``test`` as eva divides them; there is no ``val``.

    Args:
        manifest: of BreakHis, its task eva's four types, its patients accession numbers.
        split: ``"eva"``, which holds out eva's fourteen slides and is leaky where another slide of
            their accession numbers is here, or ``"eva-clean"``, which holds out every slide of
            an accession number that eva holds out a slide of.

    Returns:
        The manifest with its protocol. Notes name the accession numbers that eva cuts in two, and
        say where the images are not as many as eva counts.

    Raises:
        ConfigError: the manifest has another task, or counts slides as patients.
        DataError: no image at 40X, or all of them on one side.
    """
    if manifest.task != EVA or "slide" not in manifest.frame:
        raise ConfigError(
            f"split {split!r} divides eva's four types and these images are of the task "
            f"{manifest.task.name!r}; read BreakHis with the task 'eva'"
        )
    if counts_slides(manifest.patients):
        raise ConfigError(
            f"split {split!r} needs accession numbers as patients and these are slides; read "
            "BreakHis without `--patient slide`"
        )
    at_40 = manifest.frame["magnification"] == "40"
    if not at_40.any():
        raise DataError(f"split {split!r} is of images at 40X and none is here; read those as well")
    images = manifest.where(at_40)
    number = images.frame["slide"].str.partition("-")[2]  # eva does not look at the year
    published = number.isin(HELD_OUT)
    whole = number.str.rstrip(ascii_uppercase).isin(_ACCESSIONS)
    held = published if split == "eva" else whole
    if held.all() or not held.any():
        side = "held out" if held.all() else "in training"
        raise DataError(f"split {split!r}: all {len(images)} images are {side}; read the whole set")
    frame = images.frame.assign(split=held.map({True: "test", False: "train"}), fold="")
    notes = (*images.notes, *_notes(images.frame.assign(published=published), split))
    divided = replace(images, frame=frame, notes=notes)
    leaky = bool(divided.crossing_patients())
    unit: Literal["official", "patient"] = "official" if split == "eva" else "patient"
    return replace(divided, protocol=Protocol(unit=unit, design=split, leaky=leaky))


def _notes(frame: pd.DataFrame, split: EvaSplit) -> list[str]:
    """Where the images are not eva's, and whom eva cuts in two; ``published`` says it of a row."""
    notes = []
    here = int((~frame["published"]).sum()), int(frame["published"].sum())
    if here != _IMAGES:
        notes.append(
            f"eva counts {_IMAGES[0]:,} images in training and {_IMAGES[1]} held out; its list "
            f"divides the images here into {here[0]:,} and {here[1]:,}."
        )
    cut = []
    for patient, own in frame.groupby("patient"):
        test, train = (
            sorted(set(own["slide"][own["published"] == side])) for side in (True, False)
        )
        if test and train:
            cut.append(f"{patient} (held out {', '.join(test)}; in training {', '.join(train)})")
    if cut:
        end = "." if split == "eva" else "; here all these slides are held out."
        notes.append(f"Accession numbers that eva's split cuts in two: {', '.join(cut)}{end}")
    return notes
