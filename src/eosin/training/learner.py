"""The part of a training that lives on the device: network, averaged weights, optimiser."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from eosin.networks.tensors import own_tensors
from eosin.pixels.preprocessing import scale_and_shift
from eosin.training.optimisation import (
    class_weights,
    half_precision,
    make_optimizer,
    set_training,
    trained_batchnorms,
)
from eosin.training.partial import add_adapters
from eosin.training.ranks import ranks, summed, synchronised, taught_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Floats32, Ints
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.classifier import Classifier
    from eosin.pixels.reading import UInt8Image
    from eosin.training.config import TrainingConfig


class Learner:
    """A network that learns a batch at a time.

    Attributes:
        network: what learns.
        device: where it lives.
    """

    def __init__(
        self,
        network: Classifier,
        config: TrainingConfig,
        *,
        device: torch.device,
        labels: Ints,
        spec: Preprocessing,
    ) -> None:
        """``labels`` are those of the training images: the class weights come from them.

        Raises:
            ConfigError: the device does not compute in the precision that the settings name, or
                as ``set_training`` and ``add_adapters``.
        """
        self._half = half_precision(config, device)
        if config.adapters:
            add_adapters(network, config.adapters, seed=config.seed, size=spec.size)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.device = device
        self.network = network.to(device).to(memory_format=layout)
        self._sender = Sender(spec, device, layout=layout)
        set_training(self.network, config)
        if trained_batchnorms(self.network):
            self.network.backbone = synchronised(self.network.backbone)
        self._average = MovingAverage(self.network) if config.ema else None
        self._config = config
        self._optimizer = make_optimizer(self.network, config)
        self._weights: torch.Tensor | None = None
        self._counts = np.zeros(0, np.float32)  # of each class; empty where all count alike
        if config.class_weights == "balanced":
            self._counts = class_weights(labels, classes=_outputs(network))
            self._weights = torch.from_numpy(self._counts).to(device)
        self._shared = taught_together(self.network, size=spec.size)
        # The compiled one shares its weights with the network, which is kept under its own names.
        self._forward = torch.compile(self._shared) if config.torch_compile else self._shared
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._half is torch.float16)

    @property
    def averaged(self) -> Classifier | None:
        """The network's running average, where the settings ask for one."""
        return None if self._average is None else self._average.network

    @property
    def judged(self) -> Classifier:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self.averaged is None else self.averaged

    def begin_epoch(self, seed: int) -> None:
        """Seed dropout and return to training mode."""
        torch.manual_seed(seed)
        set_training(self.network, self._config)

    def learn(
        self,
        images: UInt8Image,
        labels: Ints,
        *,
        step: int,
        rate: float,
        parts: Sequence[slice] = (slice(None),),
    ) -> torch.Tensor:
        """One step of the optimiser, on the images of all processes together.

        Args:
            images: bytes, shape (n, size, size, 3).
            labels: class indices, shape (n,).
            step: steps before this one, from the first epoch on.
            rate: what the learning rates are multiplied by.
            parts: of the images, one a pass; as many in every process, and some may be empty.

        Returns:
            The sum of the loss over the images and how many were right, shape (2,), on the device.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        counts = [self._count(labels[part]) for part in parts]
        (whole,) = summed(sum(counts))
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        if not whole:  # no process could read enough
            return sums
        self._optimizer.zero_grad()
        for number, (part, count) in enumerate(zip(parts, counts, strict=True), 1):
            if not count and ranks() == 1:
                continue
            last = number == len(parts) or ranks() == 1
            with nullcontext() if last else self._shared.no_sync():  # type: ignore[operator]
                # DDP takes the mean over the processes, each of which has its share of the loss.
                sums += self._pass(images[part], labels[part], share=ranks() * count / whole)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update(decay=self._config.ema, step=step)
        return sums

    def _count(self, labels: Ints) -> float:
        """How much these images count in the mean of the loss."""
        return float(self._counts[labels].sum()) if len(self._counts) else float(len(labels))

    def _pass(self, images: UInt8Image, labels: Ints, *, share: float) -> torch.Tensor:
        """Add ``share`` times the gradient of the images' mean loss; what ``learn`` returns."""
        pixels, wanted = self._sender.images(images), self._sender.labels(labels)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            logits = self._forward(pixels)
        loss = cross_entropy(
            logits.float(),
            wanted,
            weight=self._weights,
            label_smoothing=self._config.label_smoothing,
        )
        if not len(labels):  # the other processes wait for this one's gradients, all zero
            loss = logits.float().sum()
        self._scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]  # torch's own
        right = (logits.detach().argmax(dim=1) == wanted).sum()
        return torch.stack([loss.detach() * len(labels), right]).double()

    @torch.inference_mode()
    def logits(self, images: UInt8Image) -> Floats32:
        """Logits (n, classes) of the judged network, in full precision as in prediction."""
        scores = self.judged.eval()(self._sender.images(images)).cpu().numpy()
        return np.asarray(scores, dtype=np.float32)

    def state(self) -> dict[str, dict[str, object]]:
        """Everything that later steps depend on."""
        return {
            "network": self.network.state_dict(),
            "averaged": {} if self.averaged is None else self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, dict[str, object]]) -> None:
        """Return to what ``state`` gave."""
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


def _outputs(network: Classifier) -> int:
    linear = [layer for layer in network.head.modules() if isinstance(layer, torch.nn.Linear)]
    return linear[-1].out_features


class MovingAverage:
    """The running average of a network's weights: a <- d a + (1 - d) w (Polyak & Juditsky 1992).

    BatchNorm statistics are averaged too; counters are copied, and frozen weights left alone.

    Attributes:
        network: the averaged one, a copy that no optimiser touches.
    """

    def __init__(self, followed: Classifier) -> None:
        """Begin with the weights of ``followed``, which must stay where they are in memory."""
        self.network = copy.deepcopy(followed).eval().requires_grad_(False)
        # Collected once, and moved all at once: a network has hundreds of small tensors, and on a
        # GPU each would be a launch of its own.
        # Tied weights stand there once: moved under each of their names they would run ahead.
        own, towards = own_tensors(self.network), own_tensors(followed)
        still = {name for name, weight in followed.named_parameters() if not weight.requires_grad}
        floats = {name for name, tensor in own.items() if tensor.is_floating_point()}
        moving = [name for name in own if name in floats - still]
        counters = [name for name in own if name not in floats]
        self._moving, self._towards = [own[n] for n in moving], [towards[n] for n in moving]
        self._counters, self._counts = [own[n] for n in counters], [towards[n] for n in counters]

    @torch.no_grad()
    def update(self, *, decay: float, step: int) -> None:
        """Move to the followed network's weights as they are now.

        Early on d is (1 + step) / (10 + step) where that is less than ``decay``, so that the
        random start is soon forgotten.
        """
        share = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._moving, self._towards, share)
        if self._counters:
            torch._foreach_copy_(self._counters, self._counts)


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
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

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
