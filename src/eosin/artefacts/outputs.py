"""Where a command is to write, looked at before it works: nothing is lost, and no work in vain."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eosin.artefacts import manifest, predictions
from eosin.artefacts.cells import separator
from eosin.artefacts.codec import read_fields
from eosin.artefacts.reference import REFERENCE_NAME
from eosin.artefacts.run import ATTENTION_NAME, read_record
from eosin.artefacts.tables import SIDECAR, companion
from eosin.errors import ConfigError, DiskError, EosinError
from eosin.files import disk_errors, require_file, require_writable, valid_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_RECORD, _PREDICTIONS = "run.json", "predictions.csv"
_HEAD: Final = 2**20  # bytes of a file that are looked at


@dataclass(frozen=True, slots=True)
class Output:
    """What a command writes."""

    name: str  # in words
    # whether an existing file is one, so that a new one may take its place
    known: Callable[[Path], bool]


def table(name: str, *columns: str) -> Output:
    """A CSV that has these columns."""

    def known(path: Path) -> bool:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            try:
                head = stream.readline(_HEAD)
                first = next(csv.reader([head], delimiter=separator(head, columns)), [])
            except csv.Error:
                return False
        return set(columns) <= set(first)

    return Output(name, known)


def document(name: str) -> Output:
    """A JSON file of eosin's of the kind ``name``."""

    def known(path: Path) -> bool:
        try:
            return read_fields(path, fix="").get("kind") == name
        except EosinError:
            return False

    return Output(name, known)


def _holding(name: str, mark: bytes, *, first: bool = False) -> Output:
    """A file with ``mark`` in its beginning, or first of all."""

    def known(path: Path) -> bool:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        return head.startswith(mark) if first else mark in head

    return Output(name, known)


MANIFEST: Final = table("manifest", *manifest.COLUMNS)
PREDICTIONS: Final = table("predictions table", *predictions.COLUMNS)
ERRORS: Final = table("table of skipped files", "file", "reason")
PAGE: Final = _holding("page of eosin's", b'<meta name="generator" content="eosin ')
CHECKLIST: Final = _holding("checklist or model card of eosin's", b"<!-- eosin -->")
PICTURE: Final = _holding("PNG picture", b"\x89PNG\r\n\x1a\n", first=True)
WEIGHTS: Final = _holding("weights file of eosin's", b'"backbone":"')
REFERENCE: Final = _holding("reference of a Run", b'"sets.labels":')
ATTENTION: Final = _holding("attention of a Run", b'"attention.weight":')
RUN_FILES: Final = {
    "model.safetensors": WEIGHTS,
    "history.csv": table("learning curve", "epoch", "train_loss"),
    "errors.csv": ERRORS,
    REFERENCE_NAME: REFERENCE,
    ATTENTION_NAME: ATTENTION,
    _PREDICTIONS: PREDICTIONS,
}


def require_output(
    path: Path, kind: Output, *, inputs: Sequence[Path] = (), beside: Sequence[Path] = ()
) -> None:
    """Refuse an output file that would cost something else, or that cannot be written.

    Args:
        path: the output.
        kind: what it will be.
        inputs: what the command reads: files, folders of images, Run folders.
        beside: files that will lie beside it, such as its sidecar.

    Raises:
        ConfigError: it is an input, or a file that eosin did not write as such a one.
        DiskError: it is no regular file, or cannot be written.
    """
    _require_text(path)
    with disk_errors(path, doing="read or written"):
        for target in (path, *beside):
            _require_replaceable(target, kind if target == path else None, inputs)
    require_writable(path, names=[target.name for target in beside])


def require_table(
    path: Path, kind: Output, *, inputs: Sequence[Path] = (), beside: Sequence[Path] = ()
) -> None:
    """The same for a table that has a sidecar."""
    require_output(path, kind, inputs=inputs, beside=(companion(path, SIDECAR), *beside))


def require_output_folder(
    path: Path,
    holds: Mapping[str, Output | None],
    *,
    inputs: Sequence[Path] = (),
    whole: bool = False,
    run: bool = False,
) -> None:
    """Refuse an output folder in which something else would be lost, or that cannot be written.

    Args:
        path: the folder.
        holds: the files that will lie in it and what they are; None for sub-folders.
        inputs: what the command reads.
        whole: all of the folder is the command's own, so that no input may lie in it.
        run: it may hold a Run.

    Raises:
        ConfigError: a file in it is an input, or no such one of eosin's; or it holds a Run.
        DiskError: it is no folder, or cannot be written.
    """
    _require_text(path)
    with disk_errors(path, doing="read or written"):
        _require_folder(path)
        if not run and (path / _RECORD).exists():
            raise ConfigError(f"{path}: holds a Run; name another folder")
        for name, kind in holds.items():
            if kind is not None:
                _require_replaceable(path / name, kind, inputs)
                continue
            _require_folder(path / name)
            _require_apart(path / name, inputs, around=True)
        if whole:
            _require_apart(path, inputs, around=False)
    require_writable(path, names=list(holds))


def _require_text(path: Path) -> None:
    try:
        usable = b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{valid_text(str(path))!r}: not a name in UTF-8, as records must have; name another"
        )


def _require_replaceable(path: Path, kind: Output | None, inputs: Sequence[Path]) -> None:
    require_file(path)
    if not path.exists():
        return
    for each in (file for given in inputs for file in _files_of(given, path, kind)):
        if each.exists() and each.samefile(path):
            raise ConfigError(f"{path}: is an input of this command; name another output")
    holds_something = path.stat().st_size > 2  # a table without rows is a line end
    if kind is not None and holds_something and not kind.known(path):
        raise ConfigError(
            f"{path}: lies there already and is no {kind.name}; name another output, or move "
            "that one away"
        )


def _files_of(given: Path, path: Path, kind: Output | None) -> Iterator[Path]:
    """What of an input may lie at ``path``."""
    if not given.is_dir():
        yield given
    elif (given / _RECORD).is_file():
        yield from _files_of_run(given)
    elif kind is PICTURE and _holds(given, path):
        yield path  # one of the images of a folder


def _files_of_run(folder: Path) -> Iterator[Path]:
    """The record of a Run, and the out-of-fold table of one of folds; those inside it too."""
    waiting, met = [folder], set[str]()
    while waiting:
        folder = waiting.pop()
        if os.path.realpath(folder) in met:
            continue
        met.add(os.path.realpath(folder))
        yield folder / _RECORD
        try:
            inside = read_record(folder / _RECORD).inside
        except EosinError:  # whoever opens it says what is wrong
            continue
        if inside:
            yield folder / _PREDICTIONS
        waiting += [folder / member.path for member in inside]


def _require_apart(folder: Path, inputs: Sequence[Path], *, around: bool) -> None:
    """ConfigError where an input lies in ``folder`` or, if asked, is a folder around it."""
    if not folder.exists():
        return
    within = {parent for parent in {each.parent for each in inputs} if _holds(folder, parent)}
    for each in inputs:
        inside = each.parent in within or each.absolute() == folder.absolute()
        if inside or (around and each.is_dir() and _holds(each, folder)):
            raise ConfigError(
                f"{folder}: would be written, and {each} is read; name another output folder"
            )


def _require_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise DiskError(f"{path}: is a file, and a folder is to be written; name another path")


def _holds(folder: Path, path: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies in it, as they are spelt or where links lead."""
    return path.absolute().is_relative_to(folder.absolute()) or path.resolve().is_relative_to(
        folder.resolve()
    )
