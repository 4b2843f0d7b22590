"""Backbones are found by alias, timm name or not at all."""

import pytest

from eosin.errors import ConfigError, ModelError
from eosin.networks.backbones import STUDY_BACKBONES, family_note, resolve_backbone


@pytest.mark.parametrize(
    ("alias", "name", "size"),
    [
        ("efficientnetv1-b0", "efficientnet_b0", 224),
        ("efficientnetv1-b1", "efficientnet_b1", 240),
        ("efficientnetv1-b2", "efficientnet_b2", 260),
        ("efficientnetv1-b3", "efficientnet_b3", 300),
        ("efficientnetv1-b4", "efficientnet_b4", 380),
        ("efficientnetv2-b0", "tf_efficientnetv2_b0", 224),
        ("efficientnetv2-b1", "tf_efficientnetv2_b1", 240),
        ("efficientnetv2-b2", "tf_efficientnetv2_b2", 260),
        ("efficientnetv2-b3", "tf_efficientnetv2_b3", 300),
        ("EfficientNetV2-S", "tf_efficientnetv2_s", 384),
    ],
)
def test_the_ten_of_the_study_have_their_native_sizes_by_alias_and_by_timm_name(alias, name, size):
    spec = resolve_backbone(alias)
    assert (spec.name, spec.size) == (name, size)
    assert spec.family == ("EfficientNetV1" if "v1" in alias.lower() else "EfficientNetV2")
    assert resolve_backbone(name) == spec
    assert len(STUDY_BACKBONES) == 10


def test_any_timm_name_brings_the_test_size_and_colours_of_its_weights():
    spec = resolve_backbone("resnet18")
    assert (spec.size, spec.mean, spec.family) == (288, (0.485, 0.456, 0.406), "resnet")
    assert resolve_backbone("tf_efficientnetv2_s.in1k").mean == (0.5, 0.5, 0.5)


def test_the_her2_inception_takes_299_pixels():
    assert resolve_backbone("inception_her2").preprocessing().size == 299


def test_an_unknown_backbone_is_answered_with_the_nearest_names():
    with pytest.raises(ModelError, match=r"'efficientnetv2-b9'.*efficientnetv2-b0"):
        resolve_backbone("efficientnetv2-b9")
    with pytest.raises(ModelError, match="nope"):
        resolve_backbone("tf_efficientnetv2_s.nope")


def test_a_transformer_of_fixed_size_refuses_another_one():
    spec = resolve_backbone("test_vit")
    assert spec.preprocessing().size == 160
    with pytest.raises(ConfigError, match="160 pixels only, not 64"):
        spec.preprocessing(size=64)


@pytest.mark.parametrize(
    ("family", "name"),
    [("EfficientNetV2", "tf_efficientnetv2_b0"), ("efficientnetv1", "efficientnet_b0")],
)
def test_a_family_by_its_name_is_its_b0_and_that_is_said(family, name):
    assert resolve_backbone(family).name == name
    assert family_note(family) == f"{family} is a family of networks; its b0 is taken: {name}."
    assert family_note(f"{family}@stride8").endswith(f"{name}@stride8.")
    assert family_note(name) == ""
