"""The one preprocessing: from an RGB image to what a network takes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args

from eosin.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.pixels.stain_normalizer import Source
    from eosin.pixels.stain_step import StainStep

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
        stain: brings the image to the stain of a target, before anything else; or None.
    """

    size: int = 224
    fit: Fit = "stretch"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    stain: StainStep | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise ConfigError(f"image size {self.size} is outside 16 to 4096 pixels")
        if self.fit not in get_args(Fit):
            raise ConfigError(f"fit {self.fit!r} is unknown; want one of {list(get_args(Fit))}")
        if min(self.std) <= 0:
            raise ConfigError(f"std {self.std} must be positive")

    def to_dict(self) -> dict[str, object]:
        """The settings as plain JSON values; ``stain`` is left out where there is none."""
        plain: dict[str, object] = {
            "size": self.size,
            "fit": self.fit,
            "mean": list(self.mean),
            "std": list(self.std),
        }
        return plain if self.stain is None else {**plain, "stain": self.stain.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """Read what ``to_dict`` wrote; ConfigError where a value is out of range."""
        try:
            return cls(
                size=int(str(fields["size"])),
                fit=fields["fit"],  # type: ignore[arg-type]  # checked in __post_init__
                mean=_triple(fields["mean"]),
                std=_triple(fields["std"]),
                stain=_stain_step(fields.get("stain")),
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


def normalise(
    image: npt.NDArray[np.uint8],
    spec: Preprocessing,
    *,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Bytes (size, size, 3) scaled to [0, 1], less mean, over std, as (3, size, size).

    ``out``, of that shape, is filled and returned where it is given.
    """
    import numpy as np

    scale, shift = scale_and_shift(spec)
    planes = np.empty((3, *image.shape[:2]), np.float32) if out is None else out
    for channel, plane in enumerate(planes):  # by channel: several times as fast as by pixel
        np.multiply(image[:, :, channel], scale[channel], out=plane)
        plane -= shift[channel]
    return planes


def scale_and_shift(
    spec: Preprocessing,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What ``normalise`` multiplies bytes by and then takes away, of each channel, shape (3,)."""
    import numpy as np

    std = np.asarray(spec.std, np.float32)
    scale = 1.0 / (255.0 * std)
    return scale.astype(np.float32), np.asarray(spec.mean, np.float32) / std


def view(
    image: npt.NDArray[np.uint8], spec: Preprocessing, *, source: Source | None = None
) -> npt.NDArray[np.uint8]:
    """What a network sees, as bytes (size, size, 3): the image in the target's stain, resized.

    The stain comes before the size: its estimate then rests on every pixel that the camera saw,
    and is the same for a network of 224 pixels and one of 384.

    Args:
        image: (height, width, 3) RGB bytes.
        spec: the preprocessing.
        source: the stain of the image's patient, for a step ``per`` patient; None takes the
            image's own.
    """
    return view_with_note(image, spec, source=source)[0]


def prepare(
    image: npt.NDArray[np.uint8], spec: Preprocessing, *, source: Source | None = None
) -> npt.NDArray[np.float32]:
    """Network input (3, size, size) from an RGB image (height, width, 3); ``source`` as in view."""
    return normalise(view(image, spec, source=source), spec)


def view_with_note(
    image: npt.NDArray[np.uint8], spec: Preprocessing, *, source: Source | None = None
) -> tuple[npt.NDArray[np.uint8], str]:
    """``view``, and what a table should record of its stain: a reason code, or nothing."""
    if spec.stain is None:
        return resize(image, spec), ""
    stained = spec.stain.apply(image, source=source)
    return resize(stained.image, spec), spec.stain.note(stained, source=source)


def _stain_step(fields: object) -> StainStep | None:
    if fields is None:
        return None
    from eosin.pixels.stain_step import StainStep

    if not isinstance(fields, Mapping):
        raise TypeError(f"want a stain step, got {fields!r}")
    return StainStep.from_dict(fields)


def _triple(values: object) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ValueError(f"want three numbers, got {values!r}")
    red, green, blue = (float(value) for value in values)
    return red, green, blue
