"""The classifier is timm's network with a head, and comes back from disk as it was."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.networks.classifier import (
    build_classifier,
    require_size,
    save_classifier,
)
from eosin.networks.device import choose_device
from eosin.networks.run import WEIGHTS_NAME, weights_digest, write_run
from eosin.networks.weights import load_classifier

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


def test_an_image_size_that_a_network_cannot_take_is_one_sentence_with_one_that_it_can():
    network = build_classifier("inception_v3", classes=2).eval()
    with pytest.raises(ConfigError, match=r"inception_v3.*64 pixels \(.*native size is 299"):
        require_size(network, 64)
    require_size(network, 96)
    with pytest.raises(ConfigError, match=r"test_vit3.* 64 pixels \(.*native size is 160"):
        require_size(build_classifier("test_vit3", classes=2).eval(), 64)


def test_answers_that_are_not_finite_are_refused_though_every_weight_is():
    network = build_classifier(TINY, classes=2).eval()
    network.backbone.bn1.weight.data.fill_(1e38)
    with pytest.raises(ModelError, match=f"{TINY}.*not finite"):
        require_size(network, 64)


def test_a_trial_changes_nothing_in_the_network_and_draws_nothing():
    network = build_classifier(TINY, classes=2, seed=4).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    require_size(network, 32)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, before[n]) for n, tensor in network.state_dict().items())


def test_a_network_that_scores_more_than_its_last_map_has_none_to_draw(monkeypatch):
    network = build_classifier(TINY, classes=2).eval()
    pooled = network.backbone.forward
    monkeypatch.setattr(network.backbone, "forward", lambda x: pooled(x) + x.mean())
    with torch.inference_mode():
        assert network(images()).shape == (2, 2)
        with pytest.raises(NoMapError, match=f"{TINY}.*more than its last feature map"):
            network.feature_map(images())


def test_a_map_whose_places_are_taken_for_channels_is_not_drawn():
    network = build_classifier("test_mambaout", classes=2).eval()
    with torch.inference_mode():
        assert network.feature_map(images(1, side=96)).shape == (1, 64, 3, 3)
    misread = build_classifier("test_mambaout", classes=2).eval()
    misread._channels_at_end = False
    with torch.inference_mode(), pytest.raises(NoMapError):
        misread.feature_map(images(1, side=96))


def test_a_device_that_is_not_there_or_is_none_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ConfigError, match="'cuda:1': PyTorch sees 1 GPU here"):
        choose_device("cuda:1")
    for name in ("cuda:x", "cudah", "mps:0", "cuda:"):
        with pytest.raises(ConfigError, match=f"device '{name}' is unknown"):
            choose_device(name)


def test_an_apple_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == torch.device("mps")
    assert choose_device("auto").type != "mps"  # only by name: its sums are not those of a CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no Apple GPU"):
        choose_device("mps")
