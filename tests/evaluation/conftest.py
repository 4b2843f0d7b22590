"""Predictions tables as a five-fold BreakHis or BCI run would leave them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.evaluation.calibration import apply_temperature
from eosin.protocol import Protocol
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)
SUBTYPE = Task("subtype", ("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"))
BY_PATIENT = Protocol(unit="patient", design="5-fold", seed=7)

Table = Callable[..., Predictions]


@pytest.fixture
def binary() -> Task:
    return BINARY


@pytest.fixture
def her2() -> Task:
    return HER2


@pytest.fixture
def subtype() -> Task:
    return SUBTYPE


@pytest.fixture
def small_table() -> Table:
    """Rows of (patient, label, p_malignant[, magnification]) as a binary predictions table."""

    def build(
        rows: list[tuple[str, str, float] | tuple[str, str, float, str]],
        *,
        threshold: float | None = None,
        protocol: Protocol = BY_PATIENT,
    ) -> Predictions:
        p = np.array([row[2] for row in rows])
        images = pd.DataFrame(
            {
                "path": [f"/bh/SOB_{i:03d}.png" for i in range(len(rows))],
                "patient": [row[0] for row in rows],
                "magnification": [row[3] if len(row) > 3 else "100" for row in rows],
                "label": [row[1] for row in rows],
                "fold": "",
            }
        )
        return make_predictions(
            images,
            np.stack([1 - p, p], axis=1),
            task=BINARY,
            threshold=threshold,
            provenance=Provenance(protocol=protocol, threshold=threshold, dataset="breakhis"),
        )

    return build


@pytest.fixture
def drawn_table() -> Table:
    """Random predictions in which a patient's images share their label and their difficulty."""

    def build(
        task: Task = BINARY,
        *,
        images: int = 400,
        patients: int = 24,
        magnifications: tuple[str, ...] = ("40", "100"),
        seed: int = 0,
        rounded: int | None = None,
    ) -> Predictions:
        draw = np.random.default_rng(seed)
        classes = len(task.classes)
        patient = draw.integers(0, patients, images)
        label = (np.arange(patients) % classes)[patient]
        logits = (
            draw.normal(size=(images, classes)) + draw.normal(size=(patients, classes))[patient]
        )
        logits[np.arange(images), label] += 1.0
        if rounded is not None:  # coarse scores: many ties
            logits = np.round(logits, rounded)
        frame = pd.DataFrame(
            {
                "path": [f"/bh/{i}.png" for i in range(images)],
                "patient": [f"14-{22000 + number}" for number in patient],
                "magnification": draw.choice(magnifications, images),
                "label": np.array(task.classes)[label],
                "fold": "",
            }
        )
        threshold = 0.4 if task.binary else None
        return make_predictions(
            frame,
            apply_temperature(logits, 1.0),
            task=task,
            threshold=threshold,
            provenance=Provenance(protocol=BY_PATIENT, threshold=threshold, dataset="breakhis"),
        )

    return build
