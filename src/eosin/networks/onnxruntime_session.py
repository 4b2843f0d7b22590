"""ONNX Runtime: a graph loaded for throughput on the cores at hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eosin.artefacts.graph import INPUT_NAME
from eosin.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.arrays import Pixels

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d{1,2}))?")
_ERRORS_ONLY = 3


class OnnxRuntimeSession:
    """An ONNX file in ONNX Runtime; ConfigError where this cannot compute on the device.

    Attributes:
        device: where it computes, ``"cpu"`` or ``"cuda"``.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1  # the graph is a chain: nothing to run side by side
        options.log_severity_level = _ERRORS_ONLY
        # Threads that wait by spinning starve the reading threads, and are no faster here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the runtime raises a dozen classes with no common base
            raise ModelError(
                f"{path}: ONNX Runtime cannot load it ({_first_line(error)}); export the Run again"
            ) from error
        # Where CUDA cannot be started, the runtime falls back on the CPU and only logs it.
        self.device = "cuda" if _CUDA in self._session.get_providers() else "cpu"
        if device.startswith("cuda") and self.device == "cpu":
            said = "ONNX Runtime cannot start CUDA here; use auto or cpu, or mend CUDA and cuDNN"
            raise ConfigError(f"device {device!r}: {said}")

    def run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        """Some of the graph's outputs, by name, for input (n, 3, size, size)."""
        found: list[Pixels] = self._session.run(list(outputs), {INPUT_NAME: batch})
        return found


def _providers(device: str, available: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    """What ONNX Runtime may compute on, preferred first: the GPU asked for, then the CPU."""
    known = _DEVICE.fullmatch(device)
    if known is None:
        raise ConfigError(f"device {device!r} is unknown; want auto, cpu, cuda or cuda:N")
    if device.startswith("cuda") and _CUDA not in available:
        raise ConfigError(
            f"device {device!r}: this ONNX Runtime has no CUDA; use auto or cpu, or "
            "pip install onnxruntime-gpu"
        )
    if device == "cpu" or _CUDA not in available:
        return [_CPU]
    return [(_CUDA, {"device_id": known[1] or "0"}), _CPU]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
