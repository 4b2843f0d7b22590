"""What to build of a published network: read from its config alone, or refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from eosin.artefacts.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from eosin.errors import ConfigError, ModelError
from eosin.networks.backbones import (
    BackboneSpec,
    own_module,
    register_backbone,
    resolve_backbone,
)
from eosin.networks.classifier import build_classifier, read_spec, require_size, taking
from eosin.networks.encoders import ENCODERS, find_encoder
from eosin.networks.published import (
    Design,
    file_at_hand,
    find_file,
    local_file,
    read_design,
    read_weights_file,
)
from eosin.networks.transformers_layout import is_transformers_layout, to_timm
from eosin.networks.weights import initialise, weights_file

VIT = {
    "model_type": "vit",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 224,
    "patch_size": 16,
}
DINO = {**{k: v for k, v in VIT.items() if k != "intermediate_size"}, "model_type": "dinov2"}


def design_of(folder: Path, config: object, reading: object | None = None) -> Design:
    (folder / "config.json").write_text(json.dumps(config))
    if reading is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(reading))
    return read_design(str(folder))


def test_a_config_of_timm_that_says_little_means_what_timm_means(tmp_path: Path) -> None:
    found = design_of(tmp_path, {"architecture": "resnet18"})
    assert found == Design(
        "resnet18", (), "timm", 224, IMAGENET_MEAN, IMAGENET_STD, interpolation="bicubic"
    )


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({}, "timm"),
        ({"global_pool": "token"}, "timm"),
        ({"global_pool": ""}, "cls"),
        ({"model_args": {"global_pool": ""}}, "cls"),
        ({"global_pool": "", "model_args": {"global_pool": "avg"}}, "timm"),
    ],
)
def test_without_pooling_of_its_own_the_class_token_is_taken(
    config: dict[str, object], pooling: str, tmp_path: Path
) -> None:
    assert design_of(tmp_path, {"architecture": "vit_tiny", **config}).pooling == pooling


def test_older_configs_of_timm_say_colours_and_size_outside(tmp_path: Path) -> None:
    own = {"input_size": [3, 256, 192], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}
    found = design_of(tmp_path, {"architecture": "x", **own, "interpolation": "bilinear"})
    assert (found.size, found.mean, found.std) == (192, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert found.interpolation == "bilinear"


def test_a_vit_of_transformers_is_told_to_timm_in_its_own_words(tmp_path: Path) -> None:
    found = design_of(tmp_path, VIT)
    told = dict(found.arguments)
    assert (found.architecture, found.pooling, found.size) == ("vit_base_patch16_224", "cls", 224)
    assert told["mlp_ratio"] == 1536.5 / 384  # timm multiplies and rounds down
    assert int(384 * float(told["mlp_ratio"])) == 1536
    assert (told["depth"], told["num_heads"], told["embed_dim"]) == (12, 6, 384)
    assert (told["norm_eps"], told["qkv_bias"]) == (1e-12, True)
    assert not {"swiglu", "init_values", "reg_tokens"} & told.keys()


@pytest.mark.parametrize(
    ("width", "ratio", "hidden"), [(384, 4, 2048), (768, 4, 4096), (1024, 4, 5472), (48, 4, 256)]
)
def test_a_swiglu_of_dinov2_is_as_wide_as_its_library_makes_it(
    width: int, ratio: int, hidden: int, tmp_path: Path
) -> None:
    """Two thirds, up to the next multiple of eight, and two of them side by side."""
    config = {**DINO, "hidden_size": width, "mlp_ratio": ratio, "use_swiglu_ffn": True}
    told = dict(design_of(tmp_path, config).arguments)
    assert int(width * float(told["mlp_ratio"])) == hidden
    assert told["swiglu"] is True


def test_a_dinov2_has_scales_and_may_have_registers(tmp_path: Path) -> None:
    plain = dict(design_of(tmp_path, {**DINO, "layerscale_value": 1e-5}).arguments)
    assert (plain["init_values"], plain["norm_eps"]) == (1e-5, 1e-6)
    assert "reg_tokens" not in plain
    config = {**DINO, "model_type": "dinov2_with_registers", "num_register_tokens": 4}
    registers = dict(design_of(tmp_path, config).arguments)
    assert (registers["reg_tokens"], registers["no_embed_class"]) == (4, True)


@pytest.mark.parametrize(
    ("reading", "interpolation", "mean"),
    [
        ({"resample": 2, "image_mean": [0.5] * 3}, "bilinear", (0.5, 0.5, 0.5)),
        ({"resample": 3}, "bicubic", IMAGENET_MEAN),
        ({"resample": 1}, "bicubic", IMAGENET_MEAN),
        (None, "bicubic", IMAGENET_MEAN),
    ],
)
def test_pixels_are_read_as_the_file_beside_the_config_says(
    reading: object, interpolation: str, mean: object, tmp_path: Path
) -> None:
    found = design_of(tmp_path, VIT, reading)
    assert (found.interpolation, found.mean) == (interpolation, mean)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([], "want a JSON object, found list"),
        ({"model_type": "clip"}, "names neither an architecture of timm nor one of transformers'"),
        ({"architecture": 7}, "names neither"),
        ({**VIT, "hidden_size": "384"}, "config.json is not whole .*'384' is no whole number"),
        ({k: v for k, v in VIT.items() if k != "patch_size"}, "not whole .*patch_size"),
        ({**VIT, "hidden_act": "relu"}, "config.json is not whole .*hidden_act 'relu': want gelu"),
        ({"architecture": "x", "pretrained_cfg": 3}, "not whole .*3 is no object"),
        ({"architecture": "x", "mean": [0.5, 0.5]}, "not whole"),
        ({"architecture": "x", "input_size": []}, "not whole"),
        ({"architecture": "x", "model_args": {"act": ["a"]}}, "model_args.act = .*plain value"),
        ({"architecture": "x", "model_args": {"act": None}}, "model_args.act = None: want a plain"),
    ],
)
def test_a_config_that_cannot_be_built_from_is_refused(
    config: object, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        design_of(tmp_path, config)


def test_a_folder_without_config_or_with_a_torn_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json there; want a model of timm or of tr"):
        read_design(str(tmp_path))
    (tmp_path / "config.json").write_bytes(b'{"architecture": "\xff"}')
    with pytest.raises(ModelError, match=r"config\.json: not readable JSON"):
        read_design(str(tmp_path))
    assert find_file(str(tmp_path), "model.safetensors") is None
    assert find_file(str(tmp_path), "config.json") == tmp_path / "config.json"


def test_a_file_of_weights_is_found_by_its_whole_name_first_and_then_without_the_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    assert local_file("resnet18.a1_in1k") is None
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    assert local_file("resnet18.a1_in1k") is None
    for name in ("resnet18", "resnet18.a1_in1k"):
        (tmp_path / f"{name}.safetensors").touch()
        assert local_file("resnet18.a1_in1k") == tmp_path / f"{name}.safetensors"
    assert file_at_hand(replace(ENCODERS["uni"], name="resnet18")) == (
        tmp_path / "resnet18.safetensors"
    )
    spec = resolve_backbone("resnet18")
    assert weights_file(spec, "imagenet") == tmp_path / "resnet18.safetensors"
    assert weights_file(spec, "none") is None
    assert weights_file(spec, "~/w.safetensors") == Path("~/w.safetensors").expanduser()


def test_only_the_tensors_of_a_pickle_are_kept_and_a_safetensors_is_read_as_one(
    tmp_path: Path,
) -> None:
    torch.save({"a": torch.ones(2), "epoch": 3}, tmp_path / "pytorch_model.bin")
    assert list(read_weights_file(tmp_path / "pytorch_model.bin")) == ["a"]
    (tmp_path / "torn.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"torn\.bin: not a plain file of tensors"):
        read_weights_file(tmp_path / "torn.bin")
    save_file({"b": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert list(read_weights_file(tmp_path / "model.safetensors")) == ["b"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("uni", "uni"),
        (" UNI2-H ", "uni2-h"),
        ("hf-hub:MahmoodLab/UNI", "uni"),
        ("hf-hub:mahmoodlab/uni", "uni"),
        ("MahmoodLab/UNI", None),  # a folder could be called so
        ("hf-hub:nobody/uni", None),
        ("", None),
    ],
)
def test_an_encoder_is_found_by_its_name_or_its_place_on_the_hub(
    asked: str, name: str | None
) -> None:
    found = find_encoder(asked)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("name", "design"),
    [
        ("uni", "ViT-L/16"),
        ("uni2-h", "ViT-g/14 reg8"),
        ("virchow2", "ViT-H/14 reg4"),
        ("prov-gigapath", "ViT-g/16"),  # built from a design of 14 pixels
        ("kaiko-s8", "ViT-S/8"),
        ("h0-mini", "ViT-B/14 reg4"),
    ],
)
def test_the_design_of_an_encoder_is_written_as_in_its_paper(name: str, design: str) -> None:
    assert ENCODERS[name].design == design
    assert ENCODERS[name].page == f"https://huggingface.co/{ENCODERS[name].hub}"


SPEC = BackboneSpec(
    "x", 32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "vit", arguments=(("depth", 2), ("swiglu", True))
)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "[]", "{}", '{"name": "x"}', SPEC.to_json()[:-1]),
        *(SPEC.to_json().replace(*pair) for pair in (("0.3]", '"z"]'), ("0.2, ", ""))),
        SPEC.to_json().replace('"size"', '"sizes"'),
    ],
)
def test_a_description_that_is_none_is_refused(text: str) -> None:
    assert BackboneSpec.from_json(SPEC.to_json()) == SPEC
    with pytest.raises(ModelError, match="no description of a network"):
        BackboneSpec.from_json(text)


def test_pixels_may_go_in_as_they_are_and_a_file_that_describes_nothing_says_nothing(
    tmp_path: Path,
) -> None:
    plain = SPEC.preprocessing(size=64, fit="crop", normalised=False)
    assert (plain.mean, plain.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (plain.size, plain.fit) == (64, "crop")
    assert (SPEC.preprocessing().size, SPEC.preprocessing().mean) == (32, SPEC.mean)
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name in ("w", "torn", "none"):
        assert read_spec(tmp_path / f"{name}.safetensors") is None


@pytest.mark.parametrize(
    "name",
    ["efficientnetv2-b0", "EfficientNetV2", "inception_her2", "resnet18", "UNI", "mine@stride8"],
)
def test_a_module_of_ones_own_may_not_take_a_name_that_means_something(name: str) -> None:
    with pytest.raises(ConfigError, match="the name is taken, or has an @; use another"):
        register_backbone(name, torch.nn.Identity())
    assert own_module(name) is None


def test_a_registered_module_is_copied_and_answers_by_the_mean_of_its_map() -> None:
    module = torch.nn.Conv2d(3, 5, 3)
    register_backbone("a convolution", module, size=16)
    network = build_classifier("a convolution", classes=2).eval()
    assert (network.feature_count, network.spec.family) == (5, "Conv2d")
    assert initialise(network, "own").loaded == 0
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network.features(image), module(image).mean(dim=(2, 3)))
        before = network.features(image)
        module.weight.zero_()
        assert torch.equal(network.features(image), before)
    register_backbone("features of mine", torch.nn.Flatten(), size=4)
    assert build_classifier("features of mine", classes=2).feature_count == 48


def test_a_classifier_has_two_classes_or_more_and_memory_is_no_fault_of_a_size() -> None:
    with pytest.raises(ModelError, match="needs at least two classes, got 1"):
        build_classifier("test_efficientnet", classes=1)
    network = build_classifier("test_efficientnet", classes=2).eval()
    for fault in (torch.OutOfMemoryError("no memory"), ModelError("of our own")):
        with pytest.raises(type(fault)) as caught, taking(network, 64):
            raise fault
        assert caught.value is fault
    native = pytest.raises(ConfigError, match="which is its native size: use another backbone")
    with native, taking(network, network.spec.size):
        raise IndexError
    require_size(network, 48)


def layer(width: int = 4) -> dict[str, torch.Tensor]:
    """A layer of a ViT of transformers, every value its own."""
    names = [f"encoder.layer.0.attention.attention.{n}.weight" for n in ("query", "key", "value")]
    return {name: torch.full((width, width), float(n)) for n, name in enumerate(names)}


def test_queries_keys_and_values_become_one_tensor_in_that_order_and_only_together() -> None:
    stem = {"embeddings.cls_token": torch.zeros(1, 1, 4)}
    whole = to_timm({**stem, **layer()}, patches=4)["blocks.0.attn.qkv.weight"]
    assert whole[:, 0].tolist() == [0.0] * 4 + [1.0] * 4 + [2.0] * 4
    two = dict(list(layer().items())[:2])
    assert set(to_timm({**stem, **two}, patches=4)) == {
        *("cls_token", "blocks.0.q.weight", "blocks.0.k.weight")
    }


@pytest.mark.parametrize("prefix", ["", "vit.", "dinov2.", "model.", "backbone."])
def test_the_layout_of_transformers_is_known_under_every_wrapping(prefix: str) -> None:
    tensors = {f"{prefix}embeddings.cls_token": torch.zeros(1, 1, 4)}
    assert is_transformers_layout(tensors)
    more = {f"{prefix}layernorm.weight": torch.ones(4), "pooler.dense.weight": torch.ones(1)}
    more |= {"embeddings.mask_token": torch.ones(1), "lora.weight": torch.ones(1)}
    assert set(to_timm(tensors | more, patches=4)) == {"cls_token", "norm.weight", "lora.weight"}
    assert not is_transformers_layout({"cls_token": torch.zeros(1), "norm.weight": torch.ones(1)})


def test_the_class_tokens_position_is_added_once_where_there_are_registers() -> None:
    positions = torch.arange(5.0).reshape(1, 5, 1)
    tensors = {
        "embeddings.cls_token": torch.full((1, 1, 1), 10.0),
        "embeddings.position_embeddings": positions + 1,
    }
    plain = to_timm(tensors, patches=4)
    assert plain["cls_token"].item() == 10
    assert plain["pos_embed"].shape == (1, 5, 1)
    registers = {**tensors, "embeddings.register_tokens": torch.zeros(1, 4, 1)}
    found = to_timm(registers, patches=4)
    assert found["cls_token"].item() == 11
    assert found["pos_embed"].flatten().tolist() == [2, 3, 4, 5]
    odd = to_timm(tensors, patches=3)  # no square: as it is, so that the loader names its shape
    assert odd["pos_embed"].shape == (1, 5, 1)
