"""The training settings: one flat, frozen, validated value, read from a flat TOML file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from eosin.settings import Settings, read_flat_toml, settings_file, validated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.files import StrPath

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Neighbours = Annotated[int, Field(ge=1)]
Monitor = Literal["val_loss", "val_accuracy", "val_balanced_accuracy", "last"]


def _text(path: object) -> object:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


PathText = Annotated[str, BeforeValidator(_text)]


class TrainingConfig(Settings):
    """Every setting of a training; the defaults are the modern recipe.

    Rates are per step, shares and probabilities lie in [0, 1], angles are in degrees.
    """

    # The network and its input.
    backbone: str = "tf_efficientnetv2_b0"
    # other backbones, each trained alike: the Run answers with the mean of all calibrated answers
    committee: Annotated[tuple[str, ...], Field(strict=False)] = ()
    weights: PathText = "imagenet"  # "imagenet", "none" or the path of a safetensors file
    freeze: bool = False  # fit a linear head on frozen features instead of fine-tuning
    train_blocks: Annotated[int, Field(ge=1)] | None = None  # learn the last N only; None: all
    adapters: Annotated[int, Field(ge=1)] | None = None  # rank of adapters, which learn instead
    embeddings: str = ""  # an .h5ad of `eosin embed`, which frozen features are then taken from
    image_size: Annotated[int, Field(ge=16, le=4096)] | None = None  # None: the backbone's own
    fit: Literal["stretch", "crop"] = "stretch"
    # "none" scales pixels to [0, 1] and no further; else the backbone's own mean and deviation
    normalisation: Literal["backbone", "none"] = "backbone"
    dropout: Share = 0.3
    freeze_batchnorm: bool = False  # keep statistics and scales of the backbone's BatchNorm

    # The stain that images are brought to before the network sees them.
    stain: Literal["none", "reinhard", "macenko", "vahadane"] = "none"
    stain_target: PathText = "train-median"  # of the training images' stains; or an image file
    stain_per: Literal["image", "patient"] = "image"  # what the stain is estimated over

    # The optimisation.
    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=1)] = 32  # of each process
    accumulate: Annotated[int, Field(ge=1)] = 1  # batches of each process to a step
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: Positive = 2e-4  # of the backbone
    head_learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    ema: Share = 0.99  # decay of the averaged weights per step; 0 turns them off
    label_smoothing: Share = 0.1
    class_weights: Literal["balanced", "none"] = "balanced"
    monitor: Monitor = "val_loss"  # chooses the epoch that is kept; "last" needs no validation
    early_stopping_patience: Annotated[int, Field(ge=0)] = 8  # epochs without gain; 0: never

    # What is drawn anew for each image and epoch.
    horizontal_flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    vertical_flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 180.0
    translation: Share = 0.05  # of the side, each way
    scale: Share = 0.1  # 0.1: from 0.9 to 1.1 times
    brightness: Share = 0.15
    contrast: Share = 0.15
    saturation: Share = 0.15
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02  # of the colour circle

    stain_jitter: Share = 0.0  # 0.2: 0.8 to 1.2 times the haematoxylin, and so the eosin
    stain_exchange: Annotated[float, Field(ge=0, le=1)] = 0.0  # another training patient's stains

    # The head on frozen features: a linear one, or a vote of the nearest training images.
    probe: Literal["logistic", "knn"] = "logistic"
    probe_k: Annotated[tuple[Neighbours, ...], Field(min_length=1, strict=False)] = (5, 20, 50, 200)
    probe_c: Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)] = (
        0.0001,
        0.001,
        0.01,
        0.1,
        1.0,
        10.0,
    )
    probe_rule: Literal["one-se", "least-loss"] = "one-se"  # of the inner cross-validation
    patients_alike: bool = True  # within a class every patient counts alike, not every image
    inner_folds: Annotated[int, Field(ge=2)] = 5
    context: Literal["none", "neighbours"] = "none"  # add the logits of patches next to each
    context_window: Literal[3, 5] = 3  # patches along the square of these
    bag: Literal["none", "slide"] = "none"  # labels belong to slides, and tiles answer together
    aggregator: Literal["mean", "max", "topk", "abmil"] = "abmil"  # how, by frozen features
    topk_share: Annotated[float, Field(gt=0, le=1)] = 0.05  # of a slide's tiles, for topk
    bag_tiles: Annotated[int, Field(ge=1)] = 512  # at most, of a slide and epoch; drawn anew
    bag_epochs: Annotated[int, Field(ge=1)] = 40  # at most; how many is chosen inside
    fold_validation: bool = False  # keep the next fold for validation, as fine-tuning does

    # The machine.
    seed: Annotated[int, Field(ge=0)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    # auto: on a GPU bfloat16 where it has it, else float16; full precision on a CPU.
    mixed_precision: Literal["auto", "off", "bfloat16", "float16"] = "auto"
    channels_last: bool = True
    torch_compile: bool = False  # compile the network: the first steps take minutes
    cache: bool = True  # keep decoded images under EOSIN_CACHE; fine-tuning only
    workers: Annotated[int, Field(ge=1)] | None = None  # reading threads; None: one a core
    track: Literal["none", "tensorboard", "mlflow"] = "none"

    @model_validator(mode="after")
    def _warm_up_ends(self) -> TrainingConfig:
        if self.schedule == "cosine" and self.warmup_epochs >= self.epochs > 1:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs}) must be fewer than epochs ({self.epochs})"
            )
        return self

    @model_validator(mode="after")
    def _stains_agree(self) -> TrainingConfig:
        if self.stain == "none" and self.stain_target != "train-median":
            raise ValueError(
                f"stain_target = {self.stain_target!r} does nothing with stain = 'none'; name a "
                "method: reinhard, macenko or vahadane"
            )
        if self.stain != "none" and self.stain_exchange:
            raise ValueError(
                f"stain = {self.stain!r} takes away the stains that stain_exchange = "
                f"{self.stain_exchange} gives; set one of them to none or 0"
            )
        if self.freeze and (self.stain_jitter or self.stain_exchange):
            raise ValueError(
                "stain_jitter and stain_exchange change images anew each epoch, and freeze = true "
                "sees each image once; set them to 0 or fine-tune"
            )
        return self

    @model_validator(mode="after")
    def _a_part_is_fine_tuned_and_a_probe_frozen(self) -> TrainingConfig:
        if self.probe != "logistic" and not self.freeze:
            raise ValueError(f"probe = {self.probe!r} votes on frozen features; set freeze = true")
        given = {"train_blocks": self.train_blocks, "adapters": self.adapters}
        asked = " and ".join(f"{name} = {value}" for name, value in given.items() if value)
        if self.train_blocks and self.adapters:
            raise ValueError(f"{asked} are two ways to train a part of a backbone; choose one")
        if asked and self.freeze:
            raise ValueError(f"{asked} trains a part of a backbone, freeze = true none; choose one")
        names = [name.strip().lower() for name in (self.backbone, *self.committee)]
        if asked and "inception_her2" in names:
            raise ValueError(
                f"{asked} builds on trained weights, and inception_her2 is trained from scratch; "
                "train the whole of it"
            )
        return self

    @model_validator(mode="after")
    def _neighbours_join_a_frozen_probe(self) -> TrainingConfig:
        if self.context != "none" and not self.freeze:
            raise ValueError(
                f"context = {self.context!r} weighs neighbours in the cross-validation of a frozen "
                "probe, and fine-tuning has none; set freeze = true, or context = 'none'"
            )
        return self

    @model_validator(mode="after")
    def _bags_are_of_frozen_features(self) -> TrainingConfig:
        if self.bag == "none":
            return self
        if not self.freeze:
            raise ValueError(
                f"bag = {self.bag!r} learns from the features of a frozen network, and fine-tuning "
                "has none; set freeze = true, or bag = 'none'"
            )
        if self.context != "none":
            raise ValueError(
                f"context = {self.context!r} is of images with labels of their own, and bag = "
                f"{self.bag!r} of slides; set one of them to 'none'"
            )
        if self.probe != "logistic":
            raise ValueError(
                f"probe = {self.probe!r} lets images vote, and bag = {self.bag!r} answers for "
                "slides; choose one"
            )
        if self.committee:
            raise ValueError(
                f"committee = {list(self.committee)}: a mean of networks answers for images, and "
                f"bag = {self.bag!r} for slides; name one backbone"
            )
        return self

    @model_validator(mode="after")
    def _a_committee_is_of_several_networks(self) -> TrainingConfig:
        if self.backbone in self.committee or len(set(self.committee)) < len(self.committee):
            raise ValueError(
                f"committee = {list(self.committee)} names a backbone twice, or backbone = "
                f"{self.backbone!r} again; name each once"
            )
        if self.committee and self.weights not in ("imagenet", "none"):
            raise ValueError(
                f"weights = {self.weights!r} is one file, and committee asks for those of "
                f"{len(self.committee) + 1} networks; name their folder in EOSIN_WEIGHTS, or one "
                "backbone"
            )
        return self

    @model_validator(mode="after")
    def _embeddings_are_frozen_and_a_tracker_has_epochs(self) -> TrainingConfig:
        if self.embeddings and (not self.freeze or self.stain != "none"):
            raise ValueError(
                f"embeddings = {self.embeddings!r} are frozen features of images as they are: want "
                "freeze = true and stain = 'none'"
            )
        if self.freeze and self.track != "none":
            raise ValueError(
                f"track = {self.track!r} follows epochs, and freeze = true has none; set it to "
                "none or fine-tune"
            )
        return self

    def with_overrides(self, overrides: Mapping[str, object]) -> TrainingConfig:
        """A copy with other values; entries that are None were not given and change nothing.

        Another backbone without a committee stands alone.

        Raises:
            ConfigError: an unknown key or a value that will not do.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        if given.get("backbone", self.backbone) != self.backbone:
            given = {"committee": (), **given}
        return validated(TrainingConfig, {**self.model_dump(), **given}, source="options")


def read_config(path: StrPath) -> TrainingConfig:
    """Read a flat TOML file; keys left out keep their defaults.

    Args:
        path: of the file, or the name of one that eosin brings along, e.g. ``"frozen"``.

    Raises:
        ConfigError: no such file, not TOML, a table, an unknown key or a wrong value; the message
            names the file, the key, the value and what is wanted.
    """
    path = settings_file(path)
    return validated(TrainingConfig, read_flat_toml(path), source=str(path))
