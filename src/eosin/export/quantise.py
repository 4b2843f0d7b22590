"""A graph in 8-bit integers: images set the range of every layer (Jacob et al. 2018).

Each format has its own runtime's tool: an ONNX file from NNCF is slower in ONNX Runtime than FP32.
"""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from eosin.artefacts.graph import INPUT_NAME
from eosin.errors import ConfigError, ModelError
from eosin.networks.openvino_session import import_openvino, without_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from eosin.arrays import Pixels
    from eosin.artefacts.graph import GraphFormat


_METHODS = {"onnx": ("ONNX Runtime", "onnxruntime"), "openvino": ("NNCF", "nncf")}


def require_quantiser(form: GraphFormat) -> None:
    """ConfigError where what makes 8-bit graphs of this format is not installed."""
    module = _METHODS[form][1]
    if find_spec(module) is None:
        raise ConfigError(
            f'int8 needs {module}, which is not installed: pip install "eosin[int8]", or export '
            "without int8"
        )


def method_of(form: GraphFormat) -> str:
    """What makes 8-bit graphs of this format, with its version."""
    name, module = _METHODS[form]
    return f"{name} {version(module)}"


def quantise(source: Path, target: Path, form: GraphFormat, pixels: Pixels) -> None:
    """Write the FP32 graph ``source`` again as ``target`` with 8-bit weights and activations.

    The head stays in FP32: it costs next to nothing, and logits and maps come from it.

    Args:
        source: ``model.onnx``, or ``model.xml`` beside ``model.bin``.
        target: of the same name, in another folder.
        form: of both.
        pixels: network input (n, 3, S, S) that sets the ranges.

    Raises:
        ConfigError: the tool for it is not installed.
        ModelError: no 8-bit graph can be made of this network.
    """
    require_quantiser(form)
    write = {"onnx": _quantise_onnx, "openvino": _quantise_openvino}[form]
    try:
        with _silent():
            write(source, target, pixels)
    except OSError:
        raise  # the caller says what a full disk means
    except Exception as error:  # each library raises its own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelError(
            f"{source.name}: no 8-bit graph can be made of it ({type(error).__name__}: {reason}); "
            "export without int8"
        ) from error


def _quantise_onnx(source: Path, target: Path, pixels: Pixels) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = target.with_suffix(".ready.onnx")
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    nodes = onnx.load(ready).graph.node
    quantize_static(
        ready,
        target,
        _Reader(pixels),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,  # without VNNI, sums of products of 8 bits overflow their 16
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in nodes if any(map(_of_head, node.input))],
    )


class _Reader:
    """Images one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, pixels: Pixels) -> None:
        self._images = iter(pixels)

    def get_next(self) -> dict[str, Pixels] | None:
        """The next image as input; None after the last."""
        image = next(self._images, None)
        return None if image is None else {INPUT_NAME: image[None]}


def _quantise_openvino(source: Path, target: Path, pixels: Pixels) -> None:
    nncf, openvino = _import_nncf(), import_openvino()
    graph = openvino.Core().read_model(source)
    data = nncf.Dataset([image[None] for image in pixels])
    heads = [
        node.get_friendly_name()
        for node in graph.get_ordered_ops()
        if any(_of_head(port.get_node().get_friendly_name()) for port in node.input_values())
    ]
    small = nncf.quantize(
        graph,
        data,
        preset=nncf.QuantizationPreset.MIXED,  # activations of both signs: SiLU, not ReLU
        subset_size=len(pixels),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=heads),
    )
    openvino.save_model(small, target, compress_to_fp16=False)


def _of_head(weight: str) -> bool:
    """Whether a weight of ``GraphModule`` belongs to what turns features into logits and maps."""
    return weight == "weights" or weight.startswith("classifier.head.")


@contextmanager
def _silent() -> Iterator[None]:
    """NNCF draws its progress on standard output, which is for results.

    On the way it imports PyTorch's compilers, which warn of a GPU that nothing here asks for.
    """
    compilers = logging.getLogger("torch.utils.cpp_extension")
    level = compilers.level
    compilers.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        compilers.setLevel(level)


def _import_nncf() -> ModuleType:
    """The module ``nncf``, which on import neither reports home nor changes how others log."""
    loggers = logging.getLoggerClass()
    try:
        with without_telemetry():
            nncf = import_module("nncf")
    finally:
        logging.setLoggerClass(loggers)
    nncf.set_log_level(logging.ERROR)
    return nncf
