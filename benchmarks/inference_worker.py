"""One side of benchmarks/inference.py and heatmaps.py, in a process of its own.

    python benchmarks/inference_worker.py SIDE RUN INPUT.npy THREADS

RUN is a folder with PyTorch weights or, for an engine, its export. Libraries are imported by the
side that uses them, so that each has its own threads and its own memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eosin.bench.serving import serve
from eosin.networks.run import Run, read_run

Pixels = npt.NDArray[np.float32]
Job = Callable[[], object]
Side = Callable[[Run, Pixels, int], Job]


def main() -> None:
    """Load the input, and serve."""
    side, folder, file, threads = sys.argv[1:]
    pixels = np.load(file)
    serve(lambda: SIDES[side](read_run(Path(folder)), pixels, int(threads)))


def timm_side(*, channels_last: bool = False, compiled: bool = False) -> Side:
    """The network as timm's documentation runs it: created, ``eval``, ``inference_mode``."""

    def prepare(run: Run, pixels: Pixels, threads: int) -> Job:
        import timm
        import torch

        torch.set_num_threads(threads)
        classes = len(run.record.task.classes)
        model = timm.create_model(run.record.backbone, pretrained=False, num_classes=classes).eval()
        model.load_state_dict(timm_weights(run, model.state_dict()))
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        forward = torch.compile(model) if compiled else model
        batch = torch.from_numpy(pixels)

        def job() -> object:
            with torch.inference_mode():
                given = (
                    batch.contiguous(memory_format=torch.channels_last) if channels_last else batch
                )
                return forward(given)

        return job

    return prepare


def timm_weights(run: Run, wanted: dict[str, object]) -> dict[str, object]:
    """The Run's weights under timm's names."""
    from safetensors.torch import load_file

    held = load_file(run.weights_path)
    own = {name.removeprefix("backbone."): value for name, value in held.items()}
    heads = [name for name in wanted if name not in own]
    named = {name: own[f"head.{name.rpartition('.')[2]}"] for name in heads}
    return {name: own.get(name, named.get(name)) for name in wanted}


def engine_side(engine: str, *, maps: bool = False) -> Side:
    """One of eosin's engines, giving logits or logits and maps."""

    def prepare(run: Run, pixels: Pixels, threads: int) -> Job:
        if engine == "torch":
            import torch

            torch.set_num_threads(threads)
        (network,) = run.networks(engine=engine, device="cpu", threads=threads)
        return lambda: network.maps(pixels) if maps else network.logits(pixels)

    return prepare


def logits_graph_side(engine: str) -> Side:
    """The same export cut down to its logits: what a graph without maps and features costs."""

    def prepare(run: Run, pixels: Pixels, threads: int) -> Job:
        from onnx.utils import extract_model

        from eosin.networks.graphs import open_session

        assert run.graph is not None
        whole = run.folder / run.graph.file
        cut = run.folder / f"logits-{engine}.onnx"
        extract_model(str(whole), str(cut), ["pixels"], ["logits"])
        session = open_session(cut, engine, device="cpu", threads=threads)
        return lambda: session.run(pixels, ["logits"])

    return prepare


def closed_form_side(run: Run, pixels: Pixels, threads: int) -> Job:
    """Grad-CAM in PyTorch as eosin has it: every class map from one forward pass."""
    import torch

    from eosin.networks.cam import class_maps
    from eosin.networks.weights import load_classifier

    torch.set_num_threads(threads)
    classifier, batch = load_classifier(run), torch.from_numpy(pixels)
    return lambda: class_maps(classifier, batch)


def library_side(*, at_once: bool) -> Side:
    """pytorch-grad-cam at the last activation before pooling; the class it finds itself."""

    def prepare(run: Run, pixels: Pixels, threads: int) -> Job:
        import torch
        from pytorch_grad_cam import GradCAM

        from eosin.networks.weights import load_classifier

        torch.set_num_threads(threads)
        classifier = load_classifier(run)
        library = GradCAM(model=classifier, target_layers=[classifier.backbone.bn2])
        batch = torch.from_numpy(pixels)
        parts = [batch] if at_once else list(torch.split(batch, 1))
        return lambda: [library(input_tensor=part, targets=None) for part in parts]

    return prepare


SIDES: dict[str, Side] = {
    "timm eager": timm_side(),
    "timm eager, channels last": timm_side(channels_last=True),
    "timm, torch.compile": timm_side(compiled=True),
    "grad-cam": library_side(at_once=True),
    "grad-cam, one by one": library_side(at_once=False),
    "eosin, closed form": closed_form_side,
    "eosin torch": engine_side("torch"),
    **{f"eosin {name}": engine_side(name) for name in ("onnxruntime", "openvino")},
    **{f"eosin {name}, maps": engine_side(name, maps=True) for name in ("onnxruntime", "openvino")},
    **{f"{name}, logits only": logits_graph_side(name) for name in ("onnxruntime", "openvino")},
}

if __name__ == "__main__":
    main()
