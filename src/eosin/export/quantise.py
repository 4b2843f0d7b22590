"""A graph in 8-bit integers: NNCF sets the range of every layer from images (Jacob et al. 2018)."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from eosin.errors import ConfigError, ModelError
from eosin.inference.openvino_library import import_openvino, without_telemetry
from eosin.models.graph import INPUT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    import numpy as np
    import numpy.typing as npt

    from eosin.models.graph import GraphFormat

    Pixels = npt.NDArray[np.float32]

METHOD = "NNCF, mixed preset"
_Graph = TypeVar("_Graph")


def require_nncf() -> None:
    """ConfigError where NNCF, which makes 8-bit graphs, is not installed."""
    if find_spec("nncf") is None:
        raise ConfigError(
            'int8 needs nncf, which is not installed: pip install "eosin[export]", or export '
            "without int8"
        )


def quantise(source: Path, target: Path, form: GraphFormat, pixels: Pixels) -> None:
    """Write the FP32 graph ``source`` again as ``target`` with 8-bit weights and activations.

    The head stays in FP32: it costs next to nothing, and logits and maps come from it.

    Args:
        source: ``model.onnx``, or ``model.xml`` beside ``model.bin``.
        target: of the same name, in another folder.
        form: of both.
        pixels: network input (n, 3, S, S) that sets the ranges.

    Raises:
        ConfigError: NNCF is not installed.
        ModelError: NNCF cannot make an 8-bit graph of this network.
    """
    require_nncf()
    write = {"onnx": _quantise_onnx, "openvino": _quantise_openvino}[form]
    try:
        with _silent():
            write(source, target, pixels)
    except OSError:
        raise  # the caller says what a full disk means
    except Exception as error:  # NNCF and both formats' libraries each raise their own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelError(
            f"{source.name}: no 8-bit graph can be made of it ({type(error).__name__}: {reason}); "
            "export without int8"
        ) from error


def _quantise_onnx(source: Path, target: Path, pixels: Pixels) -> None:
    import onnx

    nncf, graph = _import_nncf(), onnx.load(source)
    data = nncf.Dataset([{INPUT_NAME: image[None]} for image in pixels])
    heads = [node.name for node in graph.graph.node if any(map(_of_head, node.input))]
    onnx.save(_quantised(nncf, graph, data, images=len(pixels), kept=heads), target)


def _quantise_openvino(source: Path, target: Path, pixels: Pixels) -> None:
    nncf, openvino = _import_nncf(), import_openvino()
    graph = openvino.Core().read_model(source)
    data = nncf.Dataset([image[None] for image in pixels])
    heads = [
        node.get_friendly_name()
        for node in graph.get_ordered_ops()
        if any(_of_head(port.get_node().get_friendly_name()) for port in node.input_values())
    ]
    small = _quantised(nncf, graph, data, images=len(pixels), kept=heads)
    openvino.save_model(small, target, compress_to_fp16=False)


def _quantised(
    nncf: ModuleType, graph: _Graph, data: object, *, images: int, kept: Sequence[str]
) -> _Graph:
    """The graph in 8-bit integers, but for the layers named in ``kept``."""
    small: _Graph = nncf.quantize(
        graph,
        data,
        preset=nncf.QuantizationPreset.MIXED,  # activations of both signs: SiLU, not ReLU
        subset_size=images,
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=list(kept)),
    )
    return small


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
