"""Pathology encoders are what their table says, and their weights are loaded whole or refused."""

import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eosin.errors import ConfigError, ModelError
from eosin.networks import encoders, published
from eosin.networks.backbones import resolve_backbone
from eosin.networks.classifier import Classifier, build_classifier
from eosin.networks.encoders import ENCODERS, Encoder
from eosin.networks.weights import initialise, require_weights
from eosin.pixels.preprocessing import prepare

# Millions of parameters and features an image as the models' own cards and papers give them; the
# same facts are not read from the table that is tested here.
PUBLISHED = {
    "uni": (303, 1024),
    "uni2-h": (681, 1536),
    "virchow": (631, 2560),
    "virchow2": (631, 2560),
    "h-optimus-0": (1135, 1536),
    "h-optimus-1": (1135, 1536),
    "h0-mini": (86, 1536),
    "prov-gigapath": (1135, 1536),
    "kaiko-s16": (21.7, 384),
    "kaiko-s8": (21.7, 384),
    "kaiko-b16": (85.8, 768),
    "kaiko-b8": (85.8, 768),
    "kaiko-l14": (304, 1024),
    "lunit-s16": (21.7, 384),
    "lunit-s8": (21.7, 384),
    "phikon": (85.8, 768),
    "phikon-v2": (303, 1024),
    "hibou-b": (85.7, 768),
    "hibou-l": (303.7, 1024),
    "midnight": (1140, 3072),
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LUNIT = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))
H_OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
COLOURS = {"kaiko": HALF, "midnight": HALF, "lunit": LUNIT, "h": H_OPTIMUS, "h0": H_OPTIMUS}
COLOURS |= {"hibou": HIBOU}
TINY = Encoder(
    name="tiny",
    hub="nobody/tiny",
    architecture="vit_tiny_patch16_224",
    arguments=(
        ("depth", 2),
        ("embed_dim", 24),
        ("img_size", 32),
        ("init_values", 0.1),
        ("mlp_ratio", 5.5),
        ("no_embed_class", True),
        ("num_heads", 3),
        ("patch_size", 8),
        ("reg_tokens", 4),
        ("swiglu", True),
    ),
    width=48,
    millions=0.01,
    licence="CC-BY-NC-ND-4.0",
    gated=True,
    pooling="cls+mean",
    registers=4,
    mean=(0.7, 0.5, 0.6),
    std=(0.2, 0.3, 0.1),
    size=32,
)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """An encoder of the table small enough for tests, its weights in EOSIN_WEIGHTS; their file."""
    monkeypatch.setitem(encoders.ENCODERS, "tiny", TINY)
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    network = build_classifier("tiny", classes=2, seed=5)
    path = tmp_path / "tiny.safetensors"
    save_file(network.backbone.state_dict(), path)
    return path


def on_meta(name):
    with torch.device("meta"):
        return Classifier(resolve_backbone(name), classes=2, dropout=0.0)


def millions(network):
    return sum(tensor.numel() for tensor in network.backbone.parameters()) / 1e6


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_its_published_parameters_width_and_colours(name):
    count, width = PUBLISHED[name]
    network, row = on_meta(name), ENCODERS[name]
    assert millions(network) == pytest.approx(count, rel=0.005)
    assert millions(network) == pytest.approx(row.millions, rel=0.005)
    assert network.feature_count == network.head.in_features == row.width == width
    assert network.backbone.num_prefix_tokens == 1 + row.registers
    spec = network.spec.preprocessing()
    assert (spec.mean, spec.std) == COLOURS.get(name.partition("-")[0], IMAGENET)
    assert spec.size == 224


def test_a_missing_swiglu_shows_in_the_parameters_of_every_encoder_that_has_one():
    with_swiglu = [name for name, row in ENCODERS.items() if ("swiglu", True) in row.arguments]
    assert {"uni2-h", "virchow", "virchow2", "h0-mini", "hibou-b", "hibou-l"} == set(with_swiglu)
    for name in with_swiglu:
        spec = resolve_backbone(name)
        arguments = tuple(pair for pair in spec.arguments if pair[0] != "swiglu")
        with torch.device("meta"):
            plain = Classifier(replace(spec, arguments=arguments), classes=2, dropout=0.0)
        assert millions(plain) > 1.1 * PUBLISHED[name][0]


def test_mean_and_deviation_are_the_tables_own_also_where_a_card_says_otherwise():
    lunit = resolve_backbone("hf-hub:1aurent/vit_small_patch16_224.lunit_dino").preprocessing()
    assert lunit == resolve_backbone("LUNIT-S16").preprocessing()
    assert lunit.mean == pytest.approx((0.7032, 0.5361, 0.6610), abs=1e-4)
    assert resolve_backbone("midnight").preprocessing().std == (0.5, 0.5, 0.5)
    assert resolve_backbone("h0-mini").preprocessing().mean == (0.707223, 0.578729, 0.703617)


