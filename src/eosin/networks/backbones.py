"""Which backbones there are: timm's, the study's, encoders, published ones. No network here.

A name may end in ``@stride8``: the network cut off after its last map of that stride, in input
pixels from one pixel of the map to the next. Early maps see texture and stain, late ones whole
objects; on few patients the early ones can carry further (Lu et al. 2021 cut their ResNet-50 at
stride 16). With ``@stride4+8+16`` one pass gives the maps of all these strides, side by side.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Fit,
    Interpolation,
    Preprocessing,
)
from eosin.errors import ConfigError, ModelError
from eosin.networks.encoders import ENCODERS, HUB, Arguments, Encoder, Pooling, find_encoder
from eosin.networks.published import Design, read_design, rgb

if TYPE_CHECKING:
    from torch import nn

INCEPTION_HER2 = "inception_her2"
_CUT = re.compile(r"(?P<whole>.+)@stride(?P<stride>\d+(\+\d+)*)", re.IGNORECASE)

# The ten of the study: alias -> (timm name, native side in pixels; Tan & Le 2019 and 2021).
STUDY_BACKBONES: dict[str, tuple[str, int]] = {
    "efficientnetv1-b0": ("efficientnet_b0", 224),
    "efficientnetv1-b1": ("efficientnet_b1", 240),
    "efficientnetv1-b2": ("efficientnet_b2", 260),
    "efficientnetv1-b3": ("efficientnet_b3", 300),
    "efficientnetv1-b4": ("efficientnet_b4", 380),
    "efficientnetv2-b0": ("tf_efficientnetv2_b0", 224),
    "efficientnetv2-b1": ("tf_efficientnetv2_b1", 240),
    "efficientnetv2-b2": ("tf_efficientnetv2_b2", 260),
    "efficientnetv2-b3": ("tf_efficientnetv2_b3", 300),
    "efficientnetv2-s": ("tf_efficientnetv2_s", 384),
}
_STUDY_SIZES = dict(STUDY_BACKBONES.values())
_FAMILIES = {"efficientnetv1": "efficientnetv1-b0", "efficientnetv2": "efficientnetv2-b0"}


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """What is known of a backbone before it is built."""

    # timm's name, ``"inception_her2"``, an encoder's, ``"hf-hub:OWNER/NAME"`` or a folder; with
    # ``@strideN`` where it is cut off early
    name: str
    size: int  # native side of the square input, in pixels
    # of the RGB channels in [0, 1] that its ImageNet weights expect
    mean: tuple[float, float, float]
    std: tuple[float, float, float]  # the same for the standard deviation
    # the design it belongs to, e.g. ``"EfficientNetV2"``
    family: str
    fixed_size: bool = False  # whether it takes its native size only
    # of the map after which it is cut off, in input pixels; None for the whole network
    stride: int | None = None
    earlier: tuple[int, ...] = ()  # strides of maps before that one that count beside it
    architecture: str = ""  # timm's name, where ``name`` is none
    arguments: Arguments = ()  # what timm is told beside it
    pooling: Pooling = "timm"  # how tokens become features; ``"timm"`` for as timm pools
    interpolation: Interpolation = "area"  # of its preprocessing
    # where its weights are published: ``"hf-hub:OWNER/NAME"`` or a folder; empty for timm's own
    origin: str = ""

    @property
    def timm_name(self) -> str:
        """The name of the whole network, for files of weights and, without an origin, for timm."""
        return self.name if self.origin else self.name.partition("@")[0]

    @property
    def encoder(self) -> Encoder | None:
        """Its row in the table of encoders, where it has one."""
        return ENCODERS.get(self.name)

    def to_json(self) -> str:
        """Itself as text, for the file of weights of a network that no table here describes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BackboneSpec:
        """What ``to_json`` wrote; ModelError where it is anything else."""
        try:
            fields = json.loads(text)
            fields.pop("earlier")  # none: what is published is not cut
            pairs = tuple((str(name), value) for name, value in fields.pop("arguments"))
            mean, std = rgb(fields.pop("mean")), rgb(fields.pop("std"))
            return cls(**fields, mean=mean, std=std, arguments=pairs)
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise ModelError(f"no description of a network: {text[:80]!r} ({fault})") from fault

    def preprocessing(
        self, *, size: int | None = None, fit: Fit = "stretch", normalised: bool = True
    ) -> Preprocessing:
        """How images become its input, at ``size`` pixels or (None) at its native size.

        Without ``normalised`` pixels are scaled to [0, 1] and no further.

        Raises:
            ConfigError: the backbone takes its native size only, or the size is out of range.
        """
        if self.fixed_size and size not in (None, self.size):
            raise ConfigError(
                f"backbone {self.name!r} takes images of {self.size} pixels only, not {size}; "
                "leave the image size out"
            )
        mean, std = (self.mean, self.std) if normalised else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        how = self.interpolation
        return Preprocessing(size=size or self.size, fit=fit, mean=mean, std=std, interpolation=how)


_OWN: dict[str, tuple[BackboneSpec, nn.Module]] = {}


