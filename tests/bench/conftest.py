"""A small Run with random weights, and its export, made once for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosin.artefacts.preprocessing import Preprocessing
from eosin.export.export import export_run
from eosin.networks.classifier import build_classifier, save_classifier
from eosin.networks.run import WEIGHTS_NAME, Run, RunRecord, write_run
from eosin.protocol import Protocol
from eosin.tasks import Task


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("small")
    classifier = build_classifier("test_efficientnet", classes=2).eval()
    save_classifier(classifier, folder / WEIGHTS_NAME)
    record = RunRecord(
        task=Task("binary", ("benign", "malignant"), positive="malignant"),
        dataset="none",
        backbone="test_efficientnet",
        preprocessing=Preprocessing(size=64),
        protocol=Protocol(),
        fingerprint="",
    )
    return write_run(folder, record)


@pytest.fixture(scope="session")
def small_export(small: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return export_run(small, tmp_path_factory.mktemp("exported") / "export")


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here on find no PyTorch."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
