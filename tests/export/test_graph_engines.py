"""Engines of one graph agree with PyTorch and with each other, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eosin.artefacts.manifest import Manifest
from eosin.errors import ConfigError, ModelError
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation
from eosin.explanation.heatmap_checks import ScoreOptions
from eosin.networks.cam import class_maps
from eosin.networks.run import Run
from eosin.networks.torch_engine import TorchEngine
from eosin.networks.weights import load_classifier
from eosin.pixels.batches import read_batches

ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def pixels(trained: Run, divided: Manifest) -> np.ndarray:
    (batch,) = read_batches(divided.paths[:5], trained.record.preprocessing)
    return batch.pixels


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("images", [1, 3, 5])
def test_logits_features_and_maps_are_those_of_pytorch(
    trained: Run, onnx: Run, pixels: np.ndarray, engine: str, threads: int, images: int
) -> None:
    reference = TorchEngine(load_classifier(trained), device="cpu")
    (graph,) = onnx.networks(engine=engine, threads=threads)
    batch = pixels[:images]
    _, maps = class_maps(load_classifier(trained), torch.from_numpy(batch))
    found = graph.maps(batch)
    np.testing.assert_allclose(found.logits, reference.logits(batch), atol=1e-4)
    np.testing.assert_allclose(graph.logits(batch), found.logits, atol=1e-6)
    np.testing.assert_allclose(graph.features(batch), reference.features(batch), atol=1e-4)
    for target in range(maps.shape[1]):
        wanted = maps.numpy()[:, target]
        drawn = found.of(np.full(images, target))
        np.testing.assert_allclose(drawn, wanted, atol=1e-3 * float(maps.max()))
    assert (graph.engine.name, graph.engine.device) == (engine, "cpu")


def test_auto_takes_onnx_runtime_for_onnx_and_openvino_for_its_own(
    onnx: Run, openvino: Run, trained: Run
) -> None:
    opened = [run.networks()[0].engine.name for run in (onnx, openvino, trained)]
    assert opened == [*ENGINES, "torch"]


def test_an_engine_that_cannot_run_a_run_says_what_can(onnx: Run, openvino: Run) -> None:
    with pytest.raises(ConfigError, match=r"onnxruntime' does not read .*model.xml; use auto"):
        openvino.networks(engine="onnxruntime")
    with pytest.raises(ConfigError, match="which PyTorch does not run"):
        onnx.networks(engine="torch")
    with pytest.raises(ConfigError, match="device 'cuda': the engine openvino runs on the CPU"):
        openvino.networks(device="cuda")
    with pytest.raises(ConfigError, match="device 'tpu' is unknown"):
        onnx.networks(device="tpu")


def test_images_of_another_size_are_refused(onnx: Run) -> None:
    with pytest.raises(ModelError, match=r"this graph takes \(n, 3, 64, 64\)"):
        onnx.networks()[0].logits(np.zeros((1, 3, 32, 32), np.float32))


def test_heatmaps_of_an_export_stand_beside_those_of_its_run(
    trained: Run, onnx: Run, divided: Manifest
) -> None:
    stream = explain([trained, onnx], divided, ExplainOptions())
    items = [item for item in stream if isinstance(item, Explanation)]
    strongest = max(items, key=lambda item: float(item.members[0].raw.max())).members
    np.testing.assert_allclose(strongest[1].values, strongest[0].values, atol=1e-3)
    for item in items:
        ours, theirs = item.members
        assert (ours.family, ours.backbone) == (theirs.family, theirs.backbone)
        np.testing.assert_allclose(theirs.raw, ours.raw, atol=1e-3 * strongest[0].raw.max())
        assert theirs.probability == pytest.approx(ours.probability, abs=1e-4)


def test_hirescam_is_the_same_map_and_other_methods_need_the_original(
    onnx: Run, divided: Manifest
) -> None:
    first, second = (
        next(explain([onnx], divided, ExplainOptions(method=method)))
        for method in ("gradcam", "hirescam")
    )
    assert isinstance(first, Explanation)
    assert isinstance(second, Explanation)
    np.testing.assert_array_equal(first.members[0].raw, second.members[0].raw)
    with pytest.raises(ConfigError, match="'layercam' needs PyTorch and the original Run"):
        explain([onnx], divided, ExplainOptions(method="layercam"))
    with pytest.raises(ConfigError, match="checks of faithfulness need PyTorch"):
        explain([onnx], divided, ExplainOptions(score=ScoreOptions()))
