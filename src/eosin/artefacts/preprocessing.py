"""How an image becomes network input, as a Run keeps it: size, fit, normalisation, stain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from eosin.artefacts.values import Positive
from eosin.errors import ConfigError

Fit = Literal["stretch", "crop"]
Per = Literal["image", "patient"]
Interpolation = Literal["area", "bilinear", "bicubic"]
Triple: TypeAlias = tuple[float, float, float]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FEWEST_DEGREES = 2.0  # stains closer than this cannot be told apart
LEAST_CONCENTRATION = 0.02


@dataclass(frozen=True, slots=True)
class StainTarget:
    """The two stains that images are brought to.

    Attributes:
        stain_matrix: unit optical density of haematoxylin, then eosin, in red, green, blue.
        max_concentration: pseudo-maximum of each stain, the 99th percentile of all pixels.
    """

    stain_matrix: tuple[Triple, Triple]
    max_concentration: tuple[float, float]

    def __post_init__(self) -> None:
        first, second = self.stain_matrix
        if any(abs(math.hypot(*stain) - 1) > 1e-3 for stain in self.stain_matrix):
            raise ConfigError(f"stains {self.stain_matrix} are not of unit length")
        cosine = sum(one * other for one, other in zip(first, second, strict=True))
        if cosine >= math.cos(math.radians(FEWEST_DEGREES)):
            raise ConfigError(f"stains {self.stain_matrix} are not two separable ones")
        if min(self.max_concentration) < LEAST_CONCENTRATION:
            raise ConfigError(
                f"max_concentration {self.max_concentration} is below {LEAST_CONCENTRATION}"
            )


@dataclass(frozen=True, slots=True)
class ColourTarget:
    """Mean and standard deviation of the target's tissue in L*, a*, b*."""

    mean: Triple
    spread: tuple[Positive, Positive, Positive]


@dataclass(frozen=True, slots=True)
class ReinhardStep:
    """Tissue brought to the target's colours (Reinhard et al. 2001), by image or by patient."""

    target: ColourTarget
    per: Per = "image"
    method: Literal["reinhard"] = "reinhard"


@dataclass(frozen=True, slots=True)
class MacenkoStep:
    """Stains brought to the target's (Macenko et al. 2009); ``beta``, ``alpha`` as in Macenko."""

    target: StainTarget
    beta: Annotated[float, Field(ge=0, le=1)]
    alpha: Annotated[float, Field(ge=0, le=25)]
    per: Per = "image"
    method: Literal["macenko"] = "macenko"


@dataclass(frozen=True, slots=True)
class VahadaneStep:
    """Stains brought to the target's (Vahadane et al. 2016); ``penalty`` as in Vahadane."""

    target: StainTarget
    penalty: Annotated[float, Field(ge=0, le=1)]
    per: Per = "image"
    method: Literal["vahadane"] = "vahadane"


StainStep: TypeAlias = ReinhardStep | MacenkoStep | VahadaneStep


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes network input; stored in the Run and used by every room."""

    size: int = 224  # side of the square input, in pixels
    # ``"stretch"`` scales the whole image to the square, ``"crop"`` scales the shorter side and
    # keeps the middle
    fit: Fit = "stretch"
    mean: Triple = IMAGENET_MEAN  # subtracted from each RGB channel after scaling to [0, 1]
    std: tuple[Positive, Positive, Positive] = IMAGENET_STD  # divides each channel after that
    # brings the image to the stain of a target, before anything else; or None
    stain: Annotated[StainStep, Field(discriminator="method")] | None = None
    # ``"area"`` averages where an image shrinks, as OpenCV does; the others are Pillow's, which
    # encoders were trained with
    interpolation: Interpolation = "area"

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise ConfigError(f"image size {self.size} is outside 16 to 4096 pixels")
        if self.fit not in get_args(Fit):
            raise ConfigError(f"fit {self.fit!r} is unknown; want one of {list(get_args(Fit))}")
        if self.interpolation not in get_args(Interpolation):
            known = list(get_args(Interpolation))
            raise ConfigError(
                f"interpolation {self.interpolation!r} is unknown; want one of {known}"
            )
        if min(self.std) <= 0:
            raise ConfigError(f"std {self.std} must be positive")
        if self.stain is not None and self.stain.per not in get_args(Per):
            raise ConfigError(f"stain per {self.stain.per!r}: want one of {list(get_args(Per))}")

    @model_serializer(mode="wrap")
    def _area_goes_unsaid(self, written: SerializerFunctionWrapHandler) -> dict[str, object]:
        """As JSON; ``"area"`` is left out, for Runs were written before there was another."""
        fields: dict[str, object] = written(self)
        return {k: v for k, v in fields.items() if (k, v) != ("interpolation", "area")}
