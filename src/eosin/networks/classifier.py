"""The network: a backbone, its last feature map, and the head that scores the classes."""

from __future__ import annotations

from contextlib import contextmanager
from textwrap import shorten
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.errors import ConfigError, EosinError, ModelError, NoMapError
from eosin.networks.backbone_modules import SeveralMaps, create_backbone
from eosin.networks.backbones import INCEPTION_HER2, BackboneSpec, resolve_backbone
from eosin.networks.inception import InceptionHer2, inception_head
from eosin.networks.knn_head import KnnHead
from eosin.networks.tensors import read_tensors, set_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Classifier(nn.Module):
    """Images (N, 3, size, size), as ``pixels.preprocessing.prepare`` makes them, to logits.

    Attributes:
        spec: what the backbone is.
        backbone: the feature extractor, a timm network without its classifier or InceptionHer2.
        dropout: acts on features before the head, while training only.
        head: features (N, C) to logits; one ``nn.Linear``, three for InceptionHer2, or a KnnHead.
    """

    def __init__(self, spec: BackboneSpec, *, classes: int, dropout: float) -> None:
        super().__init__()
        self.spec = spec
        self.backbone: nn.Module
        self.head: nn.Module
        if spec.name == INCEPTION_HER2:
            self.backbone = InceptionHer2()
            self.head = inception_head(classes, dropout=dropout)
        else:
            self.backbone = create_backbone(spec)
            self.head = nn.Linear(self.feature_count, classes)
        self.dropout = nn.Dropout(dropout)
        self._channels_at_end = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        self._map_is_pooled = False  # seen once, with the first image

    @property
    def feature_count(self) -> int:
        """How many features describe an image (C)."""
        width = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        twice = 1 + (self.spec.pooling == "cls+mean")
        return twice * int(width)  # type: ignore[arg-type]  # nn.Module: Tensor | Module

    @property
    def widths(self) -> list[int]:
        """How many of these come from each of its maps."""
        if isinstance(self.backbone, SeveralMaps):
            return self.backbone.widths
        return [self.feature_count]

    def feature_map(self, x: Tensor) -> Tensor:
        """The last map (N, C, h, w), after the last convolution, normalisation and activation.

        Raises:
            NoMapError: the backbone has none (a transformer's tokens, for one) or several, or its
                features are not pooled from the last one alone.
        """
        if not self._map_is_pooled and not self.training:
            self._require_pooled(_noise(x))
            self._map_is_pooled = True
        return self._last_map(x)

    def _last_map(self, x: Tensor) -> Tensor:
        last = self.backbone.forward_features(x)  # type: ignore[operator]  # as above
        if isinstance(last, Tensor) and last.ndim == 4:
            return last.permute(0, 3, 1, 2) if self._channels_at_end else last
        several = isinstance(last, list | tuple | dict)
        found = "several feature maps and no single one" if several else "no spatial feature map"
        raise NoMapError(f"backbone {self.spec.name!r} has {found}; use another one for heatmaps")

    @torch.no_grad()
    def _require_pooled(self, x: Tensor) -> None:
        """NoMapError where a heatmap would explain something else than the network's answer."""
        last, features = self._last_map(x), self.features(x)
        pooled = self.pool(last) if last.shape[2] == last.shape[3] else features.new_empty(0)
        alike = pooled.shape == features.shape
        if not alike or (pooled - features).abs().max() > 1e-3 * features.abs().max():
            raise NoMapError(
                f"backbone {self.spec.name!r} scores more than its last feature map, which would "
                "not explain its answer; use another one for heatmaps"
            )

    def pool(self, feature_map: Tensor) -> Tensor:
        """Features (N, C) of a last map (N, C, h, w): its average over space, as trained."""
        native = feature_map.permute(0, 2, 3, 1) if self._channels_at_end else feature_map
        features: Tensor = self.backbone.forward_head(  # type: ignore[operator]  # as above
            native, pre_logits=True
        )
        return features

    def features(self, x: Tensor) -> Tensor:
        """Features (N, C) of images (N, 3, size, size)."""
        if self.spec.pooling == "timm":
            features: Tensor = self.backbone(x)
            return features
        return self.pool_tokens(self.backbone.forward_features(x))  # type: ignore[operator]

    def pool_tokens(self, tokens: Tensor) -> Tensor:
        """Features (N, C) of a transformer's last tokens (N, T, K): prefix first, then patches."""
        if self.spec.pooling == "timm":
            features: Tensor = self.backbone.forward_head(  # type: ignore[operator]  # as above
                tokens, pre_logits=True
            )
            return features
        if self.spec.pooling == "cls":
            return tokens[:, 0]
        patches = tokens[:, self.backbone.num_prefix_tokens :]
        return torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, size, size)."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits


