"""A network written as a graph: ONNX, or OpenVINO's own format made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.graph import INPUT_NAME
from eosin.errors import ConfigError, ModelError
from eosin.machine import installed_versions
from eosin.networks.openvino_session import import_openvino

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.export.graph_module import GraphModule

_LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "openvino")


def write_onnx(module: GraphModule, path: Path, *, size: int) -> None:
    """Write a network in ``eval`` mode as ONNX: any number of images of ``size`` pixels a side.

    Batch normalisation is folded into the convolutions on the way.

    Raises:
        ConfigError: the libraries for it are not installed.
        ModelError: the network does something that has no place in a graph.
    """
    import torch

    _require_exporters()
    name = module.classifier.spec.name
    try:
        program = torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size),),
            input_names=[INPUT_NAME],
            output_names=list(module.outputs),
            dynamic_shapes=({0: torch.export.Dim("images", min=1)},),
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # torch's tracer, translator and optimiser each raise their own
        raise ModelError(f"backbone {name!r} cannot be exported: {_reason(error)}") from error
    if program is None:
        raise ModelError(f"backbone {name!r} cannot be exported: PyTorch made no graph of it")
    for node in program.model.graph.all_nodes():  # where each was traced: paths of this machine
        node.metadata_props.clear()
    program.save(path, external_data=False)


def write_openvino(onnx: Path, path: Path) -> None:
    """Write an ONNX file again as ``path`` (.xml) and its weights beside it (.bin), as float32.

    Raises:
        ModelError: OpenVINO cannot read or write it.
    """
    openvino = import_openvino()
    try:
        openvino.save_model(openvino.Core().read_model(onnx), path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot write the graph: {_reason(error)}") from error


def library_versions() -> dict[str, str]:
    """Versions of the libraries that have a hand in a graph, of those that are installed."""
    return installed_versions(_LIBRARIES)


def _require_exporters() -> None:
    try:
        import onnx  # noqa: F401  # torch asks for both in the middle of its work
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'export needs {error.name}, which is not installed: pip install "eosin[export]"'
        ) from error


def _reason(error: BaseException) -> str:
    """The first line of the error at the bottom of a chain, which says what really failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
