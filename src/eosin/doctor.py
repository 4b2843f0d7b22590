"""What this machine has, and what it lacks to do the main job."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from eosin.machine import available_cores

# Module: the package that holds it.
_BASE = {
    "numpy": "numpy",
    "pandas": "pandas",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pyvips": "pyvips",
    "_libvips": "pyvips-binary",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
}
# Module: the package that holds it, and the extra of eosin that installs it.
_TRAINING = {
    "torch": ("torch", "train"),
    "torchvision": ("torchvision", "train"),
    "timm": ("timm", "train"),
    "sklearn": ("scikit-learn", "train"),
}
_ENGINES = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "openvino")}
_OPTIONAL = {
    "h5py": ("h5py", "encoders"),
    "onnx": ("onnx", "export"),
    "onnxscript": ("onnxscript", "export"),
    "nncf": ("nncf", "int8"),
    "pytorch_grad_cam": ("grad-cam", "explain"),
    "openslide": ("openslide-python", "slides"),
    "fastapi": ("fastapi", "serve"),
    "fsspec": ("fsspec", "storage"),
    "ray": ("ray", "cluster"),
    "huggingface_hub": ("huggingface-hub", "hub"),
    "tensorboard": ("tensorboard", "track"),
    "mlflow": ("mlflow-skinny", "track"),
}
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's sheet.

    Attributes:
        name: what was looked at.
        value: what was found.
        ok: whether it serves.
        fix: the command or the step that mends it; empty where nothing needs mending.
        vital: whether the main job cannot run without it.
    """

    name: str
    value: str
    ok: bool = True
    fix: str = ""
    vital: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the doctor found.

    Attributes:
        findings: one a line.
        trains: whether Runs can be trained here; then everything else can be done too.
        runs_exports: whether an engine for exported Runs is here.
    """

    findings: tuple[Finding, ...]
    trains: bool
    runs_exports: bool

    @property
    def ready(self) -> bool:
        """Whether some Run can be used here and nothing vital is missing."""
        return all(finding.ok or not finding.vital for finding in self.findings)


def examine(folder: Path | None = None) -> Sheet:
    """Look at Python, packages, device, threads, memory, disk (of ``folder``) and weights.

    A machine that only runs exported Runs is in order without PyTorch; one that has neither
    PyTorch nor an engine lacks something vital.
    """
    folder = folder or Path.cwd()
    base = [_package(module, name, "", vital=True) for module, name in _BASE.items()]
    engines = [_extra(module, *names) for module, names in _ENGINES.items()]
    runs_exports = any(engine.ok for engine in engines)
    training = [
        _package(module, *names, vital=not runs_exports) for module, names in _TRAINING.items()
    ]
    trains = all(package.ok for package in training)
    machine = [_device(), _threads(), _memory(), _disk(folder)]
    findings = [_python(), *base, *training, *engines, *machine]
    if trains:
        findings += [_weights(), *(_extra(module, *names) for module, names in _OPTIONAL.items())]
    return Sheet(tuple(findings), trains=trains, runs_exports=runs_exports)


def _python() -> Finding:
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    fix = "" if ok else "install Python 3.11, 3.12 or 3.13"
    return Finding("python", platform.python_version(), ok, fix, vital=True)


def _package(module: str, package: str, extra: str, *, vital: bool) -> Finding:
    fix = f'pip install "eosin[{extra}]"' if extra else f"pip install --force-reinstall {package}"
    found = _version(module, package)
    if found is None:
        return Finding(package, "not installed", ok=False, fix=fix, vital=vital)
    if find_spec(module) is None:
        return Finding(package, f"{found}, broken", ok=False, fix=fix, vital=vital)
    return Finding(package, found, vital=vital)


def _device() -> Finding:
    if find_spec("torch") is None:
        return Finding("device", "unknown without torch")
    import torch

    if torch.cuda.is_available():
        return Finding("device", torch.cuda.get_device_name(0))
    return Finding("device", "CPU (no GPU seen; --freeze is the quick path here)")


def _threads() -> Finding:
    cores = available_cores()
    limit = os.environ.get("OMP_NUM_THREADS")
    value = f"{cores} cores" + (f", OMP_NUM_THREADS={limit}" if limit else "")
    ok = limit is None or not limit.isdigit() or int(limit) <= cores
    return Finding("threads", value, ok, "" if ok else f"export OMP_NUM_THREADS={cores}")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "unknown")
    ok = total >= 4
    fix = "" if ok else "use --batch-size 8 or a machine with 4 GiB or more"
    return Finding("memory", f"{total:.1f} GiB", ok, fix)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / _GIB
    ok = free >= 2
    fix = "" if ok else f"free some space: df -h {folder}"
    return Finding("disk", f"{free:.1f} GiB free in {folder}", ok, fix)


def _weights() -> Finding:
    named = os.environ.get("EOSIN_WEIGHTS")
    if not named:
        value = "EOSIN_WEIGHTS is not set; weights are downloaded through timm when asked for"
        return Finding("weights", value)
    folder = Path(named)
    if not folder.is_dir():
        return Finding("weights", f"{named}: no such folder", ok=False, fix="unset EOSIN_WEIGHTS")
    files = sorted(path.stem for path in folder.glob("*.safetensors"))
    if not files:
        fix = f"put <timm name>.safetensors into {named}"
        return Finding("weights", f"{named}: no safetensors file", ok=False, fix=fix)
    return Finding("weights", f"{named}: {', '.join(files)}")


def _extra(module: str, package: str, extra: str) -> Finding:
    found = _version(module, package)
    if found is None or find_spec(module) is None:
        fix = f'pip install "eosin[{extra}]"'
        return Finding(package, "not installed (optional)", ok=False, fix=fix)
    return Finding(package, found)


def _version(module: str, package: str) -> str | None:
    """Of a package; None where it is not installed under this name or another."""
    try:
        return version(package)
    except PackageNotFoundError:
        # onnxruntime-gpu, for one, brings the module onnxruntime.
        return "installed under another name" if find_spec(module) else None
