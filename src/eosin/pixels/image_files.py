"""The one walk: which image files lie under files and folders, and what there cannot be used."""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.pixels.reading import SUFFIXES, SkippedFile, is_image_name, kind_of_file
from eosin.remote import RemotePath
from eosin.slides.opening import SLIDE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_EXPECTED = f"files that end in {', '.join(SUFFIXES)}, or folders of such"
_UNSEEN = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
# Endings of pictures that are not read: beside an image they are likely to be one more.
_PICTURES = {
    *(".webp", ".gif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".heic", ".heif", ".avif"),
    *(".ppm", ".pgm", ".pnm", ".tga", ".psd", ".raw", ".dng", ".dcm", ".dicom", ".svs", ".ndpi"),
    *(".mrxs", ".scn", ".vms", ".bif", ".czi", ".vsi", ".qptiff", ".isyntax", ".zvi", ".lif"),
}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """What lies under the paths that were walked."""

    # regular files named like images, each once; by the path given, then by path
    images: tuple[Path, ...]
    # what cannot be used and why, by path: no regular files, folders that cannot be listed, second
    # ways to the same file or folder, pictures of a format that is not read
    skipped: tuple[SkippedFile, ...]
    others: tuple[Path, ...]  # further regular files, by path: not named like images
    folders: tuple[Path, ...]  # every folder that was met, by path, those that cannot be listed too

    def require_images(self, paths: Sequence[Path], expected: str = _EXPECTED) -> None:
        """DataError, with the first fault, where there is no image in ``paths``."""
        if self.images:
            return
        first = next((f" (the first: {bad.path}: {bad.reason})" for bad in self.skipped), "")
        skipped = f"; {len(self.skipped)} cannot be used{first}" if self.skipped else ""
        shown = ", ".join(map(str, paths))
        raise DataError(f"{shown}: no image found{skipped}; want {expected}")


def find_image_files(paths: Sequence[Path]) -> ImageFiles:
    """Walk files and folders.

    Hidden files and folders below a path are passed over, a file that is itself given is taken
    whatever its name. Links are followed, after all that is reached without one; a file or folder
    counts once, however many links lead to it. Nothing is opened but folders.

    Raises:
        DataError: a path does not exist.
    """
    for path in paths:
        there = path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)
        if not there:
            raise DataError(f"{path}: no such image or folder")
    walk = _Walk()
    walk.run(paths)
    return ImageFiles(
        images=tuple(path for _, path in sorted(walk.images)),
        skipped=tuple(sorted(walk.skipped, key=lambda item: item.path)),
        others=tuple(sorted(walk.others)),
        folders=tuple(sorted(walk.folders)),
    )


def not_read(path: Path) -> SkippedFile:
    """The row of a file that is passed over for its ending."""
    if path.suffix.lower() in (*SLIDE_NAMES, ".dcm"):
        return SkippedFile(path, "is a whole slide among images; give slides by themselves")
    ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
    reason = f"is not read: its name {ending}; want {', '.join(SUFFIXES)}; convert it"
    return SkippedFile(path, f"{reason}, or move it elsewhere")


@dataclass(frozen=True, slots=True)
class _Met:
    """A path to be looked at: the number of the given path that it lies under, and if it is one."""

    number: int
    path: Path
    given: bool = False


@dataclass(slots=True)
class _Walk:
    """A walk under way: what was found, and which files and folders that were, by inode."""

    images: list[tuple[int, Path]] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    known: dict[tuple[int, int], Path] = field(default_factory=dict)
    links: deque[_Met] = field(default_factory=deque)

    def run(self, paths: Iterable[Path]) -> None:
        """Look at everything; links wait, so that a file is known by its own path first."""
        todo: list[_Met] = []
        for number, path in enumerate(paths):
            (self.links if path.is_symlink() else todo).append(_Met(number, path, given=True))
        todo.reverse()
        while todo or self.links:
            todo += self._look(todo.pop() if todo else self.links.popleft())

    def _look(self, met: _Met) -> list[_Met]:
        """Sort one path in; what is still to be looked at, last first, where it is a folder."""
        path = met.path
        try:
            facts = path.stat()
        except OSError as fault:
            self.skipped.append(SkippedFile(path, _why_closed(path, fault)))
            return []
        kind = kind_of_file(facts.st_mode)
        if kind not in ("", "a folder"):
            self.skipped.append(SkippedFile(path, f"is {kind}, not a file; remove it"))
        elif not kind and not met.given and not is_image_name(path):
            self._pass_over(path)
        elif self._is_new(path, (facts.st_dev, facts.st_ino), kind[2:] or "file"):
            if kind:
                return self._list(met)
            self.images.append((met.number, path))
        return []

    def _pass_over(self, path: Path) -> None:
        if path.suffix.lower() in _PICTURES:
            self.skipped.append(not_read(path))
        else:
            self.others.append(path)

    def _is_new(self, path: Path, inode: tuple[int, int], kind: str) -> bool:
        if inode not in self.known:
            self.known[inode] = path
            return True
        if self.known[inode] != path:
            what = "is a link to" if path.is_symlink() else f"is the same {kind} as"
            reason = f"{what} {self.known[inode]}, which counts already; remove this one"
            self.skipped.append(SkippedFile(path, reason))
        return False

    def _list(self, met: _Met) -> list[_Met]:
        self.folders.append(met.path)
        try:
            remote = isinstance(met.path, RemotePath)
            with nullcontext(met.path.iterdir()) if remote else os.scandir(met.path) as entries:
                found = sorted((entry.name, entry.is_symlink()) for entry in entries)
        except OSError as fault:
            reason = f"cannot be listed ({fault.strerror}); permit it, or move it elsewhere"
            self.skipped.append(SkippedFile(met.path, reason))
            return []
        shown = [
            (_Met(met.number, met.path / name), link)
            for name, link in found
            if not name.startswith(".") and name.casefold() not in _UNSEEN
        ]
        self.links.extend(item for item, link in shown if link)
        return [item for item, link in reversed(shown) if not link]


def _why_closed(path: Path, fault: OSError) -> str:
    if fault.errno == errno.ELOOP:
        return "is a link that leads back to itself; remove it"
    if path.is_symlink() and fault.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"is a broken link (to {path.readlink()}); mend or remove it"
    return f"cannot be looked at ({fault.strerror}); permit it, or move it elsewhere"
