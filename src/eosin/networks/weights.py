"""Where a network's weights come from: random, ImageNet, published with it, a file, or a Run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from eosin.errors import ModelError, WeightsError, first_ten
from eosin.networks.backbones import INCEPTION_HER2, own_module
from eosin.networks.encoders import HUB
from eosin.networks.engine import open_weights
from eosin.networks.published import (
    WEIGHTS,
    WEIGHTS_SETTING,
    find_file,
    local_file,
    read_weights_file,
)
from eosin.networks.tensors import read_tensors, set_tensors
from eosin.networks.transformers_layout import is_transformers_layout, to_timm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.networks.backbones import BackboneSpec
    from eosin.networks.classifier import Classifier
    from eosin.networks.run import Run

_PATIENCE = 10.0  # seconds that the hub has for an answer


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What ``initialise`` did."""

    source: str  # where the weights come from, in words
    loaded: int  # tensors of the backbone that were set
    # names of BatchNorm step counters the source lacks (the only ones it may lack)
    missing: tuple[str, ...] = ()
    # names in the source that the backbone lacks, its head left out, and what lies
    # behind the cut of one that is cut off early
    unexpected: tuple[str, ...] = ()
    changed: int = 0  # tensors whose values differ from the random ones that stood there


def initialise(classifier: Classifier, source: str) -> WeightsReport:
    """Set the backbone's weights in place; the head keeps its random ones.

    Args:
        classifier: the network, as ``build_classifier`` made it.
        source: ``"none"`` leaves it random; ``"imagenet"`` takes ``<timm name>.safetensors`` from
            the folder that EOSIN_WEIGHTS names, or else downloads through timm; of an encoder or
            another published network, the weights that it is published with; ``"own"`` keeps what
            a registered module came with; anything else is the path of a safetensors file in
            timm's key layout, or in transformers' for its ViTs.

    Raises:
        ModelError: the source cannot be had, or does not fill the whole backbone. Random weights
            are never left standing in for it.
    """
    name = classifier.spec.timm_name
    if (source == "own") != (own_module(name) is not None):
        raise ModelError(
            f"weights = {source!r} of backbone {name!r}: 'own' belongs to a module of your own, "
            "and nothing else does"
        )
    if source == "own":
        return WeightsReport("weights that the module came with", loaded=0)
    if source == "none":
        return WeightsReport("random weights", loaded=0)
    if classifier.spec.origin:
        return _initialise_published(classifier, source)
    if source == "imagenet" and name == INCEPTION_HER2:
        raise ModelError(f"{name!r} has no ImageNet weights; train it from scratch: --weights none")
    path = weights_file(classifier.spec, source)
    if path is not None:
        found = f"file {path.name}"
        if source == "imagenet":
            found = f"ImageNet weights, {found} of {WEIGHTS_SETTING}"
        return _fill(classifier, read_tensors(path), source=found, origin=str(path))
    tag = str(getattr(classifier.backbone, "pretrained_cfg", {}).get("tag", ""))
    found = f"ImageNet weights, timm hub, {name.partition('.')[0]}.{tag}"
    return _fill(classifier, _download(name), source=found, origin=f"timm's hub ({name})")


def _initialise_published(classifier: Classifier, source: str) -> WeightsReport:
    """Every tensor of the file set and every tensor of the network set by it, or ModelError."""
    spec = classifier.spec
    known = spec.encoder
    path, found = weights_file(spec, source), "file {name}"
    if path is not None and source == "imagenet" and known:
        found = f"file {{name}} of {WEIGHTS_SETTING}"
    if path is None:
        path, found = _from_hub(spec), "{name} from the hub, commit {commit}"
    said = found.format(name=path.name, commit=path.parent.name[:12])
    licence = f"; licence {known.licence} ({known.page})" if known else f"; {spec.origin}"
    tensors = read_weights_file(path)
    if is_transformers_layout(tensors):
        grid = classifier.backbone.patch_embed
        tensors = to_timm(tensors, patches=int(grid.num_patches))  # type: ignore[union-attr,arg-type]
    return _fill(classifier, tensors, source=f"{spec.name}, {said}{licence}", origin=str(path))


def _from_hub(spec: BackboneSpec, *, only_ask: bool = False) -> Path:
    """The file as the hub's client keeps it; WeightsError, with the page of a gated one."""
    known = spec.encoder
    gated = known.page if known and known.gated else ""
    revision = known.revision if known else ""
    fix = (
        f"put {spec.timm_name}.safetensors into the folder that you name in {WEIGHTS_SETTING}, or "
        "give a file with --weights PATH"
    )
    try:
        if spec.origin.startswith(HUB):
            _require_hub(spec.origin.removeprefix(HUB))
        if only_ask:
            return Path(spec.origin)
        found = (find_file(spec.origin, f, revision=revision, gated=gated) for f in WEIGHTS)
        path = next((path for path in found if path is not None), None)
    except ConnectionError as error:
        ask = f"; ask for access at {gated} first" if gated else ""
        raise WeightsError(f"no weights of {spec.name!r} here ({error}): {fix}{ask}") from error
    except ModelError as error:
        raise WeightsError(f"no weights of {spec.name!r}: {error}. Or {fix}") from error
    if path is None:
        raise WeightsError(f"{spec.origin} holds none of {', '.join(WEIGHTS)}; {fix}")
    return path


