"""A record with cases of drawn predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.protocol import Protocol
from eosin.server.record import Record
from eosin.server.worklist import Worklist, make_worklist
from eosin.tasks import Task

HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)


@pytest.fixture
def record(database: str) -> Iterator[Record]:
    with closing(Record(database)) as made:
        yield made


Draw = Callable[..., tuple[Manifest, Predictions]]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """A manifest of patients by patients, two images each, and predictions of random doubt."""

    def make(patients: int = 6, *, task: Task = HER2) -> tuple[Manifest, Predictions]:
        count = 2 * patients
        rng = np.random.default_rng(4)
        frame = pd.DataFrame(
            {
                "path": [str(tmp_path / f"{row // 2:02d}_{row}.png") for row in range(count)],
                "label": [task.classes[row % len(task.classes)] for row in range(count)],
                "patient": [f"p{row // 2:02d}" for row in range(count)],
                "magnification": "",
                "split": "",
                "fold": [str(row // 2 % 3 + 1) for row in range(count)],
                "scanner": "A",
            }
        )
        protocol = Protocol("patient", "3-fold", seed=5)
        manifest = Manifest(frame, task, "drawn", protocol, ("Drawn.",))
        chances = rng.dirichlet([1.0] * len(task.classes), count)
        return manifest, make_predictions(frame, chances, task=task)

    return make


@pytest.fixture
def worklist(draw: Draw) -> Worklist:
    manifest, predictions = draw()
    return make_worklist(predictions, manifest, run="a1" * 32)


@pytest.fixture
def reviewed(record: Record, worklist: Worklist) -> tuple[Record, list[str]]:
    """A record that knows the twelve cases of the worklist, and their ids."""
    record.add_cases(worklist.manifest, worklist.ids)
    return record, [case.id for case in worklist.cases]
