"""The stain step of the preprocessing: a fitted normalizer, and whose stain it starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from eosin.errors import ConfigError
from eosin.pixels.reading import UInt8Image
from eosin.pixels.stain import normalizer_from_dict
from eosin.pixels.stain_normalizer import Source, StainNormalizer, StainResult

Per = Literal["image", "patient"]
# Said of an image whose patient's stain is not known, and that was changed from its own instead.
OWN_STAIN: Final = "own-stain"


@dataclass(frozen=True, slots=True, eq=False)
class StainStep:
    """A fitted normalizer as a Run keeps it; two steps are equal where their JSON is.

    Attributes:
        normalizer: fitted, so that it knows its target.
        per: ``"image"`` estimates the stain of every image by itself, ``"patient"`` that of all
            of a patient's images together.
    """

    normalizer: StainNormalizer
    per: Per = "image"

    def __post_init__(self) -> None:
        if self.per not in get_args(Per):
            raise ConfigError(f"stain per {self.per!r} is unknown; want one of {get_args(Per)}")
        _ = self.normalizer.target_  # ConfigError before it is fitted

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StainStep) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def apply(self, image: UInt8Image, *, source: Source | None = None) -> StainResult:
        """The image in the target's stain, or unchanged with the reason.

        Args:
            image: (height, width, 3) RGB bytes, at its original resolution.
            source: the stain of the image's patient; None takes the image's own.
        """
        return self.normalizer.transform_with_reason(image, source=source)

    def note(self, result: StainResult, *, source: Source | None = None) -> str:
        """What a table records of ``apply``: a reason code, ``"own-stain"``, or nothing."""
        if result.reason is not None:
            return result.reason.value
        return OWN_STAIN if self.per == "patient" and source is None else ""

    def to_dict(self) -> dict[str, object]:
        """The step as plain JSON values."""
        return {"per": self.per, **self.normalizer.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """Read what ``to_dict`` wrote; ConfigError where it is not a stain step."""
        per = fields.get("per")
        return cls(normalizer_from_dict(fields), per)  # type: ignore[arg-type]  # checked above
