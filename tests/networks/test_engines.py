"""Engines around a graph or a network: what goes in, what comes out, what is refused."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from eosin.artefacts.run import EnsembleRun, TrainedRun
from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.files import sha256_of
from eosin.networks import onnxruntime_session
from eosin.networks.classifier import Classifier, build_classifier, save_classifier
from eosin.networks.engine import open_weights
from eosin.networks.fusion import FusionHead, save_fusion
from eosin.networks.fusion_weights import load_fusion
from eosin.networks.graphs import GraphEngine, choose_runtime, open_session
from eosin.networks.knn_head import KnnHead
from eosin.networks.openvino_session import without_telemetry
from eosin.networks.run import WEIGHTS_NAME, Run, write_run
from eosin.networks.taking_in import take_in
from eosin.networks.torch_engine import TorchEngine

SIZE = 5
Make = Callable[..., TrainedRun]


class Drawn:
    """A runtime whose outputs are drawn from its input, and which keeps what it was given."""

    name, device = "drawn", "cpu"

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []

    def run(self, batch: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        self.given.append(batch)
        mean = batch.mean(axis=(2, 3))
        maps = np.stack([batch[:, 0, :2, :2], -batch[:, 0, :2, :2]], axis=1)
        made = {"logits": mean[:, :2], "features": mean, "maps": maps, "rest": -mean[:, :2]}
        return [made[name] for name in outputs]


def engine(*outputs: str, no_maps: str = "") -> tuple[GraphEngine, Drawn]:
    session = Drawn()
    return GraphEngine(session, outputs=outputs, size=SIZE, no_maps=no_maps, family="vit"), session


def batch(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def test_a_graph_answers_in_double_from_one_pass_over_what_it_was_given() -> None:
    graph, session = engine("logits", "features", no_maps="tokens")
    logits, features = graph.answers(batch())
    assert len(session.given) == 1
    assert logits.dtype == features.dtype == np.float64
    np.testing.assert_array_equal(graph.logits(batch()), logits)
    np.testing.assert_array_equal(graph.features(batch()), features)
    assert (graph.name, graph.device, graph.family) == ("drawn", "cpu", "vit")


def test_a_graph_is_given_contiguous_float32_whatever_comes() -> None:
    graph, session = engine("logits", "features")
    turned = batch().astype(np.float64).transpose(0, 1, 3, 2)
    graph.logits(turned)
    assert session.given[0].dtype == np.float32
    assert session.given[0].flags.c_contiguous
    np.testing.assert_array_equal(session.given[0], turned.astype(np.float32))


@pytest.mark.parametrize(
    "shape", [(0, 3, 5, 5), (2, 1, 5, 5), (2, 3, 5, 6), (3, 5, 5), (2, 3, 4, 4)]
)
def test_input_of_another_shape_never_reaches_the_runtime(shape: tuple[int, ...]) -> None:
    graph, session = engine("logits", "features")
    with pytest.raises(ModelError, match=r"input of shape .*; this graph takes \(n, 3, 5, 5\)"):
        graph.answers(np.zeros(shape, np.float32))
    assert not session.given


def test_maps_are_those_of_the_class_asked_of_each_image_and_their_stride_is_rounded_up() -> None:
    graph, _ = engine("logits", "features", "maps")
    found = graph.maps(batch())
    assert found.stride == 3  # 5 pixels over 2 places
    assert found.split is None
    chosen = found.of(np.array([1, 0, 1]))
    first = batch()[:, 0, :2, :2]
    np.testing.assert_array_equal(chosen, np.stack([-first[0], first[1], -first[2]]))
    np.testing.assert_array_equal(found.logits, graph.logits(batch()))


def test_a_transformers_maps_are_the_positive_part_of_its_terms() -> None:
    graph, _ = engine("logits", "features", "maps", "rest")
    found = graph.maps(batch())
    assert found.split is not None
    assert found.stride == 3
    terms = found.split.patches
    assert terms.min() < 0
    np.testing.assert_array_equal(found.of_all, np.maximum(terms, 0))
    np.testing.assert_array_equal(found.split.rest, -found.logits.astype(np.float32))
    with pytest.raises(NoMapError, match="this exported Run gives no heatmaps: tokens"):
        engine("logits", "features", no_maps="tokens")[0].maps(batch())


@pytest.mark.parametrize(
    ("form", "asked", "said"),
    [
        ("openvino", "onnxruntime", r"does not read g; use auto or openvino, or export"),
        ("onnx", "torch", r"does not read g; use auto or onnxruntime or openvino"),
    ],
)
def test_a_runtime_that_does_not_read_a_format_is_told_which_do(
    form: str, asked: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_runtime(Path("g"), form, engine=asked)  # type: ignore[arg-type]
    assert choose_runtime(Path("g"), "onnx", engine="openvino") == "openvino"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_graph_that_is_damaged_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    path = tmp_path / ("model.onnx" if name == "onnxruntime" else "model.xml")
    path.write_bytes(b"no graph")
    with pytest.raises(
        ModelError, match=r"model\.\w+: .* cannot load it \(.*\); export the Run"
    ) as e:
        open_session(path, name)
    assert "\n" not in str(e.value)
    for device in ("mps", "gpu"):
        with pytest.raises(ConfigError, match=f"device '{device}'"):
            open_session(path, name, device=device)


def test_a_gpu_that_onnx_runtime_was_not_built_for_is_named_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="has no CUDA; use auto or cpu, or pip install onnxrun"):
        open_session(tmp_path / "model.onnx", "onnxruntime", device="cuda:0")


@pytest.fixture
def copying(tmp_path: Path) -> Path:
    """A graph that gives its input back."""
    onnx = pytest.importorskip("onnx")
    helper, sides = onnx.helper, ["n", 3, SIZE, SIZE]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides)
        for name in ("pixels", "logits")
    ]
    node = helper.make_node("Identity", ["pixels"], ["logits"])
    graph = helper.make_graph([node], "copying", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def test_a_gpu_that_cannot_be_started_is_never_said_to_have_computed(
    copying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: both)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        session = open_session(copying, "onnxruntime")
    assert session.device == "cpu"
    np.testing.assert_array_equal(session.run(batch(), ["logits"])[0], batch())
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ConfigError, match="device 'cuda:0': ONNX Runtime cannot start CUDA here"),
    ):
        open_session(copying, "onnxruntime", device="cuda:0")


@pytest.mark.parametrize(("device", "number"), [("auto", "0"), ("cuda", "0"), ("cuda:1", "1")])
def test_onnx_runtime_is_given_the_gpu_that_was_asked_for(device: str, number: str) -> None:
    cuda, cpu = onnxruntime_session._providers(device, ["CUDAExecutionProvider"])
    assert cuda == ("CUDAExecutionProvider", {"device_id": number})
    assert cpu == "CPUExecutionProvider"
    with pytest.raises(ConfigError, match="device 'cuda1' is unknown"):
        onnxruntime_session._providers("cuda1", ["CUDAExecutionProvider"])


class OnAppleGpu(torch.Tensor):
    """A tensor that, as those on Apple GPUs, cannot be float64 where it is."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # what is made of it is plain

    def double(self) -> torch.Tensor:  # type: ignore[override]
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


