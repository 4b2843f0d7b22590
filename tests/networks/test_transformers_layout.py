"""A ViT or Dinov2 of transformers, saved to disk, gives the same embedding here."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from eosin.errors import ModelError
from eosin.networks.backbones import resolve_backbone
from eosin.networks.classifier import build_classifier
from eosin.networks.transformers_layout import to_timm
from eosin.networks.weights import initialise

transformers = pytest.importorskip("transformers", reason="transformers is not installed here")
BODY = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 56,
    "patch_size": 14,
}
# transformers 4 wrote these names; files on the hub still bear them.
OF_VERSION_4 = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


def saved(kind, folder, **changes):
    """A model of transformers with every value drawn at random, saved as its library saves it."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**BODY, **changes})
    options = {"add_pooling_layer": False} if kind == "ViT" else {}
    model = getattr(transformers, f"{kind}Model")(config, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model


def loaded(backbone, weights="imagenet"):
    network = build_classifier(backbone, classes=2).eval()
    report = initialise(network, weights)
    assert report.loaded == len(network.backbone.state_dict())
    return network


def images(side=56):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("ViT", {}),
        ("Dinov2", {}),
        ("Dinov2", {"use_swiglu_ffn": True}),
        ("Dinov2WithRegisters", {}),
        ("Dinov2WithRegisters", {"use_swiglu_ffn": True}),
    ],
)
def test_a_saved_model_gives_the_same_embedding_to_a_hundred_thousandth(tmp_path, kind, changes):
    model = saved(kind, tmp_path, **changes)
    network = loaded(str(tmp_path))
    with torch.inference_mode():
        wanted = model(images()).last_hidden_state
        found = network.backbone.forward_features(images())
        assert torch.allclose(network.features(images()), wanted[:, 0], atol=1e-5, rtol=1e-5)
    assert torch.allclose(found, wanted, atol=1e-5, rtol=1e-5)


def test_files_with_the_names_of_version_4_load_alike(tmp_path):
    model = saved("Dinov2", tmp_path, use_swiglu_ffn=True)
    if not any("gate_proj" in name for name in model.state_dict()):
        pytest.skip("this transformers gives these tensors the names of version 4 itself")
    old = {}
    for name, tensor in model.state_dict().items():
        for new, former in OF_VERSION_4.items():
            name = name.replace(new, former)
        old[name.replace("mlp.down_proj", "mlp.weights_out")] = tensor
    for layer in range(3):
        for part in ("weight", "bias"):
            stem = f"encoder.layer.{layer}.mlp"
            both = [old.pop(f"{stem}.{name}_proj.{part}") for name in ("gate", "up")]
            old[f"{stem}.weights_in.{part}"] = torch.cat(both)
    save_file(old, tmp_path / "model.safetensors")
    with torch.inference_mode():
        wanted = model(images()).last_hidden_state[:, 0]
        assert torch.allclose(loaded(str(tmp_path)).features(images()), wanted, atol=1e-5)


def test_positions_of_another_grid_are_resampled_as_transformers_does(tmp_path):
    model = saved("Dinov2", tmp_path)  # 4 x 4 patches
    tensors = load_file(tmp_path / "model.safetensors")
    found = to_timm(tensors, patches=9)["pos_embed"]
    wanted = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 10, 48), 42, 42)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_dropped_and_an_unknown_tensor_are_named_after_the_remap_too(tmp_path):
    saved("ViT", tmp_path)
    tensors = {
        name: each.clone() for name, each in load_file(tmp_path / "model.safetensors").items()
    }
    first = next(name for name in tensors if name.endswith(("k_proj.weight", "key.weight")))
    value = tensors.pop(first)
    save_file(tensors, tmp_path / "model.safetensors")
    network = build_classifier(str(tmp_path), classes=2)
    with pytest.raises(ModelError, match=r"missing blocks\.\d\.attn\.qkv\.weight; unknown"):
        initialise(network, "imagenet")
    save_file(
        {**tensors, first: value, "lora.weight": value.clone()}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"unknown lora\.weight"):
        initialise(network, "imagenet")


def test_phikons_own_layout_fills_its_entry_of_the_table_with_equal_outputs(tmp_path, monkeypatch):
    body = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    shape = {**body, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16}
    model = saved("ViT", tmp_path, **shape)
    (tmp_path / "model.safetensors").rename(tmp_path / "phikon.safetensors")
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    network = loaded("phikon")
    with torch.inference_mode():
        wanted = model(images(224)).last_hidden_state[:, 0]
        assert torch.allclose(network.features(images(224)), wanted, atol=1e-5, rtol=1e-5)


def test_what_is_neither_timms_nor_a_vit_of_transformers_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "conch", "auto_map": {"x": "y.py"}}')
    with pytest.raises(ModelError, match="runs no code from elsewhere"):
        resolve_backbone(str(tmp_path))
