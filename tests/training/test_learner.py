"""What a GPU would be asked for, as far as a CPU can tell: precision, compiling, the bytes' way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError
from eosin.networks.classifier import build_classifier
from eosin.pixels.preprocessing import normalise
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune
from eosin.training.learner import Learner
from eosin.training.precision import fastest_convolutions, half_precision
from eosin.training.transfer import Sender

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SPEC = Preprocessing(size=32)
LABELS = np.array([0, 1, 0, 1])
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def learner(**settings: object) -> Learner:
    config = TrainingConfig(backbone="test_efficientnet").with_overrides(settings)
    network = build_classifier("test_efficientnet", classes=2, dropout=0.0)
    return Learner(network, config, device=CPU, labels=LABELS, spec=SPEC)


def steps(subject: Learner, count: int = 2) -> list[tuple[float, float]]:
    subject.begin_epoch(1)
    return [
        tuple(subject.learn(IMAGES, LABELS, step=step, rate=1.0).tolist()) for step in range(count)
    ]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("count", [1, 3])
def test_bytes_arrive_as_the_very_floats_that_prediction_computes(layout, count):
    spec = Preprocessing(size=48, mean=(0.5, 0.4, 0.3), std=(0.21, 0.22, 0.23))
    every_value = np.arange(count * 48 * 48 * 3, dtype=np.int64) % 256
    images = np.random.default_rng(1).permutation(every_value).astype(np.uint8)
    images = images.reshape(count, 48, 48, 3)
    sent = Sender(spec, CPU, layout=layout).images(images)
    assert sent.is_contiguous(memory_format=layout)
    expected = np.stack([normalise(image, spec) for image in images])
    assert np.array_equal(sent.numpy(), expected)


def test_labels_arrive_as_they_are():
    sent = Sender(SPEC, CPU, layout=torch.channels_last).labels(LABELS)
    assert sent.tolist() == [0, 1, 0, 1]


def test_precision_is_what_the_settings_say_and_the_device_has(monkeypatch):
    def chosen(wanted: str, device: torch.device) -> torch.dtype | None:
        return half_precision(TrainingConfig(mixed_precision=wanted), device)

    assert chosen("auto", CPU) is None
    assert chosen("off", CPU) is None
    assert chosen("bfloat16", CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert chosen("auto", GPU) is torch.bfloat16
    assert chosen("float16", GPU) is torch.float16
    assert chosen("off", GPU) is None
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert chosen("auto", GPU) is torch.float16
    with pytest.raises(ConfigError, match="Tesla T4 has none; use 'float16'"):
        chosen("bfloat16", GPU)


def test_float16_without_a_gpu_is_refused_before_any_epoch(tiny_manifest, tiny_config, tmp_path):
    config = tiny_config.with_overrides({"mixed_precision": "float16"})
    with pytest.raises(ConfigError, match="'float16' needs a GPU; use 'auto', or 'bfloat16'"):
        finetune(tiny_manifest, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_bfloat16_computes_the_network_and_leaves_weights_and_judgement_in_float32():
    seen: list[torch.dtype] = []
    half, full = learner(mixed_precision="bfloat16"), learner()
    half.network.head.register_forward_hook(lambda *said: seen.append(said[2].dtype))
    (loss, _), (expected, _) = steps(half, 1)[0], steps(full, 1)[0]
    assert seen == [torch.bfloat16]
    assert loss == pytest.approx(expected, rel=0.02)
    assert loss != expected
    assert {weight.dtype for weight in half.network.parameters()} == {torch.float32}
    before = full.state()["averaged"]
    half.restore({**half.state(), "averaged": before})
    assert np.array_equal(half.logits(IMAGES), full.logits(IMAGES))


def test_the_compiled_network_is_the_one_that_learns_and_the_plain_one_is_kept(monkeypatch):
    calls: list[torch.nn.Module] = []

    def compiled(network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(pixels: torch.Tensor) -> torch.Tensor:
            calls.append(network)
            return network(pixels)

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    plain, fast = learner(), learner(torch_compile=True)
    expected = steps(plain)
    assert not calls
    assert steps(fast) == expected
    assert calls == [fast.network] * 2
    one, other = fast.state()["network"], plain.state()["network"]
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_search_for_fast_convolutions_ends_with_the_training():
    before = torch.backends.cudnn.benchmark
    with fastest_convolutions():
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU")
def test_a_gpu_receives_the_very_floats_that_prediction_computes():
    sent = Sender(SPEC, GPU, layout=torch.channels_last).images(IMAGES)
    expected = np.stack([normalise(image, SPEC) for image in IMAGES])
    assert np.array_equal(sent.cpu().numpy(), expected)


def test_tied_weights_resume_tied_and_learn_on_as_if_never_interrupted(tmp_path):
    def tied() -> Learner:
        network = build_classifier("test_resnet", classes=2, dropout=0.0)
        block = network.backbone.layer1[0]
        block.conv2.weight = block.conv1.weight
        config = TrainingConfig(backbone="test_resnet", ema=0.9)
        return Learner(network, config, device=CPU, labels=LABELS, spec=SPEC)

    through, resumed = tied(), tied()
    steps(through)
    torch.save(through.state(), tmp_path / "state.pt")
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert steps(through) == steps(resumed)
    np.testing.assert_array_equal(through.logits(IMAGES), resumed.logits(IMAGES))
    block = resumed.judged.backbone.layer1[0]
    assert block.conv1.weight is block.conv2.weight