def test_answers_of_an_apple_gpu_become_double_on_the_cpu() -> None:
    network = build_classifier("test_efficientnet", classes=2)
    network.head.register_forward_hook(lambda _, __, found: found.as_subclass(OnAppleGpu))
    pixels = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    engine = TorchEngine(network, device="cpu")
    logits = engine.logits(pixels)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(engine.maps(pixels).logits, logits, rtol=1e-4, atol=1e-5)
    features = engine.features(pixels).astype(np.float32)
    np.testing.assert_allclose(engine.head_logits(features), logits, rtol=1e-5, atol=1e-6)


def test_a_package_of_usage_reports_is_hidden_during_an_import_and_there_again_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports = types.ModuleType("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", reports)
    with without_telemetry(), pytest.raises(ModuleNotFoundError):
        import openvino_telemetry  # noqa: F401
    assert sys.modules["openvino_telemetry"] is reports
    monkeypatch.delitem(sys.modules, "openvino_telemetry")
    with pytest.raises(ZeroDivisionError), without_telemetry():
        raise ZeroDivisionError
    assert "openvino_telemetry" not in sys.modules


@pytest.fixture(scope="module")
def network() -> Classifier:
    return build_classifier("test_efficientnet", classes=3, dropout=0.9, seed=2)


def test_pytorch_answers_without_dropout_and_each_image_alone(network: Classifier) -> None:
    pixels = np.random.default_rng(1).normal(size=(4, 3, 64, 64)).astype(np.float32)
    opened = TorchEngine(network, device="cpu")
    logits, features = opened.answers(pixels)
    assert logits.dtype == np.float64
    np.testing.assert_array_equal(opened.answers(pixels)[0], logits)
    np.testing.assert_allclose(opened.features(pixels), features, atol=1e-6)
    np.testing.assert_allclose(opened.logits(pixels[2:3]), logits[2:3], atol=1e-5)
    by_hand = features @ network.head.weight.detach().double().numpy().T
    by_hand += network.head.bias.detach().double().numpy()
    np.testing.assert_allclose(logits, by_hand, atol=1e-5)
    np.testing.assert_allclose(opened.head_logits(features.astype(np.float32)), logits, atol=1e-5)
    assert (opened.name, opened.device, opened.family) == ("torch", "cpu", network.spec.family)


