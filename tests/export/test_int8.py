"""Export in 8-bit integers: kept where every bar holds, else refused with figures and FP32."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from eosin.artefacts.codec import with_changes
from eosin.artefacts.int8 import Int8Trial, Quality, Speed
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.run import EnsembleRun, ExportedRun
from eosin.cli.app import app
from eosin.errors import ConfigError, DataError, LeakageError
from eosin.export import int8_gate, quantise
from eosin.export.check_images import choose_images
from eosin.export.export import ExportOptions, export_run
from eosin.export.int8_gate import failed_bars, measure_speed, try_int8
from eosin.export.int8_images import Int8Images, choose_int8_images
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.classifier import save_classifier
from eosin.networks.graphs import GraphEngine
from eosin.networks.run import Run, read_run, weights_digest, write_run
from eosin.networks.taking_in import take_in
from eosin.networks.weights import load_classifier
from eosin.progress import Silent

FAST = Speed("onnxruntime", 2, 16, 15, fp32=90.0, int8=167.0, ratio=1.86, low=1.8, high=1.9)
SLOW = replace(FAST, int8=60.0, ratio=0.67, low=0.6, high=0.7)
GOOD = Quality(accuracy=0.9, calibration_error=0.05)


@pytest.fixture(scope="module")
def lively(trained: Run, divided: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The Run with features of the size that trained networks have.

    Random weights make them smaller than the least range that an 8-bit layer may have.
    """
    network = load_classifier(trained)
    pixels = choose_images(trained, divided).prepared(trained.record.preprocessing)
    network.train()
    with torch.no_grad():
        for _ in range(40):
            network(torch.from_numpy(pixels))
        torch.manual_seed(0)
        assert isinstance(network.head, torch.nn.Linear)
        torch.nn.init.normal_(network.head.weight, std=0.005)
    folder = tmp_path_factory.mktemp("lively")
    save_classifier(network.eval(), folder / "model.safetensors")
    return write_run(
        folder, with_changes(trained.record, weights_sha256=weights_digest(folder), reference=None)
    )


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def kept(
    request: pytest.FixtureRequest,
    lively: Run,
    divided: Manifest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Truly quantised, where the small network is called faster in 8-bit integers.

    Of 12 images one is 8 points: the bars are wide, so that no rounding decides.
    """
    out = tmp_path_factory.mktemp("int8") / "out"
    with pytest.MonkeyPatch.context() as machine:
        machine.setattr(int8_gate, "measure_speed", lambda *_: FAST)
        machine.setattr(int8_gate, "ACCURACY_BAR", 0.5)
        machine.setattr(int8_gate, "CALIBRATION_BAR", 0.5)
        return export_run(lively, out, ExportOptions(format=request.param, int8=divided))


def test_a_graph_that_passes_takes_the_place_of_its_fp32_twin(kept: Run) -> None:
    graph = kept.record.graph
    assert graph is not None
    assert graph.int8 is not None
    assert (graph.precision, graph.int8.failed) == ("int8", ())
    assert graph.parity.probabilities > 1e-5  # of the 8-bit graph, not of the one before it
    assert 0 < graph.int8.probabilities_mean < graph.int8.probabilities_most < 0.2
    assert 0.8 < graph.int8.feature_cosine < 1
    assert graph.int8.judged_on == "12 validation images of 3 patients"
    assert graph.int8.method.startswith({"onnx": "ONNX Runtime", "openvino": "NNCF"}[graph.format])
    assert sorted(path.name for path in kept.folder.iterdir()) == sorted([*graph.files, "run.json"])
    assert read_run(kept.folder) == kept


def test_an_8_bit_run_scores_and_explains_like_any_other(
    kept: Run, lively: Run, divided: Manifest
) -> None:
    wanted, found = (predict(each, divided).predictions for each in (lively, kept))
    away = np.abs(found.probabilities - wanted.probabilities).max()
    assert 1e-6 < away < 0.2
    maps = kept.networks()[0].maps(np.zeros((2, 3, 64, 64), np.float32))
    assert (maps.logits.shape, maps.of(np.array([0, 1])).shape) == ((2, 2), (2, 2, 2))


class StopAfter(Silent):
    """The end of the world once this many files are done."""

    def __init__(self, files: int) -> None:
        self.left = files

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:  # noqa: ARG002
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


def test_a_prediction_that_was_stopped_goes_on_with_an_8_bit_run(
    kept: Run, divided: Manifest, tmp_path: Path, told
) -> None:
    options = PredictOptions(batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        predict_to_table(kept, divided, tmp_path / "stopped.csv", options, progress=StopAfter(4))
    predict_to_table(kept, divided, tmp_path / "stopped.csv", options, resume=True, progress=told)
    predict_to_table(kept, divided, tmp_path / "whole.csv", options)
    assert told.works[0][2] == 4
    assert (tmp_path / "stopped.csv").read_text() == (tmp_path / "whole.csv").read_text()


def quantise_as(factor: float, monkeypatch: pytest.MonkeyPatch, *, speed: Speed = FAST) -> None:
    """Let the 8-bit graph be the FP32 one with its logits multiplied, and as fast as said."""

    def write(source: Path, target: Path, form: str, pixels: object) -> None:
        graph = onnx.load(source)
        for weight in graph.graph.initializer:
            if weight.name.startswith("classifier.head."):
                values = factor * onnx.numpy_helper.to_array(weight)
                weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        onnx.save(graph, target)

    monkeypatch.setattr(int8_gate, "quantise", write)
    monkeypatch.setattr(int8_gate, "measure_speed", lambda *_: speed)


def tried(run: Run, judging: Manifest) -> Int8Trial:
    """The graph of an exported Run, its threshold left at 0.5, tried in 8-bit integers."""
    assert isinstance(run.record, ExportedRun)
    graph = run.record.graph
    assert graph is not None
    images = Int8Images(judging, judging, validation=True)
    record = with_changes(run.record, threshold=None)
    files = [run.folder / "model.onnx"]
    return try_int8(record, files, "onnx", outputs=graph.outputs, images=images)


def right_about(run: Run, images: Manifest, *, every: int) -> Manifest:
    """The images relabelled so that ``run`` is wrong about every n-th only."""
    even = replace(run, record=with_changes(run.record, threshold=None))
    found = predict(even, images, PredictOptions(split="val", allow_seen=True)).predictions
    one, other = images.task.classes
    said = found.frame["predicted"].tolist()
    labels = [
        label if (index + 1) % every else {one: other, other: one}[label]
        for index, label in enumerate(said)
    ]
    rows = images.in_split("val")
    return replace(rows, frame=rows.frame.assign(label=labels))


def test_a_graph_that_errs_more_is_refused_with_both_accuracies(
    copied: Run, divided: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied.folder / "model.onnx").read_bytes()
    quantise_as(-1.0, monkeypatch)
    trial = tried(copied, right_about(copied, divided, every=4))
    assert (trial.fp32.accuracy, trial.int8.accuracy) == (0.75, 0.25)
    assert trial.failed[0] == "accuracy falls by 50.0 points, from 0.750 to 0.250 (at most 0.5)"
    assert (copied.folder / "model.onnx").read_bytes() == before
    assert not (copied.folder / "int8").exists()


def test_a_graph_that_is_too_sure_of_itself_is_refused_by_its_calibration(
    copied: Run, divided: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise_as(1000.0, monkeypatch)
    trial = tried(copied, right_about(copied, divided, every=2))
    assert trial.fp32.accuracy == trial.int8.accuracy == 0.5
    assert trial.int8.calibration_error == pytest.approx(0.5, abs=0.01)
    (reason,) = trial.failed
    assert reason.startswith("calibration error rises by 0.")
    assert reason.endswith(f"from {trial.fp32.calibration_error:.3f} to 0.500 (at most 0.01)")


def test_a_graph_that_is_no_faster_is_refused_and_the_command_ends_well_with_fp32(
    trained: Run, divided: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise_as(1.0, monkeypatch, speed=SLOW)
    table, out = tmp_path / "s.csv", tmp_path / "out"
    divided.write(table)
    words = ["export", str(trained.folder), "-o", str(out), "--int8", str(table)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert re.search(r"images/s +90\.0 +60\.0 +x 0\.67 \(0\.60 to 0\.70\)", result.output)
    assert "int8 refused, FP32 written: it is 0.67 times as fast here" in result.output
    graph = read_run(out).record.graph
    assert graph is not None
    assert graph.int8 is not None
    assert graph.precision == "fp32"
    assert graph.int8.failed == (
        "it is 0.67 times as fast here, 0.60 to 0.70 (at least 1.05, and all of the interval "
        "above 1)",
    )
    assert graph.parity.probabilities <= 1e-4
    assert sorted(path.name for path in out.iterdir()) == [
        *("model.onnx", "reference.safetensors", "run.json")
    ]


@pytest.mark.parametrize(
    ("int8", "speed", "failed"),
    [
        (GOOD, FAST, 0),
        (replace(GOOD, accuracy=0.895, calibration_error=0.06), replace(FAST, ratio=1.05), 0),
        (replace(GOOD, accuracy=0.8949), FAST, 1),
        (replace(GOOD, calibration_error=0.0601), FAST, 1),
        (GOOD, replace(FAST, ratio=1.049), 1),
        (GOOD, replace(FAST, low=0.99), 1),
        (Quality(0.5, 0.3), SLOW, 3),
        (Quality(float("nan"), float("nan")), replace(FAST, ratio=float("nan")), 3),
    ],
)
def test_each_bar_holds_up_to_its_figure_and_no_further(
    int8: Quality, speed: Speed, failed: int
) -> None:
    assert len(failed_bars(GOOD, int8, speed)) == failed


def test_a_graph_is_as_fast_as_itself_and_slower_with_more_to_do(onnx: Run) -> None:
    class Twice(GraphEngine):
        def logits(self, batch: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            for _ in range(3):
                super().logits(batch)
            return super().logits(batch)

    graph = onnx.networks()[0].engine
    assert isinstance(graph, GraphEngine)
    double = Twice(graph._session, outputs=graph.outputs, size=64)
    batch = np.zeros((16, 3, 64, 64), np.float32)
    speed = measure_speed(double, graph, batch)
    assert speed.low <= speed.ratio <= speed.high
    assert 2 < speed.ratio < 8
    assert (speed.batch, speed.turns) == (16, 15)


def test_validation_images_judge_and_training_images_calibrate(
    trained: Run, divided: Manifest
) -> None:
    images = choose_int8_images(trained, divided)
    assert images.validation
    assert images.judging.patients == trained.record.val_patients
    assert images.calibration.patients == trained.record.train_patients


def test_without_validation_patients_half_of_the_training_patients_judge(
    trained: Run, divided: Manifest
) -> None:
    bare = replace(trained, record=with_changes(trained.record, val_patients=()))
    images = choose_int8_images(bare, divided)
    assert not images.validation
    assert not set(images.judging.patients) & set(images.calibration.patients)
    both = set(images.judging.patients) | set(images.calibration.patients)
    assert both == set(trained.record.train_patients)
    assert images.judged_on == "16 training images of 4 patients"
    assert images.calibrated_on == "8 training images of 2 patients"


@pytest.mark.parametrize("split", ["train", "val"])
def test_test_patients_are_never_calibrated_on(
    trained: Run, divided: Manifest, tmp_path: Path, split: str
) -> None:
    tested = divided.in_split("test").patients
    moved = divided.frame["split"].where(divided.frame["split"] != "test", split)
    tuned = replace(divided, frame=divided.frame.assign(split=moved))
    with pytest.raises(LeakageError, match="is to tune on them") as refused:
        export_run(trained, tmp_path / "out", ExportOptions(int8=tuned))
    assert all(patient in str(refused.value) for patient in tested)
    assert not (tmp_path / "out").exists()


def test_images_without_labels_cannot_judge(
    trained: Run, divided: Manifest, tmp_path: Path
) -> None:
    bare = divided.frame["label"].where(divided.frame["split"] != "val", "")
    with pytest.raises(ConfigError, match="has no label, so int8 cannot be judged"):
        export_run(
            trained,
            tmp_path / "out",
            ExportOptions(int8=replace(divided, frame=divided.frame.assign(label=bare))),
        )


def test_a_manifest_without_splits_is_refused(
    trained: Run, drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no image in split 'train'"):
        export_run(trained, tmp_path / "out", ExportOptions(int8=drawn_breakhis))


def test_without_nncf_the_message_says_how_to_get_it(
    trained: Run, divided: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'nncf.*pip install "eosin\[int8\]"'):
        export_run(trained, tmp_path / "out", ExportOptions(format="openvino", int8=divided))


def test_a_fusion_is_not_exported_in_int8(trained: Run, divided: Manifest, tmp_path: Path) -> None:
    own = {"kind": "run/ensemble", "vote": "fusion", "weights": (), "weights_sha256": "a" * 64}
    own["reference"] = None
    members = take_in(tmp_path / "fusion", [trained])
    record = EnsembleRun.model_validate({**dict(trained.record), **own, "members": members})
    fusion = write_run(tmp_path / "fusion", record)
    with pytest.raises(ConfigError, match="fusion head was fitted to features that int8 changes"):
        export_run(fusion, tmp_path / "out", ExportOptions(int8=divided))
