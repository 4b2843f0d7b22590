"""Where a network starts from: nothing, ImageNet through timm's hub, or a local file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from eosin.errors import ModelError
from eosin.networks.backbones import INCEPTION_HER2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.networks.backbones import BackboneSpec
    from eosin.networks.classifier import Classifier

WEIGHTS_SETTING = "EOSIN_WEIGHTS"
_PICKLES = {".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar"}


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What ``initialise`` did.

    Attributes:
        source: where the weights come from, in words.
        loaded: tensors of the backbone that were set.
        missing: names of BatchNorm step counters the source lacks (the only ones it may lack).
        unexpected: names in the source that the backbone has no place for, its head left out, and
            what lies behind the cut of one that is cut off early.
        changed: tensors whose values differ from the random ones that stood there.
    """

    source: str
    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    changed: int = 0


def initialise(classifier: Classifier, source: str) -> WeightsReport:
    """Set the backbone's weights in place; the head keeps its random ones.

    Args:
        classifier: the network, as ``build_classifier`` made it.
        source: ``"none"`` leaves it random; ``"imagenet"`` takes ``<timm name>.safetensors`` from
            the folder that EOSIN_WEIGHTS names, or else downloads through timm; anything else is
            the path of a safetensors file in timm's key layout.

    Raises:
        ModelError: the source cannot be had, or does not fill the whole backbone. Random weights
            are never left standing in for it.
    """
    if source == "none":
        return WeightsReport("random weights", loaded=0)
    name = classifier.spec.timm_name
    if source == "imagenet" and name == INCEPTION_HER2:
        raise ModelError(f"{name!r} has no ImageNet weights; train it from scratch: --weights none")
    path = weights_file(classifier.spec, source)
    if path is not None:
        found = f"file {path.name}"
        if source == "imagenet":
            found = f"ImageNet weights, {found} of {WEIGHTS_SETTING}"
        return _fill(classifier, read_file(path), source=found, place=str(path))
    tag = str(getattr(classifier.backbone, "pretrained_cfg", {}).get("tag", ""))
    found = f"ImageNet weights, timm hub, {name.partition('.')[0]}.{tag}"
    return _fill(classifier, _download(name), source=found, place=f"timm's hub ({name})")


def weights_file(spec: BackboneSpec, source: str) -> Path | None:
    """The file that ``initialise`` reads for a backbone; None for random weights or timm's hub.

    Raises:
        ModelError: EOSIN_WEIGHTS names no folder.
    """
    if source == "none":
        return None
    return _local_file(spec.timm_name) if source == "imagenet" else Path(source).expanduser()


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; ModelError naming it where it is not a whole one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            f"{path}: eosin opens safetensors only, because a pickled file can run code when it "
            "is opened. Convert one that you trust: "
            "safetensors.torch.save_file(torch.load(PATH, weights_only=True), "
            f"{path.with_suffix('.safetensors').name!r})"
        )
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file; want 'imagenet', 'none' or the path of a file"
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({error}); copy or download it again"
        ) from error


def _local_file(name: str) -> Path | None:
    folder = os.environ.get(WEIGHTS_SETTING, "")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ModelError(f"{WEIGHTS_SETTING}={folder}: no such folder; mend or unset it")
    candidates = (Path(folder) / f"{stem}.safetensors" for stem in (name, name.partition(".")[0]))
    return next((path for path in candidates if path.is_file()), None)


def _download(name: str) -> dict[str, torch.Tensor]:
    import timm

    try:
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client raises OSError, RuntimeError, httpx's own, ...
        raise ModelError(
            f"no ImageNet weights of {name!r} from timm's hub ({type(error).__name__}: {error}). "
            f"Give a file with --weights PATH, name a folder that holds {name}.safetensors in "
            f"{WEIGHTS_SETTING}, or start from random weights with --weights none."
        ) from error
    return dict(network.state_dict())


def _fill(
    classifier: Classifier, tensors: Mapping[str, torch.Tensor], *, source: str, place: str
) -> WeightsReport:
    backbone = classifier.backbone
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    _require_fit(before, tensors, name=classifier.spec.name, place=place)
    backbone.load_state_dict({k: v for k, v in tensors.items() if k in before}, strict=False)
    after = backbone.state_dict()
    loaded = sorted(before.keys() & tensors.keys())
    wrong = [k for k in loaded if not torch.equal(after[k].cpu(), tensors[k].to(after[k].dtype))]
    changed = [k for k in loaded if not torch.equal(before[k], after[k])]
    if wrong or not changed:
        raise ModelError(
            f"{place}: {len(wrong)} of {len(loaded)} tensors were not taken over and "
            f"{len(changed)} changed; the file holds untrained weights or the network is broken"
        )
    return WeightsReport(
        source=source,
        loaded=len(loaded),
        missing=tuple(sorted(before.keys() - tensors.keys())),
        unexpected=_unexpected(classifier, tensors.keys() - before.keys()),
        changed=len(changed),
    )


def _require_fit(
    wanted: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    *,
    name: str,
    place: str,
) -> None:
    # Files written by old PyTorch lack the step counters, and nothing reads them afterwards.
    missing = sorted(
        k for k in wanted.keys() - found.keys() if not k.endswith("num_batches_tracked")
    )
    misshapen = sorted(
        f"{k} {tuple(found[k].shape)} for {tuple(wanted[k].shape)}"
        for k in wanted.keys() & found.keys()
        if found[k].shape != wanted[k].shape
    )
    if not missing and not misshapen:
        return
    faults = [f"missing {_some(missing)}"] if missing else []
    faults += [f"of another shape {_some(misshapen)}"] if misshapen else []
    raise ModelError(
        f"{place}: not the weights of {name!r} in timm's key layout: {'; '.join(faults)}. "
        "Check that file and --backbone belong together."
    )


def _unexpected(classifier: Classifier, names: set[str]) -> tuple[str, ...]:
    heads = getattr(classifier.backbone, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{h}." for h in ((heads,) if isinstance(heads, str) else heads))
    return tuple(sorted(name for name in names if not name.startswith(prefixes)))


def _some(names: list[str], *, most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