def require_weights(classifier: Classifier, source: str) -> str:
    """Where ``initialise`` would take its weights from, in words; nothing is downloaded.

    Raises:
        ModelError: as ``initialise``; a hub that answers is taken to have them.
    """
    spec = classifier.spec
    name = spec.timm_name
    if spec.origin and source == "imagenet" and not weights_file(spec, source):
        return str(_from_hub(spec, only_ask=True))
    if source != "imagenet" or name == INCEPTION_HER2 or weights_file(classifier.spec, source):
        return initialise(classifier, source).source
    _download(name, only_ask=True)
    return "timm's hub"


def load_classifier(run: Run, *, device: str = "cpu") -> Classifier:
    """The PyTorch network of a Run, on ``device`` and ready to predict (``eval`` mode).

    Raises:
        ModelError: the Run is made of members or exported, or its weights are missing, changed or
            do not fit; the message names the folder.
    """
    if run.record.inside:
        raise ModelError(
            f"{run.folder}: made of {len(run.record.inside)} Runs and has no weights of its own; "
            "load each of its members"
        )
    if run.graph:
        raise ModelError(
            f"{run.folder}: an exported Run, a graph without PyTorch weights; give the Run that it "
            "was exported from"
        )
    run.require_files()
    return open_weights(run.weights_path, run.record, device=device).classifier


def weights_file(spec: BackboneSpec, source: str) -> Path | None:
    """The file that ``initialise`` reads for a backbone; None for random weights or timm's hub.

    Raises:
        ModelError: EOSIN_WEIGHTS names no folder.
    """
    if source in ("none", "own"):
        return None
    if source != "imagenet":
        return Path(source).expanduser()
    if spec.origin and not spec.origin.startswith(HUB):
        return find_file(spec.origin, WEIGHTS[0])
    return local_file(spec.timm_name)


def _download(name: str, *, only_ask: bool = False) -> dict[str, torch.Tensor]:
    import timm

    try:
        _require_hub(getattr(timm.models.get_pretrained_cfg(name), "hf_hub_id", None) or "")
        if only_ask:
            return {}
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client raises OSError, RuntimeError, httpx's own, ...
        raise WeightsError(
            f"no ImageNet weights of {name!r} from timm's hub ({type(error).__name__}: {error}). "
            f"Give a file with --weights PATH, name a folder that holds {name}.safetensors in "
            f"{WEIGHTS_SETTING}, or start from random weights with --weights none."
        ) from error
    return dict(network.state_dict())


def _require_hub(repository: str) -> None:
    """ConnectionError, after one retry, where weights must come from a hub that does not answer:
    left alone its client retries for a minute.
    """
    from huggingface_hub import constants, get_session, hf_hub_url, try_to_load_from_cache

    kept = (try_to_load_from_cache(repository, name) for name in WEIGHTS)
    if not repository or any(isinstance(path, str) for path in kept):
        return
    for last in (False, True):
        try:
            get_session().head(hf_hub_url(repository, WEIGHTS[0]), timeout=_PATIENCE)
            return
        except Exception as error:  # httpx's, or requests': each client's version has its own
            if last:
                reason = f"{constants.ENDPOINT} does not answer, {type(error).__name__}: {error}"
                raise ConnectionError(reason) from error


def _fill(
    classifier: Classifier, tensors: Mapping[str, torch.Tensor], *, source: str, origin: str
) -> WeightsReport:
    backbone = classifier.backbone
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    # Files written by old PyTorch lack the step counters, and nothing reads them afterwards.
    counters = {name: before[name] for name in before if name.endswith("num_batches_tracked")}
    own = {name: tensors[name] for name in before.keys() & tensors.keys()}
    unexpected = _unexpected(classifier, tensors.keys() - before.keys())
    strict = dict.fromkeys(unexpected, torch.empty(0)) if classifier.spec.origin else {}
    fix = "want a whole file in timm's key layout; it and --backbone belong together"
    set_tensors(backbone, {**counters, **own, **strict}, origin, name=classifier.spec.name, fix=fix)
    after = backbone.state_dict()
    kept = [name for name in own if torch.equal(before[name], after[name])]
    drawn = [name for name in kept if before[name].unique().numel() > 2]  # the others begin at 0, 1
    if drawn and classifier.spec.origin:
        raise ModelError(f"{origin}: {first_ten(drawn)} still at their random values; {fix}")
    changed = len(own) - len(kept)
    if not changed:
        raise ModelError(
            f"{origin}: of {len(own)} tensors 0 changed; the file holds untrained weights"
        )
    return WeightsReport(
        source=source,
        loaded=len(own),
        missing=tuple(sorted(before.keys() - own.keys())),
        unexpected=unexpected,
        changed=changed,
    )


def _unexpected(classifier: Classifier, names: set[str]) -> tuple[str, ...]:
    heads = getattr(classifier.backbone, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{h}." for h in ((heads,) if isinstance(heads, str) else heads))
    return tuple(sorted(name for name in names if not name.startswith(prefixes)))
