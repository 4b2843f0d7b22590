"""`eosin power` from a table on disk to a sentence, a table and a curve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from eosin.artefacts.predictions import Predictions
from eosin.cli.app import app


@pytest.fixture
def predictions(tmp_path: Path, patients_table: Callable[..., Predictions]) -> Path:
    """Forty patients of four images; four of five images are right."""
    truth = np.random.default_rng(3).choice([0.8, 0.8, 0.8, 0.8, 0.3], (40, 4))
    patients_table(truth).write(tmp_path / "p.csv")
    return tmp_path / "p.csv"


def test_the_plan_is_said_and_its_curve_written(predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan"
    asked = ["power", str(predictions), "--effect", "0.1", "--studies", "60", "-o", str(out)]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    assert "from 40 patients" in said.output
    assert "To tell this model's accuracy from a bound 0.1 away, with a power of 80" in said.output
    curve = pd.read_csv(out / "power.csv")
    assert list(curve.columns) == ["patients", "power", "low", "high"]
    assert curve["power"].iloc[0] < 0.6 < curve["power"].iloc[-1]
    with Image.open(out / "power.png") as picture:
        assert picture.width > 800


def test_an_effect_without_a_size_is_refused(predictions: Path) -> None:
    said = CliRunner().invoke(app, ["power", str(predictions), "--effect", "0"])
    assert said.exit_code == 1
    assert "want a distance between 0 and 1" in str(said.exception)
