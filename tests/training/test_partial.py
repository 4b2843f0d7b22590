"""Parts of a backbone that learn, its last blocks or low-rank adapters; the rest stays put."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.modules.batchnorm import _BatchNorm

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError
from eosin.networks.classifier import build_classifier
from eosin.networks.weights import load_classifier
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune
from eosin.training.learner import Learner
from eosin.training.optimisation import set_training
from eosin.training.partial import add_adapters, last_blocks, merge_adapters

VIT = {"backbone": "test_vit", "image_size": 160, "epochs": 2}
# Weights of one block of test_vit, 64 wide: qkv, proj, the two of the MLP, two norms.
VIT_BLOCK = (64 * 192 + 192) + (64 * 64 + 64) + (64 * 192 + 192) + (192 * 64 + 64) + 2 * 128


def swin_block(width: int, heads: int) -> int:
    attention = width * 3 * width + 3 * width + width * width + width + 13 * 13 * heads
    return attention + 2 * width * 4 * width + 5 * width + 4 * width


@pytest.mark.parametrize(
    ("backbone", "count", "wanted"),
    [
        ("test_vit", 2, 2 * VIT_BLOCK + 2 * 64 + (64 * 2 + 2)),
        # its last three blocks, the convolution and BatchNorm behind them, and the head
        ("test_efficientnet", 3, 24_064 + 14_184 + 28_940 + 64 * 256 + 2 * 256 + (256 * 2 + 2)),
        # the last of the third stage, the step down to the fourth, its two blocks, norm and head
        (
            "swin_tiny_patch4_window7_224",
            3,
            swin_block(384, 12)
            + (2 * 1536 + 1536 * 768)
            + 2 * swin_block(768, 24)
            + (2 * 768)
            + (2 * 768 + 2),
        ),
    ],
)
def test_as_many_weights_learn_as_the_last_blocks_with_what_follows_them_have(
    backbone, count, wanted
):
    network = build_classifier(backbone, classes=2)
    set_training(network, TrainingConfig(train_blocks=count))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == wanted


def test_blocks_are_those_of_the_stages_in_order():
    network = build_classifier("test_efficientnet", classes=2)
    assert last_blocks(network, 5) == [b for stage in network.backbone.blocks for b in stage]
    (last,) = last_blocks(network, 1)
    set_training(network, TrainingConfig(train_blocks=1))
    norms = {
        name: layer.training
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm)
    }
    own = [layer for layer in last.modules() if isinstance(layer, _BatchNorm)]
    assert sum(norms.values()) == len(own) + 1  # and the last norm of the network
    assert norms["backbone.bn2"]
    assert not norms["backbone.bn1"]


def test_what_is_frozen_computes_without_gradients():
    network = build_classifier("test_vit", classes=2)
    set_training(network, TrainingConfig(train_blocks=1))
    grads = []
    for block in network.backbone.blocks:
        block.register_forward_hook(lambda _, __, answer: grads.append(answer.requires_grad))
    network(torch.zeros(1, 3, 160, 160))
    assert grads == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("backbone", "size", "learned"),
    [
        ("test_vit", 160, ("head.", "backbone.blocks.5.", "backbone.norm.")),
        (
            "test_efficientnet",
            32,
            ("head.", "backbone.blocks.4.", "backbone.conv_head.", "backbone.bn2."),
        ),
    ],
)
def test_the_last_block_changes_and_all_before_it_stays_byte_for_byte(
    backbone, size, learned, tiny_manifest, tiny_config, tmp_path
):
    settings = {"backbone": backbone, "image_size": size, "epochs": 2, "train_blocks": 1}
    config = tiny_config.with_overrides(settings)
    run = finetune(tiny_manifest, tmp_path / "run", config).run
    before = build_classifier(backbone, classes=2, seed=config.seed).state_dict()
    after = load_file(run.weights_path)
    changed = {
        name for name in before if before[name].numpy().tobytes() != after[name].numpy().tobytes()
    }
    assert changed == {name for name in before if name.startswith(learned)}
    blocks = {"test_vit": 6, "test_efficientnet": 5}[backbone]
    assert run.record.notes[0].startswith(f"Trained in part, the last 1 of {blocks} blocks")
    assert run.record.notes[0].endswith("the others were kept, random ones.")


def test_adapters_are_merged_and_the_run_has_the_plain_networks_tensors(
    tiny_manifest, tiny_config, tmp_path
):
    config = tiny_config.with_overrides({**VIT, "adapters": 4})
    run = finetune(tiny_manifest, tmp_path / "run", config).run
    before = build_classifier("test_vit", classes=2, seed=config.seed).state_dict()
    after = load_classifier(run).state_dict()
    assert list(before) == list(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    adapted = {
        f"backbone.blocks.{block}.{layer}.weight"
        for block in range(6)
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert changed == adapted | {"head.weight", "head.bias"}
    for name in adapted:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4) <= 4
    wanted = 6 * 4 * (64 + 192 + 64 + 64 + 64 + 192 + 192 + 64) + 64 * 2 + 2
    assert f"adapters of rank 4 and the head: {wanted:,} of" in run.record.notes[0]


def test_merged_adapters_answer_as_the_adapted_network_did():
    network = build_classifier("test_vit", classes=2)
    config = TrainingConfig(adapters=4, learning_rate=0.01, ema=0.5, channels_last=False)
    labels = np.array([0, 1, 0, 1])
    spec = Preprocessing(size=160)
    plain = copy.deepcopy(network).eval()
    learner = Learner(network, config, device=torch.device("cpu"), labels=labels, spec=spec)
    images = np.random.default_rng(0).integers(0, 256, (4, 160, 160, 3), dtype=np.uint8)
    seen = torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(learner.judged.eval()(seen), plain(seen))  # B begins at 0
    for step in range(5):
        learner.learn(images, labels, step=step, rate=1.0)
    for each in (learner.network.eval(), learner.judged.eval()):
        with torch.no_grad():
            adapted = each(seen)
            merge_adapters(each)
            merged = each(seen)
        assert (adapted - plain(seen)).abs().max() > 1e-3
        torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=0)
        assert each.state_dict().keys() == plain.state_dict().keys()


def test_adapters_are_drawn_from_the_seed_and_leave_the_callers_random_state():
    def drawn(seed: int) -> torch.Tensor:
        network = build_classifier("test_vit", classes=2)
        add_adapters(network, 2, seed=seed, size=160)
        return network.backbone.blocks[0].attn.qkv.lora_A["default"].weight

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_goes_past_a_layer_to_its_weights_is_not_adapted_in_vain():
    network = build_classifier("test_vit", classes=2)
    layer = network.backbone.blocks[2].mlp.fc2
    network.backbone.blocks[2].mlp.fc2.forward = layer.forward
    network.backbone.blocks[2].mlp.forward = lambda x: torch.nn.functional.linear(
        torch.nn.functional.gelu(network.backbone.blocks[2].mlp.fc1(x)), layer.weight, layer.bias
    )
    with pytest.raises(
        ConfigError, match=r"with the weights of blocks\.2\.mlp\.fc2 past the layer"
    ):
        add_adapters(network, 2, seed=0, size=160)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_blocks": 1, "freeze": True}, r"train_blocks = 1 trains a part .* freeze = true"),
        ({"adapters": 2, "freeze": True}, r"adapters = 2 trains a part .* freeze = true"),
        ({"adapters": 2, "train_blocks": 1}, r"train_blocks = 1 and adapters = 2 are two ways"),
        ({"adapters": 2, "backbone": "Inception_HER2"}, r"inception_her2 is trained from scratch"),
        ({"train_blocks": 2, "backbone": "inception_her2"}, r"trained from scratch"),
        ({"train_blocks": 0}, r"train_blocks = 0"),
    ],
)
def test_settings_that_contradict_each_other_are_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        TrainingConfig().with_overrides(settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_blocks": 6}, r"train_blocks = 6: .*'test_efficientnet' has 5 blocks; want 1 to 5"),
        ({"backbone": "test_resnet", "train_blocks": 1}, r"does not list its blocks in order"),
        ({"adapters": 2}, r"adapters = 2: .*'test_efficientnet' has no attention"),
    ],
)
def test_a_network_that_has_no_such_part_is_refused_before_anything_is_read(
    settings, message, tiny_manifest, tiny_config, tmp_path
):
    for path in tiny_manifest.paths:
        path.unlink()
    with pytest.raises(ConfigError, match=message):
        finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides(settings))
    assert not (tmp_path / "run").exists()


def test_without_the_library_the_extra_is_named(tiny_manifest, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    config = tiny_config.with_overrides({**VIT, "adapters": 2})
    with pytest.raises(ConfigError, match=r'needs peft.*pip install "eosin\[encoders\]"'):
        finetune(tiny_manifest, tmp_path / "run", config)
