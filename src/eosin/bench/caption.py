"""What this machine is, for the caption of a timing."""

from __future__ import annotations

import platform
from pathlib import Path

from eosin.machine import installed_versions

_CPU_INFO = Path("/proc/cpuinfo")
_LIBRARIES = ("torch", "timm", "onnxruntime", "openvino")


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
    return installed_versions(_LIBRARIES)
