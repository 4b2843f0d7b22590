"""The one preprocessing: from an RGB image to what a network takes in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

Fit = Literal["stretch", "crop"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes network input; stored in the Run and used by every room.

    Attributes:
        size: side of the square input, in pixels.
        fit: ``"stretch"`` scales the whole image to the square, ``"crop"`` scales the shorter
            side and keeps the middle.
        mean: subtracted from each RGB channel after scaling to [0, 1].
        std: divides each channel after that.
    """

    size: int = 224
    fit: Fit = "stretch"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise ConfigError(f"image size {self.size} is outside 16 to 4096 pixels")
        if self.fit not in get_args(Fit):
            raise ConfigError(f"fit {self.fit!r} is unknown; want one of {list(get_args(Fit))}")
        if min(self.std) <= 0:
            raise ConfigError(f"std {self.std} must be positive")

    def to_dict(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """Read what ``to_dict`` wrote; ConfigError where a value is out of range."""
        try:
            return cls(
                size=int(str(fields["size"])),
                fit=fields["fit"],  # type: ignore[arg-type]  # checked in __post_init__
                mean=_triple(fields["mean"]),
                std=_triple(fields["std"]),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"not a preprocessing: {dict(fields)} ({error})") from error


def resize(image: npt.NDArray[np.uint8], spec: Preprocessing) -> npt.NDArray[np.uint8]:
    """Bring an RGB image (height, width, 3) to (size, size, 3), averaging where it shrinks."""
    import cv2

    if spec.fit == "crop":
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    shrinking = min(image.shape[:2]) >= spec.size
    method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    resized = cv2.resize(image, (spec.size, spec.size), interpolation=method)
    return resized.astype("uint8", copy=False)


def normalise(image: npt.NDArray[np.uint8], spec: Preprocessing) -> npt.NDArray[np.float32]:
    """Bytes (size, size, 3) scaled to [0, 1], less mean, over std, as (3, size, size)."""
    import numpy as np

    scale = 1.0 / (255.0 * np.asarray(spec.std, np.float32))
    shift = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    channels_last = image * scale.astype(np.float32) - shift
    return np.ascontiguousarray(channels_last.transpose(2, 0, 1), dtype=np.float32)


def prepare(image: npt.NDArray[np.uint8], spec: Preprocessing) -> npt.NDArray[np.float32]:
    """Network input (3, size, size) from an RGB image (height, width, 3)."""
    return normalise(resize(image, spec), spec)


def _triple(values: object) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ValueError(f"want three numbers, got {values!r}")
    red, green, blue = (float(value) for value in values)
    return red, green, blue
