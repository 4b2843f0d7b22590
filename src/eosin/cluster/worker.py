"""A process of the cluster: it looks around, opens networks once, and does blocks of rows.

Nothing that computes is imported before it is settled with how many threads.
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eosin.errors import EosinError
from eosin.spread import Here
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ray import ObjectRef

    from eosin.spread import Source, Work

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
_MOST = 500  # files that are looked at, evenly taken, and as many for their folders
_FIX = "put it on a disk that all machines share, under the same path"


def settings() -> dict[str, str]:
    """What of this process's environment results may depend on."""
    return {name: os.environ[name] for name in os.environ if _counts(name)}


def _counts(name: str) -> bool:
    return name in _THREADS or name.startswith("EOSIN_")


class Sample(NamedTuple):
    """What a machine must see, and what must run there."""

    folder: str  # where relative paths count from
    files: Sequence[tuple[str, int]]  # with their sizes
    folders: Sequence[str]
    runs: Sequence[Source]
    versions: tuple[str, str] = (__version__, platform.python_version())


def sample_of(work: Work[object, object]) -> Sample:
    """Some of the files, and one in each folder, as this process sees them; and the Runs."""
    from eosin.remote import RemotePath
    from eosin.slides.tile import file_of

    paths = [*work.files, *work.reads]
    in_folders = list({path.parent: path for path in paths}.values())
    some = [each for most in (paths, in_folders) for each in most[:: -(-len(most) // _MOST)]]
    found = [path for path in dict.fromkeys(map(file_of, some)) if not isinstance(path, RemotePath)]
    files = [(str(path), path.stat().st_size) for path in found if path.is_file()]
    folders = [path if path.is_dir() else path.parent for path in found]
    folders = [folder for folder in folders if folder.is_dir()] + [run.folder for run in work.runs]
    return Sample(str(Path.cwd()), files, list(dict.fromkeys(map(str, folders))), work.runs)


class Worker:
    """Does blocks.

    Args:
        environment: of the process that asks, as far as results depend on it.
        megapixels: of the images that are read.
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
            names = ("eosin {} on Python {}".format(*each) for each in (own, sample.versions))
            return "{} has {}, this machine {}; install the same".format(where, *names)
        try:
            os.chdir(sample.folder)
            for folder in sample.folders:
                os.scandir(folder).close()
            for file, size in sample.files:
                if Path(file).stat().st_size != size:
                    return f"{where}: {file} is another file than on this machine; {_FIX}"
            for run in sample.runs:
                run.require_unchanged()
        except OSError as fault:
            return f"{where}: cannot see {fault.filename} ({fault.strerror}); {_FIX}"
        except EosinError as fault:
            return f"{where}: cannot use the Run as this machine has it ({fault}); {_FIX}"
        return ""

    def do(
        self,
        number: int,
        work: Sequence[ObjectRef[Work[object, object]]],
        rows: range,
        refused: Mapping[str, str],
    ) -> tuple[None, list[object]]:
        """Nothing, and what is found of some rows.

        Args:
            number: of the work.
            work: a reference to it, which is followed once.
            rows: which.
            refused: files that must not be read, and why.
        """
        from eosin.pixels.reading import limit_megapixels, refuse_files

        if self._work is None or number != self._number:
            import ray

            self._number, self._work = number, ray.get(work[0])
            assert self._work is not None
        limit_megapixels(self._megapixels)
        refuse_files(refused)
        return None, list(self._here.each(self._work, rows))
