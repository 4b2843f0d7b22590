"""A small Run with random weights, and its export, made once for all tests here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eosin.artefacts.run import TrainedRun
from eosin.export.export import export_run
from eosin.networks.classifier import build_classifier, save_classifier
from eosin.networks.run import WEIGHTS_NAME, Run, weights_digest, write_run


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, make_record: Callable[..., TrainedRun]) -> Run:
    folder = tmp_path_factory.mktemp("small")
    classifier = build_classifier("test_efficientnet", classes=2).eval()
    save_classifier(classifier, folder / WEIGHTS_NAME)
    record = make_record(dataset="none", temperature=1.0, weights_sha256=weights_digest(folder))
    return write_run(folder, record)


@pytest.fixture(scope="session")
def small_export(small: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return export_run(small, tmp_path_factory.mktemp("exported") / "export")


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here on find no PyTorch."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
