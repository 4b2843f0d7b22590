"""PyTorch as an engine: eager, on one device. Nothing of it is imported before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.networks.classifier import Classifier


class TorchEngine:
    """PyTorch, eager, on one device."""

    name = "torch"

    def __init__(self, classifier: Classifier, *, device: str = "auto") -> None:
        from eosin.networks.device import choose_device

        self.device = choose_device(device)
        self.classifier = classifier.to(self.device).eval()

    def logits(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        return self._apply(batch, features=False)

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        return self._apply(batch, features=True)

    def head_logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Logits (n, classes) of pooled features (n, channels)."""
        import torch

        from eosin.networks.classifier import require_finite

        with torch.inference_mode():
            scores = self.classifier.head(torch.from_numpy(features).to(self.device))
            require_finite(self.classifier, scores)
            result: npt.NDArray[np.float64] = scores.double().cpu().numpy()
        return result

    def backbone_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every tensor that features depend on, by name."""
        return {
            name: tensor.cpu().numpy()
            for name, tensor in self.classifier.state_dict().items()
            if not name.startswith("head.")
        }

    def _apply(self, batch: npt.NDArray[np.float32], *, features: bool) -> npt.NDArray[np.float64]:
        import torch

        from eosin.networks.classifier import require_finite, taking

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with taking(self.classifier, batch.shape[-1]):
                values = self.classifier.features(pixels) if features else self.classifier(pixels)
            require_finite(self.classifier, values)
            result: npt.NDArray[np.float64] = values.double().cpu().numpy()
        return result
