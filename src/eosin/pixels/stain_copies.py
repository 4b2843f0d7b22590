"""Stain-normalised copies of image files: written in parallel, continued where they stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from eosin.artefacts.codec import Artefact, Fields, read_artefact, write_artefact
from eosin.artefacts.preprocessing import StainStep
from eosin.errors import ConfigError, DataError
from eosin.files import contents, replacing
from eosin.machine import reading_threads
from eosin.pixels.reading import SkippedFile, UInt8Image, image_in_turn
from eosin.pixels.stain_normalizer import Source
from eosin.pixels.stain_step import apply_stain, stain_note
from eosin.pixels.writing import require_distinct_names
from eosin.progress import SILENT, Progress, working
from eosin.slides.tile import file_of

SETTINGS_NAME: Final = "stain.json"
_NOTE: Final = "eosin-stain-note"  # PNG text that lets a continued job know what it noted before
_COMPRESSION: Final = 3  # of zlib: half the time of its default, a few per cent more bytes


class StainCopies(Artefact):
    """What a folder of copies was made by."""

    kind: Literal["stain copies"] = "stain copies"
    step: Annotated[StainStep, Field(discriminator="method")]


def _from_0_1_0(fields: Fields) -> Fields:
    step = {name: fields[name] for name in fields if name not in ("format_version", "kind")}
    return {"kind": fields["kind"], "step": step}


@dataclass(frozen=True)
class Copies:
    """What became of each file.

    Attributes:
        notes: what the stain step noted of each file, or nothing; None where it was skipped.
        skipped: the files that could not be read.
        kept: how many copies were there already.
    """

    notes: tuple[str | None, ...]
    skipped: tuple[SkippedFile, ...]
    kept: int


def copy_names(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The relative name of each file's copy: as below the common folder, but ending in ``.png``.

    Raises:
        DataError: two files would have one copy.
    """
    top = os.path.commonpath([path.parent for path in paths])
    names = tuple(path.relative_to(top).with_suffix(".png") for path in paths)
    require_distinct_names(paths, names)
    return names


def require_copies(folder: Path) -> None:
    """ConfigError where ``folder`` holds something other than copies."""
    if contents(folder) and not (folder / SETTINGS_NAME).is_file():
        raise ConfigError(f"{folder}: holds files and no {SETTINGS_NAME}; name a new folder")


def claim_folder(folder: Path, step: StainStep) -> None:
    """Record the step in ``folder`` before its first copy.

    Raises:
        ConfigError: the folder holds copies made by another step, or something else.
    """
    path = folder / SETTINGS_NAME
    wanted = StainCopies(step=step)
    if path.is_file():
        fix = "remove the folder"
        if read_artefact(StainCopies, path, fix=fix, upgrade=_from_0_1_0) != wanted:
            raise ConfigError(
                f"{folder}: holds copies of another method, target or images; name another folder "
                "or remove it"
            )
        return
    require_copies(folder)
    write_artefact(wanted, path)


def write_copies(
    paths: Sequence[Path],
    copies: Sequence[Path],
    step: StainStep,
    *,
    sources: Sequence[Source | None] | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Copies:
    """Write each file's copy in the target's stain, or DiskError; one no older is kept.

    Args:
        paths: image files.
        copies: where each goes, as PNG.
        step: what is applied.
        sources: of each file, the stain of its patient, where the step goes by patient.
        workers: threads.
        progress: told of files done.
    """

    def write(index: int) -> tuple[str | SkippedFile, bool]:
        source = sources[index] if sources else None
        return _copy(paths[index], copies[index], step, source=source)

    results: list[str | SkippedFile] = []
    kept = 0
    work = working(progress, "copies", total=len(paths))
    with work, ThreadPoolExecutor(reading_threads(workers)) as pool:
        try:
            for said, was_there in pool.map(write, range(len(paths))):
                results.append(said)
                kept += was_there
                progress.advance(errors=isinstance(said, SkippedFile))
        except BaseException:  # Ctrl-C: end with the copies being written
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Copies(
        notes=tuple(None if isinstance(said, SkippedFile) else said for said in results),
        skipped=tuple(said for said in results if isinstance(said, SkippedFile)),
        kept=kept,
    )


def _copy(
    path: Path, copy: Path, step: StainStep, *, source: Source | None
) -> tuple[str | SkippedFile, bool]:
    """The note of a copy, or why there is none; whether the copy was there already."""
    before = _note_of(copy, file_of(path))
    if before is not None:
        return before, True
    with ExitStack() as turn:
        try:
            image = turn.enter_context(image_in_turn(path))
            result = apply_stain(step, image, source=source)
        except DataError as error:
            return SkippedFile.from_error(path, error), False
        note = stain_note(step, result, source=source)
        _write_png(result.image, copy, note)  # a full disk is no fault of this image
    return note, False


def _note_of(copy: Path, path: Path) -> str | None:
    """The note in a copy that is no older than its image; None where there is no such copy."""
    from PIL.PngImagePlugin import PngImageFile

    if not copy.is_file() or not path.is_file() or copy.stat().st_mtime < path.stat().st_mtime:
        return None
    try:
        with copy.open("rb") as stream:
            note = PngImageFile(stream).info.get(_NOTE)
    except SyntaxError:  # Pillow's, of what is no PNG: a power cut can leave a file empty
        return None
    return None if note is None else str(note)


def _write_png(image: UInt8Image, path: Path, note: str) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(_NOTE, note)
    with replacing(path) as draft:
        Image.fromarray(image).save(draft, "PNG", pnginfo=text, compress_level=_COMPRESSION)
