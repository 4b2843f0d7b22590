"""The one preprocessing: from an RGB image to what a network takes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eosin.arrays import Floats32, UInt8Image
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.pixels.stain_normalizer import Source


def resize(image: UInt8Image, spec: Preprocessing) -> UInt8Image:
    """An RGB image (height, width, 3) as (size, size, 3), by the spec's fit and interpolation."""
    import cv2
    import numpy as np

    if spec.fit == "crop":
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    if spec.interpolation != "area":
        from PIL import Image

        how = Image.Resampling[spec.interpolation.upper()]
        square = Image.fromarray(image).resize((spec.size, spec.size), how)
        return np.array(square, np.uint8)
    shrinking = min(image.shape[:2]) >= spec.size
    method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    resized = cv2.resize(image, (spec.size, spec.size), interpolation=method)
    return resized.astype("uint8", copy=False)


def normalise(image: UInt8Image, spec: Preprocessing, *, out: Floats32 | None = None) -> Floats32:
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


def scale_and_shift(spec: Preprocessing) -> tuple[Floats32, Floats32]:
    """What ``normalise`` multiplies bytes by and then takes away, of each channel, shape (3,)."""
    import numpy as np

    std = np.asarray(spec.std, np.float32)
    scale = 1.0 / (255.0 * std)
    return scale.astype(np.float32), np.asarray(spec.mean, np.float32) / std


def view(image: UInt8Image, spec: Preprocessing, *, source: Source | None = None) -> UInt8Image:
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


def prepare(image: UInt8Image, spec: Preprocessing, *, source: Source | None = None) -> Floats32:
    """Network input (3, size, size) from an RGB image (height, width, 3); ``source`` as in view."""
    return normalise(view(image, spec, source=source), spec)


def view_with_note(
    image: UInt8Image, spec: Preprocessing, *, source: Source | None = None
) -> tuple[UInt8Image, str]:
    """``view``, and what a table should record of its stain: a reason code, or nothing."""
    if spec.stain is None:
        return resize(image, spec), ""
    from eosin.pixels.stain_step import apply_stain, stain_note

    stained = apply_stain(spec.stain, image, source=source)
    return resize(stained.image, spec), stain_note(spec.stain, stained, source=source)
