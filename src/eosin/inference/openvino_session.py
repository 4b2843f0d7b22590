"""OpenVINO: a graph compiled for throughput, one stream a core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, ModelError
from eosin.inference.openvino_library import import_openvino

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.float32]


class OpenVinoSession:
    """An ONNX file or OpenVINO's own format in OpenVINO.

    A batch is cut into as many parts as there are streams, each of one core: the cores then need
    not wait for each other after every layer.
    """

    name = "openvino"

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
        self._places = {port.get_any_name(): n for n, port in enumerate(compiled.outputs)}
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
            np.concatenate([request.get_output_tensor(self._places[name]).data for request in busy])
            for name in outputs
        ]
