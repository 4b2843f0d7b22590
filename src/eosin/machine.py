"""What this program runs on: cores, processor, libraries, cache folder, and a limit on memory."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_MEGAPIXELS: Final = 32.0  # of an image, unless more is asked for: memory grows with it
_CPU_INFO: Final = Path("/proc/cpuinfo")
_ENGINES: Final = ("torch", "timm", "onnxruntime", "openvino")
_LIBRARIES: Final = (
    *("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pyvips-binary"),
    "scikit-learn",
)


def available_cores() -> int:
    """How many cores this program may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def computing_threads() -> int:
    """How many threads a network computes with: as OMP_NUM_THREADS says, or one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdecimal() and int(said) else available_cores()


def reading_threads(asked: int | None = None) -> int:
    """As many as asked for, or one a core that is this process's share of the machine."""
    if asked is not None:
        return asked
    return max(1, available_cores() // _number("LOCAL_WORLD_SIZE", 1))


def launched() -> tuple[int, int]:
    """The number of this process, from 0, of those that torchrun started, and their count.

    It is (0, 1) for one that was started alone.

    Raises:
        ConfigError: RANK or WORLD_SIZE is no such number.
    """
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if rank >= size:
        raise ConfigError(f"RANK = {rank} of WORLD_SIZE = {size} processes: start them by torchrun")
    return rank, size


def _number(name: str, alone: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise ConfigError(f"{name} = {text!r}: want a number, as torchrun sets it, or none")
    return max(int(text or alone), alone)


def cache_folder() -> Path:
    """Where eosin keeps what it can have again: ``EOSIN_CACHE``, or the user's cache folder."""
    named = os.environ.get("EOSIN_CACHE")
    if named:
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eosin"
    except RuntimeError:  # a user without a home: where no folder can be, there is no cache
        return Path(os.devnull) / "eosin"


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed, in their order."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's name, as it calls itself."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def engine_versions() -> dict[str, str]:
    """Versions of the libraries that compute, of those that are installed."""
    return installed_versions(_ENGINES)


def software_versions() -> dict[str, str]:
    """Versions of eosin, Python and the libraries that a Run's numbers depend on."""
    from eosin.version import __version__

    own = {"eosin": __version__, "python": platform.python_version()}
    return own | installed_versions(_LIBRARIES)
