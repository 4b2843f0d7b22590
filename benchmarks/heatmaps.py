"""Grad-CAM side by side: eosin's engines and closed form, and the library grad-cam, in turn.

    python benchmarks/heatmaps.py FOLDER_OF_IMAGES [--weights FOLDER] [--backbones A,B]

Each side turns the same prepared images into one map an image, for the class with the highest
logit (eosin has the maps of every class by then), in a process of its own that sleeps while the
others have their turn, A B A B. The library runs as its documentation shows, at the last layer
before pooling, with the same batches and, as most of its users run it, image by image. Reading and
drawing are left out. "core ms" is the work of all cores together. PyTorch's threads wait as PyTorch
comes, by spinning for a moment; ``--wait sleep`` sends them to sleep at once, which costs the short
steps of a forward pass more than the long ones of a backward pass.

The bars are for the clock, against the library's batches, on a machine that does nothing else.
Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bars import at_least
from rich.console import Console
from rich.table import Table
from untrained import find_weights, prepared, untrained_run

from eosin.bench.workers import Pace
from eosin.export.export import export_run
from eosin.machine import cpu_model
from eosin.networks.run import Run
from inference import WAITS, WORKER, ratios_of, take_all

Pixels = npt.NDArray[np.float32]

LIBRARY = "grad-cam"
CLOSED_FORM = "eosin, closed form"
ENGINES = ("onnxruntime", "openvino")
CLOSED_FORM_BAR, ENGINE_BAR = 3.0, 6.0


def main() -> None:
    """Time every backbone; print the tables, and whether the bars are met."""
    options = parse_options()
    print(f"{cpu_model()}, {options.cores} threads, batch {options.batch}")
    met = True
    for backbone in options.backbones.split(","):
        with tempfile.TemporaryDirectory() as folder:
            paces, apart = time_backbone(backbone, Path(folder), options)
        Console(width=110).print(table(backbone, paces))
        said = ", ".join(f"{side} {value:.1e}" for side, value in apart.items())
        print(f"largest difference from the library's maps after its own scaling: {said}")
        met &= judge(backbone, paces)
    sys.exit(0 if met else 1)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="PNG images, such as BreakHis at 700 x 460")
    parser.add_argument("--weights", type=Path, help="a folder of <backbone>.safetensors files")
    parser.add_argument("--backbones", default="tf_efficientnetv2_b0,efficientnet_b0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.4, help="of a turn, one batch at least")
    parser.add_argument("--cores", type=int, default=2, help="threads of every side")
    parser.add_argument("--wait", choices=WAITS, default="pytorch", help="how its threads wait")
    return parser.parse_args()


def time_backbone(
    backbone: str, folder: Path, options: argparse.Namespace
) -> tuple[dict[str, Pace], dict[str, float]]:
    """Let all sides take turns; how far the maps of each of eosin's are from the library's."""
    weights = find_weights(options.weights, backbone)
    run = untrained_run(folder / "run", backbone, weights=weights)
    exported = export_run(run, folder / "export")
    pixels, held = (
        prepared(options.folder, options.batch, run.record.preprocessing),
        folder / "in.npy",
    )
    np.save(held, pixels)
    sides = {
        LIBRARY: run,
        f"{LIBRARY}, one by one": run,
        CLOSED_FORM: run,
        **{f"eosin {engine}, maps": exported for engine in ENGINES},
    }
    words = {
        side: (
            *(sys.executable, str(WORKER), side, str(each.folder)),
            *(str(held), str(options.cores)),
        )
        for side, each in sides.items()
    }
    return take_all(words, options), differences(run, exported, pixels)


def differences(run: Run, exported: Run, pixels: Pixels) -> dict[str, float]:
    """The largest difference of each side's maps from the library's, scaled as it scales them."""
    import torch
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import scale_cam_image

    from eosin.networks.cam import class_maps
    from eosin.networks.weights import load_classifier

    classifier, side = load_classifier(run), (pixels.shape[-1],) * 2
    logits, maps = class_maps(classifier, torch.from_numpy(pixels))
    chosen = np.arange(len(pixels)), logits.argmax(dim=1).numpy()
    found = {CLOSED_FORM: maps.numpy()[chosen]}
    for engine in ENGINES:
        (network,) = exported.networks(engine=engine)
        found[f"eosin {engine}"] = network.maps(pixels).of(chosen[1])
    library = GradCAM(model=classifier, target_layers=[classifier.backbone.bn2])
    wanted = library(input_tensor=torch.from_numpy(pixels), targets=None)
    return {
        name: float(np.abs(scale_cam_image(scale_cam_image(each, side)) - wanted).max())
        for name, each in found.items()
    }


def table(title: str, paces: dict[str, Pace]) -> Table:
    """Medians of every side, and how many times as fast as the library's batches it is."""
    shown = Table(title=title)
    columns = ("", "images/s", "ms an image", "core ms", "x grad-cam (clock)", "(cores)")
    for column in columns:
        shown.add_column(column, justify="right" if column else "left")
    for name, pace in paces.items():
        figures = (pace.images_per_second, pace.ms, pace.core_ms)
        ratios = [f"{ratio:.2f}" for ratio in ratios_of(paces, LIBRARY, name)]
        shown.add_row(name, *(f"{figure:.1f}" for figure in figures), *ratios)
    return shown


def judge(backbone: str, paces: dict[str, Pace]) -> bool:
    """Print a line a bar; whether all are met."""
    gains = {name: ratios_of(paces, LIBRARY, name) for name in paces if name.startswith("eosin")}
    engines = {name: gain for name, gain in gains.items() if name != CLOSED_FORM}
    best = max(engines, key=lambda name: engines[name][0])
    met = True
    for name, bar in ((CLOSED_FORM, CLOSED_FORM_BAR), (best, ENGINE_BAR)):
        clock, cores = gains[name]
        what = f"{backbone}, heatmaps, {name} against grad-cam by the clock"
        met &= at_least(f"{what} ({cores:.2f} in core time)", clock, bar)
    return met


if __name__ == "__main__":
    main()
