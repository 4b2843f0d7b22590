"""The network: a backbone, its last feature map, and the head that scores the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.artefacts.run import ExportedRun
from eosin.errors import ModelError, NoMapError
from eosin.files import replacing
from eosin.networks.backbones import INCEPTION_HER2, BackboneSpec, resolve_backbone
from eosin.networks.inception import InceptionHer2, inception_head

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.networks.run import Run


class Classifier(nn.Module):
    """Images (N, 3, size, size), as ``pixels.preprocessing.prepare`` makes them, to logits.

    Attributes:
        spec: what the backbone is.
        backbone: the feature extractor, a timm network without its classifier or InceptionHer2.
        dropout: acts on features before the head, while training only.
        head: features (N, C) to logits; one ``nn.Linear``, three for InceptionHer2.
    """

    def __init__(self, spec: BackboneSpec, *, classes: int, dropout: float) -> None:
        super().__init__()
        self.spec = spec
        self.backbone: nn.Module
        self.head: nn.Module
        if spec.name == INCEPTION_HER2:
            self.backbone = InceptionHer2()
            self.dropout: nn.Module = nn.Identity()  # its head has its own
            self.head = inception_head(classes, dropout=dropout)
        else:
            self.backbone = _create(spec)
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Linear(self.feature_count, classes)
        self._channels_at_end = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"

    @property
    def feature_count(self) -> int:
        """How many features describe an image (C)."""
        width = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        return int(width)  # type: ignore[arg-type]  # nn.Module types attributes as Tensor | Module

    def feature_map(self, x: Tensor) -> Tensor:
        """The last map (N, C, h, w), after the last convolution, normalisation and activation.

        Raises:
            NoMapError: the backbone has none (a transformer's tokens, for one).
        """
        last: Tensor = self.backbone.forward_features(x)  # type: ignore[operator]  # as above
        if last.ndim != 4:
            raise NoMapError(
                f"backbone {self.spec.name!r} has no spatial feature map; use a convolutional one"
            )
        return last.permute(0, 3, 1, 2) if self._channels_at_end else last

    def pool(self, feature_map: Tensor) -> Tensor:
        """Features (N, C) of a last map (N, C, h, w): its average over space, as trained."""
        native = feature_map.permute(0, 2, 3, 1) if self._channels_at_end else feature_map
        features: Tensor = self.backbone.forward_head(  # type: ignore[operator]  # as above
            native, pre_logits=True
        )
        return features

    def features(self, x: Tensor) -> Tensor:
        """Features (N, C) of images (N, 3, size, size)."""
        features: Tensor = self.backbone(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, size, size)."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits


def _create(spec: BackboneSpec) -> nn.Module:
    """The network from timm without its classifier; ModelError where it cannot be cut as asked."""
    import timm

    network: nn.Module = timm.create_model(spec.timm_name, pretrained=False, num_classes=0)
    if spec.stride is None:
        return network
    strides = _strides(network)
    if spec.stride not in strides or not hasattr(network, "prune_intermediate_layers"):
        raise ModelError(
            f"backbone {spec.timm_name!r} has no map of stride {spec.stride}; it has "
            f"{sorted(set(strides)) or 'none that it can be cut off at'}"
        )
    last = max(place for place, stride in enumerate(strides) if stride == spec.stride)
    network.prune_intermediate_layers(  # type: ignore[operator]  # as above
        [last], prune_norm=True, prune_head=True
    )
    network.reset_classifier(0, "avg")  # type: ignore[operator]  # the cut took the pooling off
    return network


def _strides(network: nn.Module) -> list[int]:
    """Of the network's maps in order, as timm lists them."""
    found = getattr(network, "feature_info", [])
    return [int(stage["reduction"]) for stage in getattr(found, "info", found)]


def build_classifier(
    backbone: str, *, classes: int, dropout: float = 0.3, seed: int = 0
) -> Classifier:
    """A network with random weights drawn from ``seed``; the caller's random state is kept.

    Raises:
        ModelError: unknown backbone, fewer than two classes, or a backbone timm cannot build.
    """
    if classes < 2:
        raise ModelError(f"a classifier needs at least two classes, got {classes}")
    spec = resolve_backbone(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # networks are drawn on the CPU
        return Classifier(spec, classes=classes, dropout=dropout)


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write every weight and buffer as safetensors, in one step."""
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()
    }
    with replacing(path) as draft:
        save_file(tensors, draft, metadata={"backbone": classifier.spec.name})


def read_weights(classifier: Classifier, path: Path) -> None:
    """Load what ``save_classifier`` wrote; ModelError naming the file where it does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        classifier.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())  # torch's message spans lines
        raise ModelError(
            f"{path}: not the weights of {classifier.spec.name!r} ({reason}); train the Run again"
        ) from error


def load_classifier(run: Run, *, device: str | torch.device = "cpu") -> Classifier:
    """The trained network of a Run, on ``device`` and ready to predict (``eval`` mode).

    Raises:
        ModelError: the Run is made of members or exported, or its weights are missing, changed or
            do not fit; the message names the folder.
    """
    if run.record.inside:
        raise ModelError(
            f"{run.folder}: made of {len(run.record.inside)} Runs and has no weights of its own; "
            "load each of its members"
        )
    if isinstance(run.record, ExportedRun):
        raise ModelError(
            f"{run.folder}: an exported Run, a graph without PyTorch weights; give the Run that it "
            "was exported from"
        )
    run.require_intact()
    classifier = build_classifier(run.record.backbone, classes=len(run.record.task.classes))
    read_weights(classifier, run.weights_path)
    return classifier.eval().to(device)
