"""From bytes in memory to network input on the device, the copy hidden behind earlier steps.

Bytes are a quarter of what floats would be; they are copied as they are and normalised where the
network is. On a GPU the copy starts from pinned memory and has a stream of its own, so that it runs
while the steps before it still compute. Scaling and shifting are two roundings, as in
``pixels.preprocessing.normalise``, so that the floats are the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from eosin.artefacts.preprocessing import Preprocessing
from eosin.pixels.preprocessing import scale_and_shift

if TYPE_CHECKING:
    from eosin.arrays import Ints
    from eosin.pixels.reading import UInt8Image


class Sender:
    """Brings images and labels to one device under one preprocessing."""

    def __init__(
        self, spec: Preprocessing, device: torch.device, *, layout: torch.memory_format
    ) -> None:
        """``layout`` is that of the network input."""
        self._device, self._layout = device, layout
        # A row of pixels at a time: three channels alone are too short for vector instructions.
        scale, shift = (
            torch.from_numpy(of_channel).repeat(spec.size) for of_channel in scale_and_shift(spec)
        )
        self._scale, self._shift = scale.to(device), shift.to(device)
        self._copies = _copy_stream(device) if device.type == "cuda" else None

    def images(self, images: UInt8Image) -> torch.Tensor:
        """Network input (n, 3, size, size) of bytes (n, size, size, 3)."""
        count, side = images.shape[:2]
        sent = self._send(torch.from_numpy(images)).view(count, side, 3 * side)
        floats = sent.to(torch.float32).mul_(self._scale).sub_(self._shift)
        channels_last = floats.view(count, side, side, 3).permute(0, 3, 1, 2)
        return channels_last.contiguous(memory_format=self._layout)

    def labels(self, labels: Ints) -> torch.Tensor:
        """Class indices (n,) on the device."""
        return self._send(torch.from_numpy(labels))

    def _send(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._copies is None:
            return tensor.to(self._device)
        using = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):
            sent = tensor.pin_memory().to(self._device, non_blocking=True)
        using.wait_stream(self._copies)
        sent.record_stream(using)  # or its memory could be given away before it was read
        return sent


def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
