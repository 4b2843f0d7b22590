"""PyTorch as an engine: eager, on one device. Nothing of it is imported before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.networks.graphs import Split

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.arrays import Floats, Floats32, Ints
    from eosin.networks.cam import Response
    from eosin.networks.classifier import Classifier


@dataclass(frozen=True, eq=False)
class TorchMaps:
    """Maps of a batch; other methods make theirs of the ``response``."""

    classifier: Classifier
    response: Response

    @property
    def logits(self) -> Floats:
        """Logits (n, classes)."""
        logits: Floats = self.response.logits.cpu().double().numpy()
        return logits

    @property
    def stride(self) -> int:
        """Input pixels from one position of a map to the next, rounded up."""
        return self.response.stride

    def of(self, targets: Ints) -> Floats32:
        """Maps (n, h, w), at least 0, of one class index an image (n,)."""
        import torch

        from eosin.networks.cam import best_map

        chosen = torch.from_numpy(targets).to(self.response.logits.device)
        maps = best_map(self.classifier, self.response, chosen)
        raw: Floats32 = maps.float().cpu().numpy()
        return raw

    @property
    def split(self) -> Split | None:
        """The logits as sums over patches and a rest; None where they are none."""
        found = self.response.split
        if found is None:
            return None
        return Split(found.patches.float().cpu().numpy(), found.rest.float().cpu().numpy())


class TorchEngine:
    """PyTorch, eager, on one device."""

    name = "torch"

    def __init__(
        self, classifier: Classifier, *, device: str = "auto", bfloat16: bool = False
    ) -> None:
        from eosin.networks.device import choose_device

        self._device, self._half = choose_device(device), bfloat16
        self.classifier = classifier.to(self._device).eval()

    @property
    def device(self) -> str:
        """Where it computes, e.g. ``"cuda"``."""
        return str(self._device)

    @property
    def family(self) -> str:
        """The design of the backbone."""
        return self.classifier.spec.family

    def logits(self, batch: Floats32) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        return self.answers(batch)[0]

    def features(self, batch: Floats32) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        (features,) = self._apply(batch, heads=False)
        return features

    def answers(self, batch: Floats32) -> tuple[Floats, Floats]:
        """Logits and pooled features of prepared input, from one pass."""
        features, logits = self._apply(batch, heads=True)
        return logits, features

    def maps(self, batch: Floats32) -> TorchMaps:
        """Maps of prepared input; NoMapError where the network has no feature map of its own."""
        import torch

        from eosin.networks.cam import respond
        from eosin.networks.classifier import require_finite

        response = respond(self.classifier, torch.from_numpy(batch).to(self._device))
        require_finite(self.classifier, response.logits)
        return TorchMaps(self.classifier, response)

    def head_logits(self, features: Floats32) -> Floats:
        """Logits (n, classes) of pooled features (n, channels)."""
        import torch

        from eosin.networks.classifier import require_finite

        with torch.inference_mode():
            scores = self.classifier.head(torch.from_numpy(features).to(self._device))
            require_finite(self.classifier, scores)
            result: Floats = scores.cpu().double().numpy()
        return result

    def backbone_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every tensor that features depend on, by name."""
        return {
            name: tensor.cpu().numpy()
            for name, tensor in self.classifier.state_dict().items()
            if not name.startswith("head.")
        }

    def _apply(self, batch: Floats32, *, heads: bool) -> list[Floats]:
        """Features and, where asked for, logits."""
        import torch

        from eosin.networks.classifier import require_finite, taking

        half = torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)
        with torch.inference_mode(), half:
            pixels = torch.from_numpy(batch)
            if self._device.type == "cuda":
                pixels = pixels.pin_memory()
            pixels = pixels.to(self._device, non_blocking=True)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with taking(self.classifier, batch.shape[-1]):
                values = [self.classifier.features(pixels)]
                if heads:  # as the network's own forward pass has it; no dropout at prediction
                    values.append(self.classifier.head(values[0]))
            require_finite(self.classifier, *values)
            # First to the CPU: Apple GPUs have no float64.
            return [value.cpu().double().numpy() for value in values]
