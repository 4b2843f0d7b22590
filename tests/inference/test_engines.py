"""Which engine runs a Run, and what is said where none can."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.splits import split_by_fractions
from eosin.errors import ConfigError, ModelError
from eosin.inference import graphs
from eosin.inference.engines import TorchEngine, open_engine
from eosin.inference.graphs import choose_runtime, open_session
from eosin.machine import available_cores
from eosin.networks.classifier import build_classifier
from eosin.networks.run import Run
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def run(
    drawn_breakhis: Manifest,
    small_probe: TrainingConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    return train(divided, tmp_path_factory.mktemp("runs") / "probe", small_probe).run


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name in modules else ModuleSpec(name, None)

    monkeypatch.setattr(graphs, "find_spec", find)


def test_weights_run_in_pytorch_and_an_engine_asks_for_an_export(run: Run) -> None:
    assert open_engine(run).name == "torch"
    with pytest.raises(ConfigError, match=f"export it first: eosin export {run.folder}"):
        open_engine(run, engine="onnxruntime")


def test_an_unknown_engine_names_the_known_ones(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"'tensorrt' is unknown; want one of \['auto', 'torch'"):
        open_engine(run, engine="tensorrt")


def test_without_onnx_runtime_openvino_reads_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    assert choose_runtime(Path("model.onnx"), "onnx") == "onnxruntime"
    without(monkeypatch, "onnxruntime")
    assert choose_runtime(Path("model.onnx"), "onnx") == "openvino"
    without(monkeypatch, "onnxruntime", "openvino")
    with pytest.raises(ConfigError, match=r'none is installed: pip install "eosin\[onnx\]"'):
        choose_runtime(Path("model.onnx"), "onnx")


def test_an_engine_asked_for_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, "openvino")
    with pytest.raises(ConfigError, match=r'not installed: pip install "eosin\[openvino\]"'):
        open_session(Path("model.xml"), "openvino")


def test_the_graph_engines_import_no_torch_and_no_telemetry() -> None:
    check = (
        "import sys\n"
        "from eosin.inference.openvino_library import import_openvino\n"
        "import eosin.inference.engines, eosin.inference.graphs, eosin.inference.members\n"
        "import eosin.explanation.explain, eosin.explanation.graph_networks\n"
        "import eosin.inference.onnxruntime_session, eosin.inference.openvino_session\n"
        "assert import_openvino().Core\n"
        "found = [m for m in ('torch', 'timm', 'openvino_telemetry') if m in sys.modules]\n"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_is_at_least_one_core() -> None:
    assert available_cores() >= 1


def test_a_size_that_a_network_cannot_take_and_answers_without_a_number_are_each_one_sentence() -> (
    None
):
    rigid = TorchEngine(build_classifier("test_vit3", classes=2), device="cpu")
    with pytest.raises(ConfigError, match=r"'test_vit3' cannot take images of 64 pixels"):
        rigid.logits(np.zeros((1, 3, 64, 64), np.float32))
    broken = build_classifier("test_efficientnet", classes=2)
    broken.head.bias.data.fill_(float("inf"))
    with pytest.raises(ModelError, match="'test_efficientnet' answers with values that are not"):
        TorchEngine(broken, device="cpu").logits(np.zeros((1, 3, 32, 32), np.float32))