def test_half_precision_is_near_and_not_the_same(network: Classifier) -> None:
    pixels = np.random.default_rng(1).normal(size=(2, 3, 64, 64)).astype(np.float32)
    full = TorchEngine(network, device="cpu").features(pixels)
    half = TorchEngine(network, device="cpu", bfloat16=True).features(pixels)
    assert half.dtype == np.float64
    difference = np.abs(half - full).max()
    assert 0 < difference < 0.05 * np.abs(full).max()


def test_what_features_depend_on_is_all_of_the_network_but_its_head(network: Classifier) -> None:
    state = TorchEngine(network, device="cpu").backbone_state()
    assert set(state) == {name for name in network.state_dict() if name.startswith("backbone.")}
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
        with pytest.raises(ModelError, match="not finite"):
            TorchEngine(network, device="cpu").head_logits(np.zeros((1, 256), np.float32))
        network.head.bias.zero_()


def test_a_vote_of_neighbours_comes_back_from_its_file_with_the_network(
    tmp_path: Path, make_record: Make
) -> None:
    network = build_classifier("test_efficientnet", classes=2).eval()
    rng = torch.Generator().manual_seed(0)
    bank = torch.randn(6, network.feature_count, generator=rng)
    network.head = KnnHead(bank, nn.functional.one_hot(torch.arange(6) % 2), 40)
    save_classifier(network, tmp_path / "model.safetensors")
    opened = open_weights(tmp_path / "model.safetensors", make_record(), device="cpu")
    assert isinstance(opened.classifier.head, KnnHead)
    assert int(opened.classifier.head.neighbours) == 6  # no more than there are
    features = np.random.default_rng(0).normal(size=(3, network.feature_count))
    np.testing.assert_allclose(
        opened.head_logits(features.astype(np.float32)), network.head.logits(features), atol=1e-6
    )
    assert KnnHead.among({"head.bank": bank, "head.votes": bank}) is None


def fused(tmp_path: Path, make_record: Make, *, classes: int = 2) -> Run:
    members = [write_run(tmp_path / name, make_record(seed=n)) for n, name in enumerate("ab")]
    folder = tmp_path / "fused"
    folder.mkdir()
    torch.manual_seed(1)
    save_fusion(FusionHead(6, classes), folder / WEIGHTS_NAME)
    return write_run(folder, record_of(folder, members))


def record_of(folder: Path, members: Sequence[Run]) -> EnsembleRun:
    own = {k: v for k, v in dict(members[0].record).items() if k != "kind"}
    digest = {"weights_sha256": sha256_of(folder / WEIGHTS_NAME)}
    made = {"members": take_in(folder, members), "vote": "fusion", "weights": ()}
    return EnsembleRun.model_validate({**own, **digest, **made})


def test_a_fusion_head_answers_the_same_from_its_file_and_keeps_its_mode(
    tmp_path: Path, make_record: Make
) -> None:
    torch.manual_seed(1)
    head, features = FusionHead(6, 2), np.random.default_rng(0).normal(size=(5, 6))
    head.train()
    wanted = head.logits(features)
    assert head.training
    np.testing.assert_array_equal(head.logits(features), wanted)  # no dropout
    np.testing.assert_allclose(
        load_fusion(fused(tmp_path, make_record)).logits(features), wanted, atol=1e-6
    )


@pytest.mark.parametrize("fault", ["classes", "torn", "nan", "changed", "lost"])
def test_a_fusion_head_that_is_not_the_runs_own_is_named(
    fault: str, tmp_path: Path, make_record: Make
) -> None:
    run = fused(tmp_path, make_record, classes=3 if fault == "classes" else 2)
    path = run.weights_path
    if fault == "nan":
        tensors = load_file(path)
        tensors["layers.10.bias"][0] = float("nan")
        save_file(tensors, path)
    elif fault in ("torn", "changed"):
        path.write_bytes(path.read_bytes()[:100])
    if fault in ("nan", "torn"):  # as if it had been written so
        run = write_run(run.folder, record_of(run.folder, run.open_members()))
    if fault == "lost":
        path.unlink()
    said = {
        "classes": r"not the fusion head of .*\(scores 3 classes, not 2\); make the ensemble again",
        "nan": r"layers\.10\.bias holds values that are not finite",
        "torn": "not the fusion head of",
        "changed": "changed since run.json was written",
        "lost": "missing; copy the whole folder again",
    }
    with pytest.raises(ModelError, match=said[fault]):
        load_fusion(run)
