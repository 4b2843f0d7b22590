"""The audit's page says the verdict, shows each pair side by side, and needs no network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.audit import Audit, audit_manifest
from eosin.protocol import Protocol
from eosin.reporting.audit_page import write_audit_page
from eosin.tasks import Task


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Four fields; the third is the first one flipped, under another label and split."""
    rng = np.random.default_rng(0)
    fields = [
        cv2.resize(rng.integers(60, 240, (12, 18, 3), np.uint8), (180, 120)) for _ in range(3)
    ]
    fields.insert(2, np.ascontiguousarray(fields[0][:, ::-1]))
    names = (
        *("SOB_B_A-14-22549AB-100-001.png", "SOB_B_F-14-25197-100-001.png"),
        *("SOB_M_DC-14-2523-100-010.png", "SOB_M_LC-14-<b>12204-100-001.png"),
    )
    for name, image in zip(names, fields, strict=True):
        assert cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / names[3]).write_bytes(b"not an image")
    frame = pd.DataFrame(
        {
            "path": [str(tmp_path / name) for name in names],
            "label": ["benign", "benign", "malignant", "malignant"],
            "patient": ["14-22549", "14-25197", "14-2523", "14-12204"],
            "magnification": "100",
            "split": ["train", "val", "test", "test"],
            "fold": "",
        }
    )
    task = Task("binary", ("benign", "malignant"), positive="malignant")
    return audit_manifest(Manifest(frame, task, "breakhis", Protocol("patient", "70/15/15")))


def test_the_page_says_the_verdict_and_shows_the_pair_side_by_side(
    audit: Audit, tmp_path: Path
) -> None:
    write_audit_page(audit, tmp_path / "out" / "audit.html")
    page = (tmp_path / "out" / "audit.html").read_text("utf-8")
    assert audit.verdict in page
    assert page.count('src="data:image/jpeg;base64,') == 2
    for words in ("flipped horizontally", "two labels", "across splits", "across patients"):
        assert words in page
