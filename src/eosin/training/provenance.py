"""Which software made a Run."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "scikit-learn")


def software_versions() -> dict[str, str]:
    """Versions of eosin, Python and the libraries that a Run's numbers depend on."""
    from eosin import __version__

    versions = {"eosin": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions
