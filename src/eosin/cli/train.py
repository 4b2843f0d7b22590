"""`eosin train`: from a split manifest to a Run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eosin.cli.console import RESUME, finish, print_protocol, say, showing, stoppable
from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels, Resume
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.artefacts.manifest import Manifest
    from eosin.training.config import TrainingConfig


Config = Annotated[
    Path | None, typer.Option(metavar="FILE.toml|NAME", help="Settings, or by name: frozen.")
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        "--model",
        help="A timm name, one of `eosin encoders`, hf-hub:OWNER/NAME, or a folder.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="imagenet (of an encoder: its own), none, or a safetensors file."),
]
AtLeastOne = Annotated[int | None, typer.Option(min=1)]
Accumulate = Annotated[int | None, typer.Option(min=1, help="Batches to a step of the optimiser.")]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", "--lr", help="Of the backbone; the head has its own."),
]
ImageSize = Annotated[int | None, typer.Option(help="Input side in pixels.")]
Freeze = Annotated[
    bool | None,
    typer.Option("--freeze/--no-freeze", help="Linear head on frozen features (laptop path)."),
]
Probe = Annotated[
    str | None, typer.Option(help="With --freeze: logistic, or knn (nearest images vote).")
]
TrainBlocks = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Fine-tune the last N blocks and the head only."),
]
Adapters = Annotated[
    int | None,
    typer.Option(min=1, metavar="R", help="Learn low-rank adapters of a transformer instead."),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(metavar="E.h5ad", help="Fit a probe on what `eosin embed` wrote, no images."),
]
Fold = Annotated[
    str | None, typer.Option(metavar="K|all", help="Fold to hold out, or every one in turn.")
]
Stain = Annotated[
    str | None, typer.Option(help="none, reinhard, macenko or vahadane: applied by the Run.")
]
StainTarget = Annotated[
    str | None, typer.Option(metavar="FILE", help="Target image (the training images' median).")
]
StainPer = Annotated[
    str | None, typer.Option(help="What a stain is estimated over: image or patient.")
]
StainJitter = Annotated[
    float | None, typer.Option(help="0.2: 0.8 to 1.2 times the haematoxylin and the eosin.")
]
SlideContext = Annotated[
    str | None, typer.Option(help="neighbours: patches next to each on its slide count.")
]
Bag = Annotated[
    str | None,
    typer.Option(help="slide: labels are of slides, whose tiles answer together; freezes."),
]
Aggregator = Annotated[
    str | None, typer.Option(help="Of --bag: mean, max, topk or abmil (attention).")
]
Seed = Annotated[int | None, typer.Option(min=0)]
OwnDevice = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Track = Annotated[str | None, typer.Option(help="none, tensorboard or mlflow.")]


def train(
    manifest: Annotated[Path, typer.Argument(metavar="S.csv", help="A split manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the Run.")],
    config: Config = None,
    backbone: Backbone = None,
    weights: Weights = None,
    epochs: AtLeastOne = None,
    batch_size: AtLeastOne = None,
    accumulate: Accumulate = None,
    learning_rate: LearningRate = None,
    image_size: ImageSize = None,
    freeze: Freeze = None,
    probe: Probe = None,
    train_blocks: TrainBlocks = None,
    adapters: Adapters = None,
    embeddings: Embeddings = None,
    fold: Fold = None,
    stain: Stain = None,
    stain_target: StainTarget = None,
    stain_per: StainPer = None,
    stain_jitter: StainJitter = None,
    context: SlideContext = None,
    bag: Bag = None,
    aggregator: Aggregator = None,
    seed: Seed = None,
    resume: Resume = False,
    device: OwnDevice = None,
    track: Track = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Train a Run; options given here override the settings file.

    Ctrl-C or a crash loses at most the running epoch: run the same command with --resume.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import RUN_FILES, require_output_folder
    from eosin.settings import settings_file

    config = settings_file(config) if config else None
    inputs = [manifest, *(file for file in (config, embeddings) if file)]
    require_output_folder(out, RUN_FILES, inputs=inputs, run=True)
    images = read_manifest(manifest)
    given = {
        "backbone": backbone,
        "weights": weights,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "image_size": image_size,
        "probe": probe,
        "train_blocks": train_blocks,
        "adapters": adapters,
        "freeze": True if freeze is None and bag == "slide" else freeze,
        "stain": stain,
        "stain_target": stain_target,
        "stain_per": stain_per,
        "stain_jitter": stain_jitter,
        "context": context,
        "bag": bag,
        "aggregator": aggregator,
        "seed": seed,
        "device": device,
        "track": track,
    }
    _train(images, out, _settings(config, embeddings, given), fold, resume=resume)


def _settings(
    config: Path | None, embeddings: Path | None, given: Mapping[str, object]
) -> TrainingConfig:
    """Those of a file, or the defaults; embeddings and then options override them."""
    from eosin.training.config import TrainingConfig, read_config

    settings = read_config(config) if config else TrainingConfig()
    if embeddings:
        from eosin.training.embeddings import read_embeddings

        settings = settings.with_overrides(read_embeddings(embeddings).settings)
    return settings.with_overrides(given)


def _train(
    images: Manifest, out: Path, settings: TrainingConfig, fold: str | None, *, resume: bool
) -> None:
    """Train as the settings say, and say what was written."""
    from eosin.cli.encoders import say_licence
    from eosin.networks.run import ERRORS_NAME
    from eosin.training.train import train as train_run

    say_licence(settings.backbone)
    print_protocol(images.protocol)
    held = _fold(fold)
    with stoppable(RESUME, kept=lambda: "what is finished is kept"), showing() as progress:
        trained = train_run(images, out, settings, fold=held, resume=resume, progress=progress)
    say(f"run written: {out}")
    if trained.predictions is not None:
        kind = "out-of-fold" if held == "all" else "test"
        say(f"{kind} predictions: {out / 'predictions.csv'}")
    finish(trained.skipped, out / ERRORS_NAME)


def _fold(text: str | None) -> int | Literal["all"] | None:
    if text is None:
        return None
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise ConfigError(f"--fold {text!r}: want a fold number or all")
