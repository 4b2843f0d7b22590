"""A network in a folder, as timm saves one, trains here and is known again from its Run alone."""

import json
import shutil

import timm
import torch
from safetensors.torch import save_file

from eosin.networks.backbones import BackboneSpec, resolve_backbone
from eosin.networks.classifier import build_classifier, read_spec, save_classifier
from eosin.networks.engine import open_weights
from eosin.networks.weights import initialise

SHAPE = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3}


def folder_of_timm(folder):
    folder.mkdir()
    torch.manual_seed(4)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **SHAPE).eval()
    config = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": SHAPE,
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            "mean": [0.6, 0.5, 0.4],
            "std": [0.3, 0.2, 0.1],
            "interpolation": "bilinear",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return network


def test_a_folder_that_timm_can_build_is_a_backbone_with_its_own_colours_and_size(tmp_path):
    own = folder_of_timm(tmp_path / "mine")
    network = build_classifier(str(tmp_path / "mine"), classes=2).eval()
    report = initialise(network, "imagenet")
    assert report.loaded == len(own.state_dict())
    spec = network.spec.preprocessing()
    assert (spec.size, spec.mean, spec.std) == (32, (0.6, 0.5, 0.4), (0.3, 0.2, 0.1))
    assert spec.interpolation == "bilinear"
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network.features(image), own(image))


def test_its_run_opens_where_the_folder_is_gone(tmp_path, make_record):
    folder_of_timm(tmp_path / "mine")
    network = build_classifier(str(tmp_path / "mine"), classes=2).eval()
    initialise(network, "imagenet")
    save_classifier(network, tmp_path / "model.safetensors")
    shutil.rmtree(tmp_path / "mine")
    record = make_record(backbone=network.spec.name)
    opened = open_weights(tmp_path / "model.safetensors", record, device="cpu")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(opened.classifier(image), network(image))
    assert read_spec(tmp_path / "model.safetensors") == network.spec


def test_a_description_goes_to_text_and_back():
    spec = resolve_backbone("uni2-h")
    assert BackboneSpec.from_json(spec.to_json()) == spec
