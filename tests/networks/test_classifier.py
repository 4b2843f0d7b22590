"""The classifier is timm's network with a head, and comes back from disk as it was."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from eosin.errors import ModelError
from eosin.networks.classifier import build_classifier, load_classifier, save_classifier
from eosin.networks.run import WEIGHTS_NAME, weights_digest, write_run

TINY = "test_efficientnet"


def images(count: int = 2, *, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def kept(make_record):
    """A network kept as a Run."""

    def keep(network, folder):
        save_classifier(network, folder / WEIGHTS_NAME)
        return write_run(folder, make_record(weights_sha256=weights_digest(folder)))

    return keep


@pytest.mark.parametrize("name", [TINY, "test_convnext", "test_resnet"])
def test_features_and_the_pooled_map_equal_timms_own_network(name):
    network = build_classifier(name, classes=2).eval()
    own = timm.create_model(name, num_classes=0).eval()
    own.load_state_dict(network.backbone.state_dict())
    with torch.inference_mode():
        expected = own(images())
        assert torch.equal(network.features(images()), expected)
        last = network.feature_map(images())
        assert last.ndim == 4
        assert torch.equal(network.pool(last), expected)
        assert torch.equal(network(images()), network.head(expected))


def test_a_map_whose_channels_come_last_is_turned_and_pooled_alike():
    network = build_classifier("swin_tiny_patch4_window7_224", classes=2).eval()
    with torch.inference_mode():
        last = network.feature_map(images(1, side=224))
        assert last.shape == (1, 768, 7, 7)
        torch.testing.assert_close(network.pool(last), network.features(images(1, side=224)))


def test_a_transformer_predicts_but_says_that_it_has_no_map():
    network = build_classifier("test_vit", classes=2).eval()
    with torch.inference_mode():
        assert network(images(1, side=160)).shape == (1, 2)
        with pytest.raises(ModelError, match=r"test_vit.*no spatial feature map"):
            network.feature_map(images(1, side=160))


def test_the_seed_alone_decides_the_random_weights_and_the_callers_draws_go_on():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build_classifier(TINY, classes=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_a_run_gives_back_the_network_that_was_saved(tmp_path, kept):
    network = build_classifier(TINY, classes=2, seed=9).eval()
    loaded = load_classifier(kept(network, tmp_path))
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(images()), network(images()))


def test_changed_missing_or_foreign_weights_are_refused_by_name(tmp_path, kept, make_record):
    network = build_classifier(TINY, classes=2)
    path = tmp_path / WEIGHTS_NAME
    run = kept(network, tmp_path)
    tensors = load_file(path)
    tensors.pop("head.bias")
    save_file(tensors, path)
    with pytest.raises(ModelError, match="changed since"):
        load_classifier(run)
    with pytest.raises(ModelError, match=rf"{path}.*head\.bias"):
        load_classifier(write_run(tmp_path, make_record(weights_sha256=weights_digest(tmp_path))))
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_classifier(run)


def test_a_run_made_of_members_has_no_network_of_its_own(tmp_path, kept, folds_of):
    member = kept(build_classifier(TINY, classes=2), tmp_path / "fold-1")
    with pytest.raises(ModelError, match="load each of its members"):
        load_classifier(write_run(tmp_path, folds_of(tmp_path, [member])))