def register_backbone(
    name: str,
    module: nn.Module,
    *,
    size: int = 224,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> None:
    """Make a torch module of your own a backbone of this name, for this process.

    Each training starts from a copy of it as it is now, its weights included: say
    ``weights="own"``. A Run keeps the name and the weights, not the design: register a module of
    the same design before such a Run is used elsewhere.

    Args:
        name: what ``backbone`` is then called; an earlier module of this name is replaced.
        module: images (N, 3, size, size) to features (N, C), or to a map (N, C, h, w), whose
            average is the features and which heatmaps can be drawn of.
        size: side of its input, in pixels.
        mean: of each RGB channel in [0, 1] that it expects.
        std: the same for the standard deviation.

    Raises:
        ConfigError: the name is one of timm's, of the study's or of an encoder, or has an @.
    """
    import timm

    known = {*STUDY_BACKBONES, *_FAMILIES, *ENCODERS, INCEPTION_HER2}
    if name.lower() in known or "@" in name or timm.is_model(name):
        raise ConfigError(f"backbone {name!r}: the name is taken, or has an @; use another")
    _OWN[name] = BackboneSpec(name, size, mean, std, family=type(module).__name__), module


def own_module(name: str) -> nn.Module | None:
    """The module that was registered under this name."""
    return _OWN[name][1] if name in _OWN else None


def resolve_backbone(name: str) -> BackboneSpec:
    """Look a backbone up by alias (``"efficientnetv2-b0"``), timm name or ``"inception_her2"``.

    The name of a family alone, ``"EfficientNetV2"``, is its b0: ``family_note`` says so. Either of
    the first two may be cut off early: ``"efficientnetv2-b0@stride8"``. The ten of the
    study have their published native sizes; any other timm name has the test size of its default
    weights. Also a name of ``ENCODERS``, ``"hf-hub:OWNER/NAME"``, and a folder with a
    ``config.json`` and weights, of timm's or transformers' making.

    Raises:
        ModelError: no such backbone; the message names the nearest ones.
    """
    if name in _OWN:
        return _OWN[name][0]
    cut = _CUT.fullmatch(name.strip())
    if cut is not None:
        whole = resolve_backbone(cut["whole"])
        if whole.name == INCEPTION_HER2:
            raise ModelError(f"backbone {name!r}: {INCEPTION_HER2} is trained whole, not cut off")
        strides = sorted({int(stride) for stride in cut["stride"].split("+")})
        named = f"{whole.name}@stride{'+'.join(map(str, strides))}"
        return replace(whole, name=named, stride=strides[-1], earlier=tuple(strides[:-1]))
    wanted = _FAMILIES.get(name.strip().lower(), name.strip().lower())
    if wanted == INCEPTION_HER2:
        return BackboneSpec(INCEPTION_HER2, 299, IMAGENET_MEAN, IMAGENET_STD, "InceptionHER2")
    encoder = find_encoder(name)
    if encoder is not None:
        return _of_design(encoder.name, encoder, origin=f"{HUB}{encoder.hub}")
    if wanted.startswith(HUB) or (Path(name).expanduser() / "config.json").is_file():
        return _published(name.strip())
    timm_name, _ = STUDY_BACKBONES.get(wanted, (name.strip(), 0))
    return _from_timm(timm_name, asked=name)


def family_note(name: str) -> str:
    """A sentence on which network is meant where ``name`` is that of a family; else nothing."""
    whole = name.strip().lower().partition("@")[0]
    if whole not in _FAMILIES:
        return ""
    chosen = resolve_backbone(name)
    return f"{name.strip()} is a family of networks; its b0 is taken: {chosen.name}."


def _from_timm(name: str, *, asked: str) -> BackboneSpec:
    import timm

    try:
        known = timm.is_model(name) and timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # timm's word for an unknown tag after the dot
        raise ModelError(f"backbone {asked!r}: {error} Leave the tag out.") from error
    if not known:
        own = "one of your own is registered first: eosin.register_backbone"
        raise ModelError(f"unknown backbone {asked!r}; {_nearest(asked)}; {own}")
    architecture = name.partition(".")[0]
    native = (known.test_input_size or known.input_size)[-1]
    return BackboneSpec(
        name=name,
        size=_STUDY_SIZES.get(architecture, int(native)),
        mean=rgb(known.mean),
        std=rgb(known.std),
        family=_family(architecture),
        fixed_size=bool(known.fixed_input_size),
    )


def _published(origin: str) -> BackboneSpec:
    """Of the hub or a folder."""
    origin = origin if origin.startswith(HUB) else str(Path(origin).expanduser().absolute())
    return _of_design(origin, read_design(origin), origin=origin)


def _of_design(name: str, design: Encoder | Design, *, origin: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        size=design.size,
        mean=design.mean,
        std=design.std,
        family=_family(design.architecture),
        fixed_size=True,
        architecture=design.architecture,
        arguments=design.arguments,
        pooling=design.pooling,
        interpolation=design.interpolation,
        origin=origin,
    )


def _nearest(asked: str) -> str:
    import timm

    names = [*STUDY_BACKBONES, INCEPTION_HER2, *ENCODERS, *timm.list_models()]
    close = difflib.get_close_matches(asked.lower(), names, n=4, cutoff=0.5)
    if close:
        return f"the nearest names are {', '.join(close)}"
    return f"want a timm name, {INCEPTION_HER2!r}, or one of {', '.join(STUDY_BACKBONES)}"


def _family(architecture: str) -> str:
    if re.match(r"(tf_)?efficientnetv2_", architecture):
        return "EfficientNetV2"
    if re.match(r"(tf_)?efficientnet_b\d", architecture):
        return "EfficientNetV1"
    import timm

    if not timm.is_model(architecture):
        raise ModelError(f"timm has no architecture {architecture!r}; a newer timm may have it")
    return str(timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2])
