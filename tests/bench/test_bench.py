"""`eosin bench`: engines timed on one Run, and an honest word where one has no figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.artefacts.codec import with_changes
from eosin.artefacts.run import FoldsRun
from eosin.bench.bench import BenchOptions, bench_run
from eosin.cli.app import app
from eosin.errors import ConfigError, ModelError
from eosin.networks.run import Run, read_run, write_run

QUICK = BenchOptions(batches=(2,), rounds=2, seconds=0.001, threads=1, device="cpu")


def test_one_command_says_what_exporting_a_trained_run_would_gain(small: Run) -> None:
    steps: list[str] = []
    found = bench_run(small, QUICK, on_step=steps.append)
    speeds = {speed.engine: speed for speed in found.speeds}
    assert set(speeds) == {"torch", "onnxruntime", "openvino"}
    torch, onnx = speeds["torch"], speeds["onnxruntime"]
    assert torch.ratio == 1
    assert onnx.ratio == pytest.approx(torch.ms / onnx.ms)
    assert onnx.images_per_second == pytest.approx(1000 / onnx.ms)
    assert onnx.p95_ms >= onnx.ms > 0
    assert torch.memory_mb > onnx.memory_mb > 5  # PyTorch alone is larger than a runtime
    assert any(step.startswith("exporting") for step in steps)
    assert "batch 2: round 2 of 2, openvino" in steps
    assert not (small.folder / "model.onnx").exists()


def test_an_export_is_compared_with_its_design_in_pytorch_and_says_so(small_export: Run) -> None:
    options = replace(QUICK, engines=("torch", "onnxruntime"))
    found = bench_run(small_export, options)
    assert [speed.engine for speed in found.speeds] == ["torch", "onnxruntime"]
    assert "random weights" in found.notes[0]
    assert found.networks == ("test_efficientnet at 64 px",)


@pytest.mark.usefixtures("without_torch")
def test_without_pytorch_the_ratio_is_empty_and_says_why(small_export: Run) -> None:
    found = bench_run(small_export, replace(QUICK, batches=(1,)))
    assert {speed.engine: speed.ratio for speed in found.speeds} == {
        "onnxruntime": None,
        "openvino": None,
    }
    assert found.absent["torch"].startswith("torch is not installed: pip install")
    assert found.notes[0].startswith("no ratio to PyTorch: torch is not installed")
    assert set(found.frame()["x PyTorch"]) == {"-"}


@pytest.mark.usefixtures("without_torch")
def test_an_engine_asked_for_by_name_must_be_there(small_export: Run) -> None:
    with pytest.raises(ConfigError, match="torch is not installed"):
        bench_run(small_export, replace(QUICK, engines=("torch",)))


def test_folds_run_all_their_networks(
    small_export: Run, tmp_path: Path, folds_of: Callable[..., FoldsRun]
) -> None:
    inside = []
    for number in (1, 2):
        folder = Path(shutil.copytree(small_export.folder, tmp_path / "folds" / f"fold-{number}"))
        inside.append(write_run(folder, with_changes(small_export.record, fold=number)))
    folder = tmp_path / "folds"
    folds = write_run(folder, folds_of(folder, inside))
    found = bench_run(folds, replace(QUICK, engines=("onnxruntime",)))
    assert len(found.networks) == 2


def test_a_damaged_run_is_refused_before_anything_is_timed(small: Run, tmp_path: Path) -> None:
    copy = read_run(Path(shutil.copytree(small.folder, tmp_path / "copy")))
    copy.weights_path.write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"model\.safetensors: changed"):
        bench_run(copy, QUICK)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engines", "tensorrt"), "'tensorrt'"),
        (("--batch", "some"), "whole numbers"),
        (("--batch", "0"), "one image or more"),
    ],
)
def test_wrong_options_are_named(small_export: Run, words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["bench", str(small_export.folder), *words])
    assert result.exit_code == 1
    assert said in str(result.exception)


def test_the_command_prints_a_table_or_json_alone(small_export: Run, tmp_path: Path) -> None:
    words = ["bench", str(small_export.folder), "--engines", "onnxruntime", "--batch", "1,3"]
    words += ["--rounds", "1", "--threads", "1"]
    result = CliRunner().invoke(app, [*words, "--json", "-"])
    fields = json.loads(result.stdout)
    assert [speed["batch"] for speed in fields["speeds"]] == [1, 3]
    assert fields["speeds"][0]["ratio"] is None
    words[words.index("1,3")] = "1"
    result = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "bench.json")])
    assert "images/s" in result.stdout
    assert "no ratio to PyTorch: it was not asked for" in result.stdout
    assert json.loads((tmp_path / "bench.json").read_text())["kind"] == "bench"
