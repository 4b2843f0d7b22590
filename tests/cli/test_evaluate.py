"""`eosin evaluate`: figures with intervals, and a sentence where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from eosin.artefacts.predictions import Provenance, make_predictions
from eosin.cli.app import app
from eosin.protocol import Protocol
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def evaluated(
    folder: Path, rows: list[tuple[str, str, float]], *, patients_known: bool = True
) -> list[str]:
    """The lines that are said of (patient, label, p_malignant) at a locked threshold of 0.3."""
    p = np.array([row[2] for row in rows])
    images = pd.DataFrame(
        {
            "path": [f"/bh/SOB_{row:03d}.png" for row in range(len(rows))],
            "patient": [row[0] for row in rows],
            "magnification": "100",
            "label": [row[1] for row in rows],
            "fold": "",
        }
    )
    predictions = make_predictions(
        images,
        np.column_stack([1 - p, p]),
        task=TASK,
        threshold=0.3,
        provenance=Provenance(
            runs=("run",),
            dataset="breakhis",
            protocol=Protocol("patient", "70/15/15", patients_known=patients_known),
            split="test",
            threshold=0.3,
            notes=("Drawn, not seen.",),
        ),
    )
    predictions.write(folder / "p.csv")
    words = ["evaluate", str(folder / "p.csv"), "-o", str(folder / "e.json"), "--resamples", "100"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return [line.strip() for line in result.output.splitlines()]


def test_a_figure_without_value_or_interval_is_followed_by_its_reason(tmp_path: Path) -> None:
    said = evaluated(tmp_path, [("14-1", "malignant", p) for p in (0.2, 0.4, 0.9)])
    (auc,) = [line for line in said if line.startswith("roc_auc")][:1]
    assert auc.split()[1:3] == ["-", "none"]
    reasons = dict(
        line.split(": ", 1) for line in said if ": undefined" in line or "no int" in line
    )
    of_auc = next(reason for names, reason in reasons.items() if "roc_auc" in names.split(", "))
    assert of_auc == "undefined: all images here are of class malignant"
    of_accuracy = next(why for names, why in reasons.items() if "accuracy" in names.split(", "))
    assert of_accuracy == "one patient: no interval"
    assert not any("nan" in line.lower().split() for line in said)


def test_the_locked_threshold_stands_below_the_figures_it_decides(tmp_path: Path) -> None:
    rows = [(f"14-{n}", TASK.classes[n % 2], 0.1 + 0.1 * (n % 8)) for n in range(40)]
    said = evaluated(tmp_path, rows)
    assert (
        "sensitivity, specificity, decided_balanced_accuracy, decided_accuracy: at the locked "
        "threshold 0.3"
    ) in said
    assert said.count("Drawn, not seen.") == 1
    decided = {line.split()[0]: line for line in said if "locked threshold" in line[30:]}
    assert set(decided) >= {"sensitivity", "specificity", "decided_balanced_accuracy"}
    assert not any(name in decided for name in ("accuracy", "balanced_accuracy", "roc_auc"))


def test_patients_are_counted_where_they_are_known_and_only_there(tmp_path: Path) -> None:
    rows = [(f"image-{n}", TASK.classes[n % 2], 0.1 + 0.1 * (n % 8)) for n in range(40)]
    columns = "metric value 95 % interval images"
    known = evaluated(tmp_path, rows)
    unknown = evaluated(tmp_path, rows, patients_known=False)
    assert [" ".join(line.split()) for line in known].count(f"{columns} patients decided by") == 3
    assert [" ".join(line.split()) for line in unknown].count(f"{columns} decided by") == 3
