"""The HER2 study's Inception-style network, trained from scratch at 299 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCK_CHANNELS = 120
_STAGES = (128, 256, 256, 512, 1024)
_STAGES_BEHIND_A_BLOCK = 4  # a block on the input and after each of the first three stages


def convolution(channels_in: int, channels_out: int, *, kernel: int) -> nn.Sequential:
    """A convolution that keeps height and width, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class InceptionBlock(nn.Module):
    """Four branches side by side, 32 + 48 + 24 + 16 = 120 channels (after Szegedy et al. 2015)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.one = convolution(channels_in, 32, kernel=1)
        self.three = nn.Sequential(
            convolution(channels_in, 32, kernel=1), convolution(32, 48, kernel=3)
        )
        self.five = nn.Sequential(
            convolution(channels_in, 16, kernel=1), convolution(16, 24, kernel=5)
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), convolution(channels_in, 16, kernel=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, 120, h, w)."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class InceptionHer2(nn.Module):
    """The feature extractor: blocks and stages up to 1024 channels at 1/32 of the input side.

    It answers to the three timm names that Classifier uses: ``num_features``,
    ``forward_features`` and ``forward_head``.
    """

    num_features = _STAGES[-1]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage, width in enumerate(_STAGES):
            if stage < _STAGES_BEHIND_A_BLOCK:
                layers.append(InceptionBlock(channels))
                channels = BLOCK_CHANNELS
            layers += [convolution(channels, width, kernel=3), nn.MaxPool2d(2)]
            channels = width
        self.layers = nn.Sequential(*layers)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the last map (N, 1024, H // 32, W // 32)."""
        last: Tensor = self.layers(x)
        return last

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:  # noqa: ARG002  # timm's
        """The last map averaged over space, (N, 1024)."""
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to features (N, 1024)."""
        return self.forward_head(self.forward_features(x))


def inception_head(classes: int, *, dropout: float) -> nn.Sequential:
    """The study's head: 1024 features to 512, 256 and the classes, dropout before the last two.

    ``Classifier`` has the dropout before the first.
    """
    return nn.Sequential(
        nn.Linear(InceptionHer2.num_features, 512),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(256, classes),
    )
