"""What this program runs on: the cores that it may use, the processor, the installed libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_MEGAPIXELS: Final = 32.0  # of an image, unless more is asked for: memory grows with it


def available_cores() -> int:
    """How many cores this program may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def computing_threads() -> int:
    """How many threads a network computes with: as OMP_NUM_THREADS says, or one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdigit() and int(said) else available_cores()


def reading_threads(asked: int | None = None) -> int:
    """As many as asked for, or one a core that this program may run on."""
    return available_cores() if asked is None else asked


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed, in their order."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


_CPU_INFO = Path("/proc/cpuinfo")
_ENGINES = ("torch", "timm", "onnxruntime", "openvino")


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


_LIBRARIES = (
    *("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pyvips-binary"),
    "scikit-learn",
)


def software_versions() -> dict[str, str]:
    """Versions of eosin, Python and the libraries that a Run's numbers depend on."""
    from eosin.version import __version__

    own = {"eosin": __version__, "python": platform.python_version()}
    return own | installed_versions(_LIBRARIES)