def _noise(x: Tensor) -> Tensor:
    """One image of the shape of ``x``, the same in every call: a blank one could hide a fault."""
    noise = torch.randn((1, *x.shape[1:]), generator=torch.Generator().manual_seed(0))
    return noise.to(x).contiguous(memory_format=torch.channels_last)


def build_classifier(
    backbone: str | BackboneSpec, *, classes: int, dropout: float = 0.3, seed: int = 0
) -> Classifier:
    """A network with random weights drawn from ``seed``; the caller's random state is kept.

    Raises:
        ModelError: unknown backbone, fewer than two classes, or a backbone timm cannot build.
    """
    if classes < 2:
        raise ModelError(f"a classifier needs at least two classes, got {classes}")
    spec = resolve_backbone(backbone) if isinstance(backbone, str) else backbone
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # networks are drawn on the CPU
        return Classifier(spec, classes=classes, dropout=dropout)


@contextmanager
def taking(classifier: Classifier, size: int) -> Iterator[None]:
    """Turn what a network raises on images of ``size`` pixels a side into one ConfigError."""
    try:
        yield
    except (EosinError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # RuntimeError, AssertionError, IndexError: each design its own
        spec = classifier.spec
        reason = shorten(str(error), 160) or type(error).__name__
        fix = f"leave the image size out: its native size is {spec.size}"
        if size == spec.size:
            fix = "which is its native size: use another backbone"
        raise ConfigError(
            f"backbone {spec.name!r} cannot take images of {size} pixels ({reason}); {fix}"
        ) from error


def require_size(classifier: Classifier, size: int) -> None:
    """Try one image of noise on a network in ``eval`` mode, before anything long begins.

    Raises:
        ConfigError: it cannot take images of ``size`` pixels a side.
        ModelError: what it answers is not finite.
    """
    blank = torch.empty(1, 3, size, size, device=next(classifier.parameters()).device)
    with torch.no_grad(), taking(classifier, size):
        features = classifier.features(_noise(blank))
        logits = classifier.head(features)
    require_finite(classifier, features, logits)


def require_finite(classifier: Classifier, *answers: Tensor) -> None:
    """ModelError where features or logits of a network are not finite."""
    if not all(bool(torch.isfinite(answer).all()) for answer in answers):
        raise ModelError(
            f"backbone {classifier.spec.name!r} answers with values that are not finite: its "
            "weights are damaged or too large; take others"
        )


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write every weight and buffer as safetensors; ModelError where one is not finite."""
    spec = classifier.spec
    described = {"spec": spec.to_json()} if spec.origin and not spec.encoder else {}
    write_tensors(classifier, path, about={"backbone": spec.name, **described})


def read_spec(path: Path) -> BackboneSpec | None:
    """What a file of ``save_classifier`` says of a backbone that no table describes, or None."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            said = (stored.metadata() or {}).get("spec")
    except (SafetensorError, OSError):  # whoever reads the tensors says what is wrong
        return None
    return BackboneSpec.from_json(said) if said else None


def read_weights(classifier: Classifier, path: Path) -> None:
    """Load what ``save_classifier`` wrote; ModelError naming file and tensors at fault."""
    name, fix, tensors = classifier.spec.name, "train the Run again", read_tensors(path)
    classifier.head = KnnHead.among(tensors) or classifier.head
    set_tensors(classifier, tensors, path, name=name, fix=fix)
