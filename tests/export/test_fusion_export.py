"""A fusion ensemble exported whole: its members as graphs, its head in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.export.export import export_run
from eosin.inference.predict import predict
from eosin.networks.run import Run, read_run
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensemble
from eosin.training.train import train


@pytest.mark.slow
def test_a_fusion_travels_with_its_members_and_says_the_same(
    trained: Run, divided: Manifest, probe: TrainingConfig, tmp_path: Path, told
) -> None:
    other = train(divided, tmp_path / "other", probe.with_overrides({"seed": 5})).run
    fusion = make_ensemble([trained, other], tmp_path / "fusion", vote="fusion", manifest=divided)
    export_run(fusion, tmp_path / "out", progress=told)
    assert [Path(note).name for note in told.notes] == ["probe", "other"]
    moved = read_run((tmp_path / "out").rename(tmp_path / "moved"))
    assert [member.path for member in moved.record.inside] == [
        "members/1-probe",
        "members/2-other",
    ]
    wanted, found = (predict(run, divided).predictions for run in (fusion, moved))
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-4)
