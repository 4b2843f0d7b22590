"""Exports of one small Run, made once for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosin.artefacts.manifest import Manifest
from eosin.export.export import ExportOptions, export_run
from eosin.networks.run import Run


@pytest.fixture(scope="session")
def onnx(trained: Run, divided: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("exports") / "onnx"
    return export_run(trained, folder, ExportOptions(check=divided))


@pytest.fixture(scope="session")
def openvino(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("exports") / "openvino"
    return export_run(trained, folder, ExportOptions(format="openvino"))


@pytest.fixture(params=["onnx", "openvino"])
def exported(request: pytest.FixtureRequest) -> Run:
    run = request.getfixturevalue(request.param)
    assert isinstance(run, Run)
    return run


@pytest.fixture
def copied(onnx: Run, tmp_path: Path) -> Run:
    """An export that a test may damage."""
    import shutil

    from eosin.networks.run import read_run

    return read_run(Path(shutil.copytree(onnx.folder, tmp_path / "copied")))
