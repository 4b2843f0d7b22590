"""OpenVINO: a graph compiled for throughput, one stream a core; its usage reports stay off."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from eosin.arrays import Pixels

_TELEMETRY = "openvino_telemetry"


class OpenVinoSession:
    """An ONNX file or OpenVINO's own format in OpenVINO.

    A batch is cut into as many parts as there are streams, each of one core: the cores then need
    not wait for each other after every layer.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 1) -> None:
        if device not in ("auto", "cpu"):
            raise ConfigError(f"device {device!r}: the engine openvino runs on the CPU; use auto")
        openvino = import_openvino()
        settings = {
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
        }
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(path), "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ModelError(
                f"{path}: OpenVINO cannot load it ({reason}); export the Run again"
            ) from error
        self._order = {port.get_any_name(): n for n, port in enumerate(compiled.outputs)}
        self._requests = [compiled.create_infer_request() for _ in range(threads)]

    def run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        """Some of the graph's outputs, by name, for input (n, 3, size, size)."""
        parts = np.array_split(batch, min(len(batch), len(self._requests)))
        busy = self._requests[: len(parts)]
        for request, part in zip(busy, parts, strict=True):
            request.start_async({0: part}, share_inputs=True)
        for request in busy:
            request.wait()
        return [
            np.concatenate([request.get_output_tensor(self._order[name]).data for request in busy])
            for name in outputs
        ]


def import_openvino() -> ModuleType:
    """The module ``openvino``; it neither asks nor reports to its maker's servers."""
    with without_telemetry():
        return import_module("openvino")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Let OpenVINO and NNCF be imported as if their package for usage reports were not installed.

    Importing them sends a report otherwise, and writes an identifier into the home folder; both
    fall back on stubs of their own where that package is missing.
    """
    found = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's way to say: not installed
    try:
        yield
    finally:
        if found is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = found
