"""A transformer's map is exact: its patches' terms and the rest add up to the logit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from eosin.errors import NoMapError
from eosin.explanation.heatmap import METHODS
from eosin.explanation.methods import explain_targets
from eosin.networks.backbones import BackboneSpec
from eosin.networks.cam import respond
from eosin.networks.classifier import build_classifier
from eosin.networks.tokens import require_split
from eosin.networks.torch_engine import TorchEngine

SHAPE = (
    ("depth", 3),
    ("embed_dim", 24),
    ("img_size", 40),
    ("init_values", 0.5),
    ("num_heads", 3),
    ("patch_size", 8),
    ("reg_tokens", 2),
)
POOLED = {
    "CLS": ("timm", (("global_pool", "token"),)),
    "CLS without layer scale": ("timm", (("global_pool", "token"), ("init_values", 0.0))),
    "patch mean": ("timm", (("global_pool", "avg"), ("fc_norm", False))),
    "patch mean, then norm": ("timm", (("global_pool", "avg"),)),
    "CLS + mean": ("cls+mean", ()),
}


def transformer(pooled, classes=3):
    pooling, more = POOLED[pooled]
    spec = BackboneSpec(
        name="small",
        size=40,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        family="vision_transformer",
        architecture="vit_tiny_patch16_224",
        arguments=tuple(dict((*SHAPE, *more)).items()),
        pooling=pooling,
        origin="hf-hub:nobody/small",
    )
    network = build_classifier(spec, classes=classes, seed=2).eval()
    drawn = torch.Generator().manual_seed(3)
    for parameter in network.parameters():  # no bias of 0 and no scale of 1 may hide a fault
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=drawn)
    return network


def images(count=2):
    return torch.randn(count, 3, 40, 40, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooled", POOLED)
def test_terms_and_rest_add_up_to_the_logit_to_a_hundred_thousandth(pooled):
    network = transformer(pooled)
    response = respond(network, images())
    split = response.split
    with torch.no_grad():
        wanted = network(images())
    assert split.patches.shape == (2, 3, 5, 5)
    assert (split.patches < 0).any()
    torch.testing.assert_close(
        split.patches.sum(dim=(2, 3)) + split.rest, wanted, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(response.logits, wanted, atol=1e-5, rtol=0)


def test_a_patchs_term_is_what_the_logit_loses_without_that_patchs_value():
    """By hand: the value of one patch in the last attention set to 0, norm's scale and MLP kept."""
    network = transformer("CLS")
    body, block = network.backbone, network.backbone.blocks[-1]
    attention = block.attn
    with torch.no_grad():
        tokens = body.patch_embed(images(1))
        tokens = body.blocks[:-1](body.norm_pre(body._pos_embed(tokens)))
        qkv = attention.qkv(block.norm1(tokens)).reshape(1, 28, 3, 3, 8).permute(2, 0, 3, 1, 4)

        def attended(values):
            weights = (qkv[0] @ qkv[1].transpose(-2, -1) / 8**0.5).softmax(dim=-1)
            mixed = (weights @ values).transpose(1, 2).reshape(1, 28, 24)
            return tokens + block.ls1(attention.proj(mixed))

        whole = attended(qkv[2])
        mlp = block.ls2(block.mlp(block.norm2(whole)))
        scale = (whole + mlp)[:, 0].std(dim=1, unbiased=False)

        def logits(between):
            token = (between + mlp)[:, 0]
            normed = (token - token.mean(dim=1, keepdim=True)) / (scale**2 + 1e-6).sqrt()[:, None]
            return network.head(normed * body.norm.weight + body.norm.bias)

        torch.testing.assert_close(logits(whole), network(images(1)), atol=1e-5, rtol=0)
        terms = respond(network, images(1)).split.patches.flatten(2)
        for patch in (0, 7, 24):
            without = qkv[2].clone()
            without[:, :, 3 + patch] = 0  # behind the class token and two registers
            lost = logits(whole) - logits(attended(without))
            torch.testing.assert_close(terms[:, :, patch], lost, atol=1e-5, rtol=0)


def test_a_map_of_the_patch_mean_leaves_the_bias_alone():
    network = transformer("patch mean")
    split = respond(network, images()).split
    torch.testing.assert_close(split.rest, network.head.bias.detach().expand(2, -1))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_a_map_on_the_grid_of_patches(method):
    if method not in ("auto", "gradcam"):
        pytest.importorskip("pytorch_grad_cam")
    network = transformer("CLS + mean")
    response = respond(network, images())
    maps = explain_targets(network, response, torch.tensor([2, 0]), method=method)
    assert maps.shape == (2, 5, 5)
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() > 0
    alone = explain_targets(
        network, respond(network, images()[1:]), torch.tensor([0]), method=method
    )
    torch.testing.assert_close(maps[1:], alone, atol=1e-4, rtol=1e-3)


def test_the_engines_map_is_the_positive_part_of_the_exact_one():
    network = transformer("CLS")
    maps = TorchEngine(network, device="cpu").maps(images().numpy())
    targets = np.array([1, 2])
    assert maps.stride == 8
    wanted = np.maximum(maps.split.patches[[0, 1], targets], 0)
    np.testing.assert_array_equal(maps.of(targets), wanted)


def test_a_transformer_whose_logits_are_no_sum_still_has_a_map_by_its_gradient():
    network = transformer("CLS")
    network.head = nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(NoMapError, match="no sum over patches"):
        require_split(network)
    response = respond(network, images())
    assert response.split is None
    with torch.no_grad():
        torch.testing.assert_close(response.logits, network(images()), atol=1e-5, rtol=0)
    assert TorchEngine(network, device="cpu").maps(images().numpy()).of(np.array([0, 1])).max() > 0


def test_pooling_by_attention_is_seen_and_takes_the_gradient_too():
    network = build_classifier("test_vit3", classes=2).eval()
    with pytest.raises(NoMapError, match="'attention'"):
        require_split(network)
    pixels = torch.randn(1, 3, network.spec.size, network.spec.size)
    assert respond(network, pixels).split is None


def test_gradients_on_the_token_grid_are_those_of_the_whole_network():
    """The gradient of a logit by the patch tokens that enter the last block, taken by a hook."""
    from eosin.networks.cam import logit_gradient

    network = transformer("CLS")
    kept = []
    handle = network.backbone.blocks[-2].register_forward_hook(lambda *args: kept.append(args[2]))
    logits = network(images())
    handle.remove()
    (wanted,) = torch.autograd.grad(logits[:, 1].sum(), kept[0])
    response = respond(network, images())
    found = logit_gradient(network, response, torch.tensor([1, 1]))
    torch.testing.assert_close(
        found.flatten(2).transpose(1, 2), wanted[:, 3:], atol=1e-6, rtol=1e-4
    )


def test_a_spec_of_another_pooling_changes_what_is_exact_not_the_network():
    network = transformer("CLS")
    other = replace(network.spec, pooling="cls", arguments=tuple(dict(SHAPE).items()))
    twin = build_classifier(other, classes=3).eval()
    twin.load_state_dict(network.state_dict())
    found, wanted = respond(twin, images()).split, respond(network, images()).split
    torch.testing.assert_close(found.patches, wanted.patches)
