"""The errors eosin raises. Each message names the value, where it stands, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class EosinError(Exception):
    """Anything that went wrong in a way the user can mend."""


class ConfigError(EosinError):
    """A setting, option or configuration key is wrong."""


class DataError(EosinError):
    """An image, a manifest or a predictions table cannot be used as it is."""


class DiskError(DataError):
    """A file or folder cannot be written: no room, no right, or no such folder."""


class LeakageError(DataError):
    """A patient would stand on both sides of an evaluation."""


class ModelError(EosinError):
    """A network, its weights or a Run cannot be used as it is."""


class WeightsError(ModelError):
    """The weights that a network should start from cannot be had."""


class NoMapError(ModelError):
    """A network has no feature map that a heatmap could be drawn of."""


class EosinWarning(UserWarning):
    """Something that the user should know; the work continues."""


# Of a module that is not in the base install: the extra that brings it.
_EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "timm", "sklearn"), "train"),
    "pytorch_grad_cam": "explain",
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    "nncf": "int8",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    **dict.fromkeys(("openslide", "tifffile", "imagecodecs"), "slides"),
    **dict.fromkeys(("fsspec", "s3fs", "gcsfs", "adlfs"), "storage"),
    **dict.fromkeys(("tensorboard", "mlflow"), "track"),
    "ray": "cluster",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart"), "serve"),
    "huggingface_hub": "hub",
    **dict.fromkeys(("prometheus_client", "sqlalchemy", "alembic", "psycopg"), "serve"),
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install where a module of an extra is missing; None where it is of none."""
    module = (error.name or "").partition(".")[0]
    if module not in _EXTRAS:
        return None
    return f'needs {module}, which is not installed: pip install "eosin[{_EXTRAS[module]}]"'


def first_ten(names: Collection[str]) -> str:
    """The names in order, for a message: ten at most, and that there are more."""
    return ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
