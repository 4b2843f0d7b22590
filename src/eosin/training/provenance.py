"""Which software made a Run."""

from __future__ import annotations

import platform

from eosin.machine import installed_versions

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "scikit-learn")


def software_versions() -> dict[str, str]:
    """Versions of eosin, Python and the libraries that a Run's numbers depend on."""
    from eosin.version import __version__

    own = {"eosin": __version__, "python": platform.python_version()}
    return own | installed_versions(_LIBRARIES)
