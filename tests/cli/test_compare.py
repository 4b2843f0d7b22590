"""`eosin compare` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.predictions import Provenance, make_predictions
from eosin.cli.app import app
from eosin.errors import ConfigError, DataError
from eosin.protocol import Protocol
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")


def write_table(path: Path, *, model: str, wrong_every: int, protocol: Protocol) -> Path:
    """Forty images of ten patients, every so many of them wrong."""
    malignant = np.arange(40) // 4 % 2 == 1
    images = pd.DataFrame(
        {
            "path": [f"/bh/SOB_{n:03d}.png" for n in range(40)],
            "patient": [f"14-{22000 + n // 4}" for n in range(40)],
            "magnification": "100",
            "label": np.where(malignant, "malignant", "benign"),
            "fold": "",
        }
    )
    says = malignant ^ (np.arange(40) % wrong_every == 0)
    p = np.where(says, 0.8, 0.2)
    provenance = Provenance(
        runs=(f"runs/{path.stem}",), dataset="breakhis", protocol=protocol, model=model
    )
    table = make_predictions(images, np.stack([1 - p, p], 1), task=BINARY, provenance=provenance)
    table.write(path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    by_patient = Protocol("patient", "5-fold", seed=7)
    good = write_table(tmp_path / "a.csv", model="vgg16", wrong_every=20, protocol=by_patient)
    poor = write_table(tmp_path / "b.csv", model="vgg16", wrong_every=2, protocol=by_patient)
    return [str(good), str(poor)]


def compare(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["compare", *arguments, "--resamples", "200"])
    if result.exception:
        raise result.exception
    return result.output


def test_two_tables_become_a_folder_and_a_verdict(pair, tmp_path: Path):
    said = compare(*pair, "-o", str(tmp_path / "out"))
    assert (tmp_path / "out" / "comparison.html").is_file()
    fields = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert list(fields["provenance"]) == ["vgg16 (a)", "vgg16 (b)"]
    assert fields["resamples"] == 200
    assert [(p["rank"], p["model"]) for p in fields["rankings"]["accuracy"]] == [
        (1, "vgg16 (a)"),
        (2, "vgg16 (b)"),
    ]
    assert "0.950" in said
    assert "Next: confirm vgg16 (a) on patients that took no part in this comparison" in said
    assert "protocol: patient-level, 5-fold" in said


def test_protocols_that_differ_are_said_loudly(pair, tmp_path: Path):
    leaky = Protocol("image", "70/15/15", leaky=True)
    write_table(Path(pair[1]), model="vgg19", wrong_every=4, protocol=leaky)
    said = " ".join(compare(*pair, "-o", str(tmp_path / "out")).split())
    assert "The protocols differ (patient-level, 5-fold: vgg16; image-level (leaky)" in said
    assert "The same patients stand in training and test" in said


def test_names_can_be_given_and_must_fit_the_tables(pair, tmp_path: Path):
    out = str(tmp_path / "out")
    assert "with [stain]" in compare(*pair, "-o", out, "--name", "with [stain]", "--name", "plain")
    with pytest.raises(ConfigError, match="2 tables need as many distinct names"):
        compare(*pair, "-o", out, "--name", "plain")


def test_a_single_table_is_refused(pair, tmp_path: Path):
    with pytest.raises(DataError, match="two or more predictions tables"):
        compare(pair[0], "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
