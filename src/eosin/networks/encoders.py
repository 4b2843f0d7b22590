"""Pathology encoders by name: one table of what each is, whatever a checkpoint says of itself.

Every entry was compared with two sources: the model's own card, as slide2vec (7cfa6bf) or TRIDENT
(0120b8b) pass it to timm, and eva (73b61a7) or lazyslide-models (0f9db22), which give licences,
widths and parameters. No source states a commit of the weights themselves: ``revision`` is empty
until somebody who has them confirms one, and what the hub then gives is named in the Run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from eosin.artefacts.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Triple

Pooling: TypeAlias = Literal["timm", "cls", "cls+mean"]
Arguments: TypeAlias = tuple[tuple[str, float | bool | str], ...]

HUB = "hf-hub:"  # before OWNER/NAME
_NC, _ND = "non-commercial", "CC-BY-NC-ND-4.0"
_HALF: Triple = (0.5, 0.5, 0.5)
# SwiGLU as timm packs it, its width as DINOv2 counts it; ``swiglu`` stands for classes of timm's.
_SWIGLU: Arguments = (("swiglu", True), ("mlp_ratio", 5.33334))
_DINOV2: Arguments = (("img_size", 224), ("init_values", 1e-5))


@dataclass(frozen=True, slots=True)
class Encoder:
    """One pathology encoder."""

    name: str  # what ``--backbone`` takes
    hub: str  # OWNER/NAME on the Hugging Face hub
    architecture: str  # timm's name for it
    arguments: Arguments  # what timm is told beside it
    width: int  # features an image
    millions: float  # parameters, as published
    licence: str
    gated: bool  # whether the owner must grant access
    pooling: Pooling = "cls"
    registers: int = 0  # tokens that are neither the class's nor a patch's
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    interpolation: Interpolation = "bicubic"
    size: int = 224  # side of the input, in pixels
    mpp: float = 0.5  # um a pixel that it was trained at
    revision: str = ""  # commit on the hub; empty where no source states one

    @property
    def page(self) -> str:
        """Where its card is, and where access is asked for."""
        return f"https://huggingface.co/{self.hub}"

    @property
    def design(self) -> str:
        """As papers write it, e.g. ``"ViT-L/16"``, with the number of its registers."""
        _, side, patch, *_ = self.architecture.split("_")
        letter = side[0] if side == "giant" else side[0].upper()
        pixels = dict(self.arguments).get("patch_size", patch.removeprefix("patch"))
        return f"ViT-{letter}/{pixels}" + (f" reg{self.registers}" if self.registers else "")


_VIRCHOW = Encoder(
    name="virchow",
    hub="paige-ai/Virchow",
    architecture="vit_huge_patch14_224",
    arguments=(("init_values", 1e-5), ("mlp_ratio", 5.3375), ("swiglu", True)),
    width=2560,
    millions=631,
    licence="Apache-2.0",
    gated=True,
    pooling="cls+mean",
)
_H_OPTIMUS = Encoder(
    name="h-optimus-0",
    hub="bioptimus/H-optimus-0",
    architecture="vit_giant_patch14_reg4_dinov2",
    arguments=_DINOV2,
    width=1536,
    millions=1135,
    licence="Apache-2.0",
    gated=False,
    registers=4,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
)
_KAIKO = Encoder(
    name="kaiko-s16",
    hub="1aurent/vit_small_patch16_224.kaiko_ai_towards_large_pathology_fms",
    architecture="vit_small_patch16_224",
    arguments=(),
    width=384,
    millions=21.7,
    licence=f"Kaiko {_NC}",
    gated=False,
    mean=_HALF,
    std=_HALF,
    interpolation="bilinear",
)
_LUNIT = Encoder(
    name="lunit-s16",
    hub="1aurent/vit_small_patch16_224.lunit_dino",
    architecture="vit_small_patch16_224",
    arguments=(),
    width=384,
    millions=21.7,
    licence=f"Lunit {_NC}",
    gated=False,
    mean=(0.70322989, 0.53606487, 0.66096631),  # the port's own card says ImageNet's, wrongly
    std=(0.21716536, 0.26081574, 0.20723464),
)
_HIBOU = Encoder(
    name="hibou-b",
    hub="histai/hibou-b",
    architecture="vit_base_patch14_reg4_dinov2",
    arguments=(*_DINOV2, *_SWIGLU),
    width=768,
    millions=85.7,
    licence="Apache-2.0",
    gated=True,
    registers=4,
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
)


def _kaiko(name: str, architecture: str, *, width: int, millions: float) -> Encoder:
    hub = f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms"
    named = replace(_KAIKO, name=name, hub=hub, architecture=architecture)
    return replace(named, width=width, millions=millions)


ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            name="uni",
            hub="MahmoodLab/UNI",
            architecture="vit_large_patch16_224",
            arguments=(("init_values", 1e-5),),
            width=1024,
            millions=303,
            licence=_ND,
            gated=True,
            interpolation="bilinear",
        ),
        Encoder(
            name="uni2-h",
            hub="MahmoodLab/UNI2-h",
            architecture="vit_giant_patch14_224",
            arguments=(
                *_DINOV2,
                *_SWIGLU,
                ("depth", 24),
                ("num_heads", 24),
                ("embed_dim", 1536),
                ("no_embed_class", True),
                ("reg_tokens", 8),
            ),
            width=1536,
            millions=681,
            licence=_ND,
            gated=True,
            registers=8,
            interpolation="bilinear",
        ),
        _VIRCHOW,
        replace(
            _VIRCHOW,
            name="virchow2",
            hub="paige-ai/Virchow2",
            arguments=(*_VIRCHOW.arguments, ("reg_tokens", 4)),
            licence=_ND,
            registers=4,
        ),
        _H_OPTIMUS,
        replace(
            _H_OPTIMUS, name="h-optimus-1", hub="bioptimus/H-optimus-1", licence=_ND, gated=True
        ),
        replace(
            _H_OPTIMUS,
            name="h0-mini",
            hub="bioptimus/H0-mini",
            architecture="vit_base_patch14_reg4_dinov2",
            arguments=(*_DINOV2, *_SWIGLU),
            width=1536,
            millions=86,
            licence=_ND,
            gated=True,
            pooling="cls+mean",
        ),
        Encoder(
            name="prov-gigapath",
            hub="prov-gigapath/prov-gigapath",
            architecture="vit_giant_patch14_dinov2",
            arguments=(*_DINOV2, ("patch_size", 16)),
            width=1536,
            millions=1135,
            licence="Apache-2.0 with conditions of use",
            gated=True,
        ),
        _KAIKO,
        _kaiko("kaiko-s8", "vit_small_patch8_224", width=384, millions=21.7),
        _kaiko("kaiko-b16", "vit_base_patch16_224", width=768, millions=85.8),
        _kaiko("kaiko-b8", "vit_base_patch8_224", width=768, millions=85.8),
        replace(
            _kaiko("kaiko-l14", "vit_large_patch14_reg4_dinov2", width=1024, millions=304),
            arguments=(("img_size", 518), ("dynamic_img_size", True)),
            registers=4,
        ),
        _LUNIT,
        replace(
            _LUNIT,
            name="lunit-s8",
            hub="1aurent/vit_small_patch8_224.lunit_dino",
            architecture="vit_small_patch8_224",
        ),
        Encoder(
            name="phikon",
            hub="owkin/phikon",
            architecture="vit_base_patch16_224",
            arguments=(("norm_eps", 1e-12),),  # as transformers' ViT has it
            width=768,
            millions=85.8,
            licence=f"Owkin {_NC}",
            gated=False,
            interpolation="bilinear",
        ),
        Encoder(
            name="phikon-v2",
            hub="owkin/phikon-v2",
            architecture="vit_large_patch16_224",
            arguments=(("init_values", 1e-5),),
            width=1024,
            millions=303,
            licence=f"Owkin {_NC}",
            gated=False,
        ),
        _HIBOU,
        replace(
            _HIBOU,
            name="hibou-l",
            hub="histai/hibou-L",
            architecture="vit_large_patch14_reg4_dinov2",
            arguments=(*_DINOV2, ("swiglu", True), ("mlp_ratio", 5472 / 1024)),
            width=1024,
            millions=303.7,
        ),
        Encoder(
            name="midnight",
            hub="kaiko-ai/midnight",
            architecture="vit_giant_patch14_dinov2",
            arguments=_DINOV2,
            width=3072,
            millions=1140,
            licence="MIT",
            gated=False,
            pooling="cls+mean",
            mean=_HALF,
            std=_HALF,
            interpolation="bilinear",
        ),
    )
}


def find_encoder(name: str) -> Encoder | None:
    """The encoder of a name, or of ``"hf-hub:OWNER/NAME"``; None where the table has none."""
    wanted = name.strip().lower()
    repository = wanted.removeprefix(HUB)
    of_hub = (e for e in ENCODERS.values() if e.hub.lower() == repository != wanted)
    return ENCODERS.get(wanted) or next(of_hub, None)
