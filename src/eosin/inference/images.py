"""What is to be scored: a split of a manifest, or bare files that no manifest names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.data.identity import Identity
from eosin.data.neighbours import named_coordinates
from eosin.data.splits import hold_out
from eosin.errors import DataError
from eosin.files import StrPath, as_paths, valid_text
from eosin.pixels.image_files import find_image_files
from eosin.protocol import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile


# What the public names score or explain: a manifest, or image files and folders.
ImagesLike: TypeAlias = Manifest | StrPath | Sequence[StrPath]


def as_source(images: ImagesLike) -> Manifest | list[Path]:
    """A manifest as it is; image files and folders as paths."""
    return images if isinstance(images, Manifest) else as_paths(images)


def select_split(run: Run, manifest: Manifest, split: str | None) -> tuple[Manifest, str, bool]:
    """The rows of ``manifest`` to score with ``run``.

    A manifest with folds is divided as for the fold that the Run held out. Without ``split``
    the test split is meant, or every row where the manifest has no splits at all.

    Returns:
        The rows; the name of the split they are; whether that is the test split of the very
        manifest that trained ``run``.

    Raises:
        DataError: the task differs, or the split has no images.
        LeakageError: patients cross splits under a name that hides it.
    """
    if manifest.task.classes != run.record.task.classes:
        raise DataError(
            f"the manifest's classes {list(manifest.task.classes)} are not those of "
            f"{run.folder}: {list(run.record.task.classes)}"
        )
    manifest.require_honest_name()
    if manifest.folds and run.record.fold is not None:
        manifest = hold_out(manifest, run.record.fold, validation=bool(run.record.val_patients))
    if split is None and not manifest.frame["split"].any():
        known = manifest.protocol.patients_known
        external = Protocol(unit="external", patients_known=known)
        return replace(manifest, protocol=external), "all", False
    split = split or "test"
    own = split == "test" and manifest.fingerprint == run.record.fingerprint
    return manifest.in_split(split), split, own


def external_images(run: Run, paths: Sequence[Path]) -> tuple[Manifest, tuple[SkippedFile, ...]]:
    """Image files, and those in folders, as an unlabelled manifest; and what cannot be used there.

    Patients are known where the Run's own were read from file names, as in BreakHis or by a
    pattern, and every name here gives one. Where the Run's patients are unknown, and so each of
    its images is one, images that bear the name of one of these are taken for it.

    Raises:
        DataError: a path does not exist, or there is no image in any of them.
    """
    found = find_image_files([path.absolute() for path in paths])
    found.require_images(paths)
    files = sorted(found.images)
    return unlabelled(run, files), found.skipped


def unlabelled(run: Run, files: Sequence[Path], names: Sequence[Path] = ()) -> Manifest:
    """Images as a manifest without labels, their patients known as ``external_images`` knows them.

    Args:
        run: that is to score them.
        files: where they lie.
        names: of each, that tell its patient and its coordinates; none for those of ``files``.
    """
    import pandas as pd

    names = names or files
    named = patients_of(run, names)
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "path": str(file),
            "patient": patient or valid_text(str(file)),
            **named_coordinates(name.name),
        }
        for file, name, patient in zip(files, names, named, strict=True)
    ]
    known = run.record.protocol.patients_known and all(named)
    protocol = Protocol(unit="external", patients_known=known)
    frame = pd.DataFrame(rows).fillna("")  # names without coordinates, where others have them
    return _Unlabelled(frame, run.record.task, "files", protocol)


def patients_of(run: Run, files: Sequence[Path]) -> list[str | None]:
    """Whom each file shows, by its name and the Run's dataset; None where the name does not say."""
    identity = Identity.of(run.record)
    return [identity.patient_of(file) for file in files]


class _Unlabelled(Manifest):
    """Images whose labels nobody knows."""

    labelled = False