def test_an_encoder_takes_its_own_size_and_sees_pixels_as_pillow_resizes_them():
    with pytest.raises(ConfigError, match="224 pixels only, not 112"):
        resolve_backbone("uni").preprocessing(size=112)
    spec = resolve_backbone("h-optimus-0").preprocessing()
    assert spec.interpolation == "bicubic"
    image = np.random.default_rng(0).integers(0, 256, (460, 700, 3), dtype=np.uint8)
    from PIL import Image
    from torchvision.transforms import v2

    reference = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(spec.mean, spec.std),
        ]
    )(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
    assert np.allclose(prepare(image, spec), reference.numpy(), atol=1e-5)


def test_a_file_in_the_weights_folder_is_found_by_the_encoders_name_and_its_licence_is_kept(tiny):
    network = build_classifier("tiny", classes=2, seed=0)
    report = initialise(network, "imagenet")
    assert report.loaded == len(network.backbone.state_dict())
    assert report.source == (
        "tiny, file tiny.safetensors of EOSIN_WEIGHTS; licence CC-BY-NC-ND-4.0 "
        "(https://huggingface.co/nobody/tiny)"
    )
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = network.eval().backbone.forward_features(image)
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1)
    assert torch.equal(network.features(image), expected)


def test_a_dropped_an_added_and_an_untrained_tensor_are_each_an_error_that_lists_it(tiny):
    whole = build_classifier("tiny", classes=2, seed=5).backbone.state_dict()
    network = build_classifier("tiny", classes=2)

    def refused(tensors, match):
        save_file(tensors, tiny)
        with pytest.raises(ModelError, match=match):
            initialise(network, "imagenet")

    refused({k: v for k, v in whole.items() if k != "reg_token"}, "missing reg_token")
    refused({**whole, "blocks.2.norm1.weight": torch.ones(24)}, r"unknown blocks\.2\.norm1\.weight")
    drawn = build_classifier("tiny", classes=2).backbone.state_dict()
    refused(
        {**whole, "blocks.1.attn.qkv.weight": drawn["blocks.1.attn.qkv.weight"]},
        r"blocks\.1\.attn\.qkv\.weight still at their random values",
    )
    fc1 = whole["blocks.0.mlp.fc1.weight"]
    refused({**whole, "blocks.0.mlp.fc1.weight": fc1[:66].clone()}, r"unlike blocks\.0\.mlp\.fc1")


def test_weights_made_without_swiglu_are_refused(tiny):
    arguments = tuple(pair for pair in TINY.arguments if pair[0] != "swiglu")
    spec = replace(resolve_backbone("tiny"), arguments=arguments)
    plain = build_classifier(spec, classes=2, seed=3)
    save_file(plain.backbone.state_dict(), tiny)
    with pytest.raises(ModelError, match=r"unlike blocks\.0\.mlp\.fc2\.weight"):
        initialise(build_classifier("tiny", classes=2), "imagenet")


def test_a_gated_encoder_without_weights_is_answered_with_the_page_of_access(monkeypatch, tiny):
    tiny.unlink()
    from huggingface_hub import errors

    class Response:
        headers = types.MappingProxyType({})
        status_code = 403
        request = None

    def denied(*_, **__):
        raise errors.GatedRepoError("403", response=Response())

    network = build_classifier("tiny", classes=2)
    monkeypatch.setattr("eosin.networks.weights._require_hub", lambda _: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", denied)
    page = r"ask for access at https://huggingface\.co/nobody/tiny.*tiny\.safetensors"
    with pytest.raises(ModelError, match=page):
        initialise(network, "imagenet")

    def offline(*_, **__):
        raise errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(ModelError, match=r"hub is out of reach; it is gated: ask for access"):
        initialise(network, "imagenet")

    def silent(_):
        raise ConnectionError("https://huggingface.co does not answer")

    monkeypatch.setattr("eosin.networks.weights._require_hub", silent)
    with pytest.raises(
        ModelError, match=r"does not answer\): put tiny\.safetensors.*ask for access"
    ):
        require_weights(network, "imagenet")


def test_weights_from_the_hub_name_the_commit_they_came_from(monkeypatch, tiny, tmp_path):
    commit = "d517a8c1" * 5
    home = tmp_path / "snapshots" / commit
    home.mkdir(parents=True)
    tiny.rename(home / "model.safetensors")
    monkeypatch.setattr("eosin.networks.weights._require_hub", lambda _: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda _, name, **__: str(home / name))
    report = initialise(build_classifier("tiny", classes=2), "imagenet")
    assert f"model.safetensors from the hub, commit {commit[:12]}" in report.source


def test_a_pickle_of_the_hub_is_read_as_tensors_and_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"a": Hostile()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="not a plain file of tensors"):
        published.read_weights_file(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert list(published.read_weights_file(tmp_path / "pytorch_model.bin")) == ["a"]
