"""How the networks of a Run of any kind are opened, and what is said where one cannot be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.run import FoldsRun
from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.files import sha256_of
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.machine import available_cores, computing_threads
from eosin.networks import graphs
from eosin.networks.classifier import build_classifier
from eosin.networks.graphs import choose_runtime, open_session
from eosin.networks.run import Run, read_run, write_run
from eosin.networks.torch_engine import TorchEngine
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def run(
    divided: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(divided, tmp_path_factory.mktemp("runs") / "probe", small_probe).run


@pytest.fixture
def nested(run: Run, tmp_path: Path, folds_of: Callable[..., FoldsRun]) -> Run:
    """Two Runs of folds in one, which share one of their networks under two names."""
    pair = []
    for name, others in (("a", (1, 2)), ("b", (2, 3))):
        folder, members = tmp_path / "outer" / name, []
        for number in others:
            inner = shutil.copytree(run.folder, folder / f"copy-{number}-of-{name}")
            record = with_changes(run.record, fold=number, temperature=float(number))
            members.append(write_run(inner, record))
        pair.append(write_run(folder, folds_of(folder, members)))
    outer = tmp_path / "outer"
    write_run(outer, folds_of(outer, pair))
    return read_run(outer)


def test_networks_inside_runs_inside_runs_are_opened_once_each(nested: Run) -> None:
    opened = nested.networks(device="cpu")
    assert [network.run.record.fold for network in opened] == [1, 2, 3]
    assert [network.name for network in opened] == [
        *("a/copy-1-of-a", "a/copy-2-of-a", "b/copy-3-of-b"),
    ]
    assert len({id(network.engine) for network in opened}) == 3


def test_a_network_that_is_a_member_twice_votes_twice_and_is_asked_once(
    nested: Run, drawn_breakhis: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PredictOptions(allow_seen=True, batch_size=48, device="cpu")
    first, second, third = (
        predict(leaf, drawn_breakhis, options).predictions.probabilities for leaf in nested.leaves()
    )
    asked, answers = [], TorchEngine.answers

    def counting(engine: TorchEngine, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(engine)
        return answers(engine, batch)

    monkeypatch.setattr(TorchEngine, "answers", counting)
    found = predict(nested, drawn_breakhis, options).predictions.probabilities
    assert len(asked) == len(set(asked)) == 3
    assert found == pytest.approx((first + 2 * second + third) / 4, abs=1e-6)


def test_no_file_is_hashed_twice_while_a_run_is_read_and_its_networks_opened(
    nested: Run, drawn_breakhis: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: Counter[str] = Counter()

    def counting(path: Path) -> str:
        hashed[str(path.relative_to(nested.folder))] += 1
        return sha256_of(path)

    monkeypatch.setattr("eosin.networks.run.sha256_of", counting)
    options = PredictOptions(allow_seen=True, device="cpu")
    predict(read_run(nested.folder), drawn_breakhis.paths[:1], options)
    assert set(hashed.values()) == {1}
    assert sorted(path for path in hashed if path.endswith("model.safetensors")) == [
        *("a/copy-1-of-a/model.safetensors", "a/copy-2-of-a/model.safetensors"),
        "b/copy-3-of-b/model.safetensors",
    ]
    assert sum(path.endswith("run.json") for path in hashed) == 7


def test_a_network_says_why_it_has_no_heatmaps(run: Run) -> None:
    (network,) = run.networks(device="cpu")
    assert network.no_maps.startswith("backbone 'test_efficientnet' shrinks 32 px input")
    with pytest.raises(NoMapError, match="to a single position, which has no map"):
        network.maps(np.zeros((1, 3, 32, 32), np.float32))


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name in modules else ModuleSpec(name, None)

    monkeypatch.setattr(graphs, "find_spec", find)


def test_weights_run_in_pytorch_and_an_engine_asks_for_an_export(run: Run) -> None:
    assert run.networks()[0].engine.name == "torch"
    with pytest.raises(ConfigError, match=f"export it first: eosin export {run.folder}"):
        run.networks(engine="onnxruntime")


def test_an_unknown_engine_names_the_known_ones(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"'tensorrt' is unknown; want one of \['auto', 'torch'"):
        run.networks(engine="tensorrt")


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
        "from eosin.networks.openvino_session import import_openvino\n"
        "import eosin.networks.run, eosin.networks.onnxruntime_session\n"
        "import eosin.inference.members, eosin.explanation.explain\n"
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


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None)])
def test_as_many_threads_compute_as_omp_num_threads_says_or_one_a_core(
    said: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert computing_threads() == (threads or available_cores())
