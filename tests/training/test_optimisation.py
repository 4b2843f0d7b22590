"""What is frozen stays, decay spares what it should, and rare classes weigh more."""

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from eosin.artefacts.preprocessing import Preprocessing
from eosin.networks.classifier import build_classifier
from eosin.training.config import TrainingConfig
from eosin.training.learner import Learner, MovingAverage
from eosin.training.optimisation import class_weights, make_optimizer, smallest_batch

TINY = "test_efficientnet"


def learned(**settings: object) -> Learner:
    """A learner after two steps on random images."""
    config = TrainingConfig(backbone=TINY, mixed_precision="off").with_overrides(settings)
    labels = np.array([0, 1, 0, 1])
    network = build_classifier(TINY, classes=2)
    spec = Preprocessing(size=32)
    learner = Learner(network, config, device=torch.device("cpu"), labels=labels, spec=spec)
    with torch.random.fork_rng(devices=[]):
        learner.begin_epoch(1)
        images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        for step in range(2):
            learner.learn(images, labels, step=step, rate=1.0)
    return learner


def batchnorms(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": tensor.clone()
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm)
        for key, tensor in layer.state_dict().items()
    }


def test_frozen_batchnorm_keeps_statistics_and_scales_while_convolutions_learn():
    fresh = build_classifier(TINY, classes=2)
    frozen = learned(freeze_batchnorm=True, ema=0.0).network
    before, after = batchnorms(fresh), batchnorms(frozen)
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(fresh.backbone.conv_stem.weight, frozen.backbone.conv_stem.weight)
    moving = batchnorms(learned(freeze_batchnorm=False, ema=0.0).network)
    assert not any(torch.equal(before[name], moving[name]) for name in before)


def test_adamw_spares_biases_and_scales_and_adam_decays_all():
    network = build_classifier(TINY, classes=2)
    for name, spared in (("adamw", True), ("adam", False)):
        config = TrainingConfig(optimizer=name, learning_rate=1e-4, head_learning_rate=1e-3)
        groups = make_optimizer(network, config).param_groups
        assert {group["peak"] for group in groups} == {1e-4, 1e-3}
        thin = [g["weight_decay"] for g in groups for p in g["params"] if p.ndim <= 1]
        wide = [g["weight_decay"] for g in groups for p in g["params"] if p.ndim > 1]
        assert set(thin) == ({0.0} if spared else {0.02})
        assert set(wide) == {0.02}
        assert len(thin) + len(wide) == len(list(network.parameters()))


def test_class_weights_make_classes_count_alike_and_an_absent_one_not_at_all():
    labels = np.array([0] * 30 + [1] * 10)
    weights = class_weights(labels, classes=3)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 0.0])
    assert weights[labels].mean() == pytest.approx(1.0)


def test_batchnorm_that_learns_needs_two_images():
    network = build_classifier(TINY, classes=2)
    assert smallest_batch(network, TrainingConfig()) == 2
    assert smallest_batch(network, TrainingConfig(freeze_batchnorm=True)) == 1
    assert smallest_batch(build_classifier("test_vit", classes=2), TrainingConfig()) == 1


def test_the_average_moves_by_its_decay_and_warms_up():
    network = build_classifier(TINY, classes=2, seed=0)
    other = build_classifier(TINY, classes=2, seed=1)
    average = MovingAverage(network)
    start = network.head.weight.detach().clone()
    network.load_state_dict(other.state_dict())
    network.backbone.bn1.num_batches_tracked.fill_(7)
    average.update(decay=0.9, step=10_000)
    averaged = average.network
    torch.testing.assert_close(averaged.head.weight, 0.9 * start + 0.1 * other.head.weight)
    average.update(decay=0.999, step=0)  # 1 / 10 of the old
    torch.testing.assert_close(averaged.head.weight, 0.09 * start + 0.91 * other.head.weight)
    assert averaged.backbone.bn1.num_batches_tracked == 7
    assert not any(weight.requires_grad for weight in averaged.parameters())
    assert torch.equal(network.head.weight, other.head.weight)


def test_the_averaged_network_is_the_one_that_is_judged():
    learner = learned(ema=0.9)
    assert learner.judged is learner.averaged
    assert not torch.equal(learner.judged.head.weight, learner.network.head.weight)
    assert learned(ema=0.0).averaged is None


def test_tied_weights_are_averaged_once_a_step():
    network = build_classifier("test_resnet", classes=2)
    block = network.backbone.layer1[0]
    block.conv2.weight = block.conv1.weight
    start = block.conv1.weight.detach().clone()
    average = MovingAverage(network)
    with torch.no_grad():
        block.conv1.weight.add_(1.0)
    average.update(decay=0.9, step=10_000)
    averaged = average.network.backbone.layer1[0]
    assert averaged.conv1.weight is averaged.conv2.weight
    torch.testing.assert_close(averaged.conv2.weight, start + 0.1)
