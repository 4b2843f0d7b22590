"""A manifest's images in one stain: copies in a folder, and a manifest of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.outputs import ERRORS, MANIFEST, document, require_output_folder
from eosin.artefacts.preprocessing import StainStep
from eosin.errors import ConfigError, DataError
from eosin.locks import one_writer
from eosin.pixels.stain import create_normalizer
from eosin.pixels.stain_copies import (
    SETTINGS_NAME,
    claim_folder,
    copy_names,
    require_copies,
    write_copies,
)
from eosin.pixels.stain_sources import ImageStains, fit_to_file, fit_to_median, pooled_sources
from eosin.pixels.stain_step import normalizer_of, step_of
from eosin.progress import SILENT, Progress

if TYPE_CHECKING:
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Per
    from eosin.pixels.reading import SkippedFile
    from eosin.pixels.stain_sources import Sources

COPIES = {SETTINGS_NAME: document("stain copies"), "manifest.csv": MANIFEST, "errors.csv": ERRORS}


@dataclass(frozen=True, slots=True)
class StainOptions:
    """How images are brought to one stain."""

    method: str = "vahadane"  # ``"reinhard"``, ``"macenko"`` or ``"vahadane"``
    # the image whose stain all are given; None takes the median of the training images', or of all
    # images where none are named as training images
    target: Path | None = None
    per: Per = "image"  # whether a stain is estimated over an image or over all of a patient's
    workers: int | None = None  # threads; None for one a core


@dataclass(frozen=True)
class Stained:
    """The copies."""

    # the copies' rows, with ``stain_note``: why an image is unchanged, or nothing
    manifest: Manifest
    skipped: tuple[SkippedFile, ...]  # the files that could not be read
    kept: int  # how many copies were there already
    warning: str  # where test images had a part in the target, a sentence that says so; or nothing


def normalize_stains(
    manifest: Manifest,
    folder: Path,
    options: StainOptions | None = None,
    *,
    progress: Progress = SILENT,
) -> Stained:
    """Write normalised copies of a manifest's images under ``folder``, continuing where it stopped.

    Args:
        manifest: the images; with splits, the target is the median of those that train.
        folder: new, or one that was begun with the same options.
        options: how.
        progress: told of files done.

    Raises:
        ConfigError: unknown method, a stain per patient where patients are not known, or a folder
            that holds something else.
        DataError: no stain target, no image could be read, or another process is writing there.
    """
    options = options or StainOptions()
    known = manifest.known_patients
    if options.per == "patient" and known is None:
        raise ConfigError(
            "the patients of these images are not known, so there is no stain per patient; "
            "estimate it per image"
        )
    names = copy_names(manifest.paths)
    target = [options.target] if options.target else []
    require_copies(folder)
    require_output_folder(folder, COPIES, inputs=[*manifest.paths, *target], whole=True)
    with one_writer(folder, then="then run the same command again: the copies made are kept"):
        step, said, warning = _fitted(manifest, options)
        claim_folder(folder, step)
        written = write_copies(
            manifest.paths,
            [folder / name for name in names],
            step,
            sources=_sources(manifest, step, options.workers),
            workers=options.workers,
            progress=progress,
        )
    readable = [note is not None for note in written.notes]
    if not any(readable):
        first = written.skipped[0]
        raise DataError(f"{first.path}: {first.reason}; nor can any other image be read")
    home = folder.resolve()
    frame = manifest.frame.assign(
        path=[str(home / name) for name in names], stain_note=[note or "" for note in written.notes]
    )
    notes = (*manifest.notes, said, *([warning] if warning else []))
    copies = replace(manifest, frame=frame, notes=notes).where(readable)
    return Stained(copies, written.skipped, written.kept, warning)


def _fitted(manifest: Manifest, options: StainOptions) -> tuple[StainStep, str, str]:
    """The step, a sentence on it, and the warning where it looked at more than training images."""
    normalizer = create_normalizer(options.method)
    training = (manifest.frame["split"] == "train").to_numpy()
    warning = ""
    if options.target is not None:
        fit_to_file(normalizer, options.target)
        target = f"that of {options.target.name}"
        warning = _seen_target(manifest, options.target)
    else:
        chosen = manifest.where(training) if training.any() else manifest
        stains = ImageStains(normalizer, workers=options.workers)
        fit_to_median(normalizer, chosen.paths, stains)
        target = f"the median of {len(chosen)} training images"
        if not training.any():
            target = f"the median of all {len(chosen)} images"
            warning = (
                "The stain target comes from all images, since the manifest names no training "
                "split: images that will be tested had a part in it. Split first, name a target "
                "image, or normalise inside training with `eosin train --stain`."
            )
    said = f"Images were brought to one stain, {target}, by {options.method}, per {options.per}."
    return step_of(normalizer, options.per), said, warning


def _seen_target(manifest: Manifest, target: Path) -> str:
    """A sentence where the target is an image of the validation or test split, else nothing."""
    resolved = target.resolve()
    for path, split in zip(manifest.paths, manifest.frame["split"], strict=True):
        if split in ("val", "test") and path.resolve() == resolved:
            return f"The stain target {target.name} is itself an image of the {split} split."
    return ""


def _sources(manifest: Manifest, step: StainStep, workers: int | None) -> Sources | None:
    """Of each image the stain of its patient, within its split; None where that goes by image."""
    if step.per == "image":
        return None
    rows = zip(manifest.frame["patient"], manifest.frame["split"], strict=True)
    groups = [f"{patient}\t{split}" for patient, split in rows]
    return pooled_sources(manifest.paths, groups, normalizer_of(step), workers=workers)
