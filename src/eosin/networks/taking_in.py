"""Runs taken into the folder of another Run, linked or copied, so that it is whole in itself."""

from __future__ import annotations

import os
import shutil
from itertools import count
from typing import TYPE_CHECKING

from eosin.artefacts.run import Member
from eosin.errors import ModelError
from eosin.files import sha256_of
from eosin.networks.run import HISTORY_NAME, RECORD_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.networks.run import Run


def take_in(folder: Path, runs: Sequence[Run]) -> tuple[Member, ...]:
    """Name ``runs`` as members of a Run that will lie in ``folder``.

    One that lies elsewhere is linked into it, file by file (copied where the disk has no links),
    so that the outer Run is whole in itself and stays as it was when a member is trained again.
    Another Run that lies there already stays.
    """
    inside = folder.resolve()
    homes = [run.folder.resolve() for run in runs]
    taken = {home.relative_to(inside).parts[0] for home in homes if inside in home.parents}
    members = []
    for run, home in zip(runs, homes, strict=True):
        path = home
        if not home.is_relative_to(inside):
            name = _own_name(run, inside, taken)
            taken.add(name)
            path = inside / name
            _link(run, path)
        members.append(Member(path=path.relative_to(inside).as_posix(), sha256=run.sha256))
    return tuple(members)


def _own_name(run: Run, inside: Path, taken: set[str]) -> str:
    """The Run's name, that of its parent for one fold of several, with a number where taken."""
    home = run.folder.resolve()
    name = home.parent.name if home.name.startswith("fold-") else home.name
    for numbered in (name if n == 1 else f"{name}-{n}" for n in count(1)):
        record = inside / numbered / RECORD_NAME
        another = record.is_file() and sha256_of(record) != run.sha256
        if numbered not in taken and not another:
            break
    return numbered


def _link(run: Run, folder: Path) -> None:
    """Everything of ``run`` that using it takes, its members included."""
    for each in run.walk():
        path = each.folder.resolve()
        if not path.is_relative_to(run.folder.resolve()):
            raise ModelError(
                f"{run.folder}: its member {each.folder} lies elsewhere; make that Run again"
            )
        home = folder / path.relative_to(run.folder.resolve())
        home.mkdir(parents=True, exist_ok=True)
        for name in (*each.files, HISTORY_NAME, RECORD_NAME):
            source, link = each.folder / name, home / name
            link.unlink(missing_ok=True)
            if source.is_file():
                _link_file(source, link)


def _link_file(source: Path, link: Path) -> None:
    try:
        os.link(source, link)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, link)
