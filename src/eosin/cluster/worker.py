"""A process of the cluster: it looks around, opens networks once, and does blocks of rows.

Nothing that computes is imported before it is settled with how many threads.
"""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.spread import Here
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.spread import Work

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_FILES = 64  # that are looked at beside one in each folder
_FOLDERS = 1000


def settings() -> dict[str, str]:
    """What of this process's environment results may depend on."""
    return {name: value for name, value in os.environ.items() if _counts(name)}


def _counts(name: str) -> bool:
    return name in _THREADS or name.startswith("EOSIN_")


@dataclass(frozen=True)
class Sample:
    """What a machine must see, and what must run there, as plain values: it may know no eosin."""

    place: str  # where relative paths count from
    files: Sequence[tuple[str, int]]  # with their sizes
    folders: Sequence[str]
    versions: tuple[str, str]  # of eosin and Python


def sample_of(inputs: Sequence[Path]) -> Sample:
    """Of the files a sample, and one in each folder; those that this process reads itself."""
    from eosin.slides.tile import file_of

    by_folder: dict[Path, Path] = {}
    for path in inputs:
        by_folder.setdefault(path.parent, path)
    chosen = [*_evenly(list(by_folder.values()), _FOLDERS), *_evenly(inputs, _FILES)]
    found = dict.fromkeys(file_of(path) for path in chosen)
    return Sample(
        str(Path.cwd()),
        [(str(path), path.stat().st_size) for path in found if path.is_file()],
        [str(path) for path in found if path.is_dir()],
        (__version__, platform.python_version()),
    )


def _evenly(paths: Sequence[Path], most: int) -> Sequence[Path]:
    return paths[:: max(1, -(-len(paths) // most))]


class Worker:
    """Does blocks.

    Args:
        environment: of the process that asks, as far as results depend on it.
        megapixels: of the images that it reads.
    """

    def __init__(self, environment: Mapping[str, str], megapixels: float) -> None:
        for name in filter(_counts, list(os.environ)):
            del os.environ[name]
        os.environ.update(environment)
        self._megapixels, self._here = megapixels, Here()
        self._number, self._work = -1, None  # type: int, Work[object, object] | None

    def look(self, sample: Sample) -> str:
        """What is wrong here; nothing where all is well."""
        where, own = socket.gethostname(), (__version__, platform.python_version())
        if own != sample.versions:
            eosin, python = sample.versions
            return (
                f"{where} has eosin {own[0]} on Python {own[1]}, and this machine eosin {eosin} on "
                f"Python {python}; install the same on both"
            )
        fix = "put it on a disk that all machines share, under the same path"
        try:
            os.chdir(sample.place)
            for folder in sample.folders:
                os.scandir(folder).close()
            for file, size in sample.files:
                if Path(file).stat().st_size != size:
                    return f"{where}: {file} is another file than on this machine; {fix}"
        except OSError as fault:
            return f"{where}: cannot see {fault.filename} ({fault.strerror}); {fix}"
        return ""

    def do(
        self, number: int, work: Sequence[object], rows: range, refused: Mapping[str, str]
    ) -> tuple[None, list[object]]:
        """Nothing, and what is found of some rows.

        Args:
            number: of the work.
            work: a reference to it.
            rows: which.
            refused: files that must not be read, and why.
        """
        from eosin.pixels.reading import limit_megapixels, refuse_files

        if number != self._number or self._work is None:
            self._number, self._work = number, _fetched(work[0])
        limit_megapixels(self._megapixels)
        refuse_files(refused)
        return None, list(self._here.each(self._work, rows))


def _fetched(reference: object) -> Work[object, object]:
    import ray

    work: Work[object, object] = ray.get(reference)
    work.require_unchanged()
    return work
