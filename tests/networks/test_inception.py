"""The HER2 network is the published one, channel by channel."""

import torch
from torch import nn

from eosin.networks.classifier import build_classifier
from eosin.networks.inception import InceptionBlock


def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0])
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]


def test_a_block_has_four_branches_of_32_48_24_and_16_channels():
    assert convolutions(InceptionBlock(128)) == [
        (128, 32, 1),
        (128, 32, 1),
        (32, 48, 3),
        (128, 16, 1),
        (16, 24, 5),
        (128, 16, 1),
    ]
    assert InceptionBlock(3).eval()(torch.zeros(1, 3, 8, 8)).shape == (1, 120, 8, 8)


def test_blocks_stand_on_the_input_and_after_the_first_three_stages():
    layers = build_classifier("inception_her2", classes=4, dropout=0.5).backbone.layers
    kinds = ["block" if isinstance(x, InceptionBlock) else type(x).__name__ for x in layers]
    stage = ["Sequential", "MaxPool2d"]
    assert kinds == ["block", *stage] * 4 + stage
    stages = [convolutions(x)[0] for x in layers if isinstance(x, nn.Sequential)]
    assert stages == [
        (120, 128, 3),
        (120, 256, 3),
        (120, 256, 3),
        (120, 512, 3),
        (512, 1024, 3),
    ]


def test_its_last_map_is_9_by_9_and_its_head_512_256_and_the_classes():
    network = build_classifier("inception_her2", classes=4, dropout=0.5).eval()
    linear = [(x.in_features, x.out_features) for x in network.head if isinstance(x, nn.Linear)]
    assert linear == [(1024, 512), (512, 256), (256, 4)]
    dropouts = [network.dropout, *network.head]  # one before each of the three
    assert [x.p for x in dropouts if isinstance(x, nn.Dropout)] == [0.5, 0.5, 0.5]
    with torch.inference_mode():
        image = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
        last = network.feature_map(image)
        assert last.shape == (1, 1024, 9, 9)
        torch.testing.assert_close(network.head(network.pool(last)), network(image))
