"""With PyTorch absent an exported Run predicts, explains and reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.explanation.explain import explain
from eosin.explanation.heatmap import Explanation
from eosin.inference.predict import predict
from eosin.networks.run import Run

_BLOCKED = """
import sys
for name in ("torch", "timm", "torchvision", "openvino_telemetry", *{also}):
    sys.modules[name] = None
import socket
def refuse(*args, **options):
    raise AssertionError("the network was asked for")
socket.getaddrinfo = refuse
sys.argv = ["eosin", *{arguments}]
from eosin.cli.app import main
main()
"""


def eosin(*arguments: object, also: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    code = _BLOCKED.format(also=also, arguments=[str(each) for each in arguments])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def manifest(divided: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "s.csv"
    divided.write(path)
    return path


def test_predict_explain_and_report_work_from_an_export(
    trained: Run, onnx: Run, divided: Manifest, manifest: Path, tmp_path: Path
) -> None:
    table, cams, page = tmp_path / "p.csv", tmp_path / "cams", tmp_path / "report.html"
    for arguments in (
        ("predict", onnx.folder, manifest, "-o", table),
        ("explain", onnx.folder, manifest, "-o", cams),
        ("report", onnx.folder, table, "-o", page, "--heatmaps"),
    ):
        done = eosin(*arguments)
        assert done.returncode == 0, done.stderr
    wanted = predict(trained, divided).predictions
    np.testing.assert_allclose(
        read_predictions(table).probabilities, wanted.probabilities, atol=1e-4
    )
    items = [item for item in explain([trained], divided) if isinstance(item, Explanation)]
    strongest = max(float(item.members[0].raw.max()) for item in items)
    for item in items:
        with np.load(cams / "maps" / f"{item.path.stem}.npz") as maps:
            (raw,) = maps.values()
        np.testing.assert_allclose(raw, item.members[0].raw, atol=1e-3 * strongest)
    assert "Grad-CAM" in page.read_text()


def test_a_run_with_weights_says_that_it_needs_torch_or_an_export(
    trained: Run, manifest: Path, tmp_path: Path
) -> None:
    done = eosin("predict", trained.folder, manifest, "-o", tmp_path / "p.csv")
    assert done.returncode == 1
    assert 'pip install "eosin[train]"' in done.stderr
    assert "eosin export" in done.stderr


def test_an_openvino_export_predicts_with_openvino_alone(
    openvino: Run, manifest: Path, tmp_path: Path
) -> None:
    table = tmp_path / "p.csv"
    done = eosin("predict", openvino.folder, manifest, "-o", table, also=("onnxruntime",))
    assert done.returncode == 0, done.stderr
    assert table.is_file()
