"""`eosin doctor`: which Runs could be used with what is installed."""

from __future__ import annotations

import importlib.util
import re
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version

import pytest
from typer.testing import CliRunner

import eosin.doctor
from eosin.cli.app import app

TRAINING = {"torch", "torchvision", "timm", "scikit-learn"}
ENGINES = {"onnxruntime", "openvino"}
PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless", "mlflow": "mlflow-skinny"}


def take_away(monkeypatch: pytest.MonkeyPatch, packages: set[str]) -> None:
    """Let the doctor find an environment without these packages."""

    def find_version(name: str) -> str:
        if name in packages:
            raise PackageNotFoundError(name)
        return version(name)

    def find_spec(name: str) -> ModuleSpec | None:
        package = PACKAGES.get(name, name)
        return None if package in packages else importlib.util.find_spec(name)

    monkeypatch.setattr(eosin.doctor, "version", find_version)
    monkeypatch.setattr(eosin.doctor, "find_spec", find_spec)


def doctor(*, code: int) -> str:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code, result.output
    return result.output


def test_with_everything_installed_the_doctor_says_ready_and_names_the_versions() -> None:
    said = doctor(code=0)
    assert said.splitlines()[-1] == "ready"
    for package in TRAINING | ENGINES:
        assert version(package) in said


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_without_pytorch_one_engine_is_enough_for_exported_runs(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    take_away(monkeypatch, TRAINING | (ENGINES - {engine}))
    said = doctor(code=0)
    assert "ready for exported Runs: predict, explain, evaluate, report" in said
    assert "no training or exporting here" in said
    assert "✗" not in said
    assert 'pip install "eosin[train]"' in said


def test_what_every_room_needs_is_vital_and_each_extra_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_away(monkeypatch, {"opencv-python-headless", "mlflow-skinny", "nncf"})
    said = doctor(code=1)
    assert "✗ opencv-python-headless" in said
    assert "pip install --force-reinstall opencv-python-headless" in said
    assert said.count('pip install "eosin[track]"') == 1
    assert said.count('pip install "eosin[int8]"') == 1


def test_with_neither_pytorch_nor_an_engine_the_doctor_fails_and_names_both_cures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_away(monkeypatch, TRAINING | ENGINES)
    said = doctor(code=1)
    assert "the main job cannot run here" in said
    assert 'pip install "eosin[train]"' in said
    assert 'pip install "eosin[onnx]"' in said


def test_pytorch_without_timm_does_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, {"timm"} | ENGINES)
    assert "✗ timm" in doctor(code=1)
    monkeypatch.undo()
    take_away(monkeypatch, {"timm"})
    assert "ready for exported Runs" in doctor(code=0)


def test_an_engine_under_another_packages_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_version(name: str) -> str:
        if name == "onnxruntime":  # what pip says where onnxruntime-gpu is installed
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(eosin.doctor, "version", find_version)
    assert re.search(r"onnxruntime +installed under another name", doctor(code=0))
