"""A small BreakHis-like experiment: images under true names, a Run and its predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, TreeBuilder

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.run import TrainedRun
from eosin.networks.run import Run, write_run
from eosin.protocol import Protocol
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable
from pathlib import Path

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
BY_PATIENT = Protocol("patient", "5-fold", seed=7)
SLIDES = ("14-22549", "14-9133", "14-29960", "14-21978", "14-3909", "14-23060")
SLIDES += ("14-2523", "14-5287", "14-10926", "14-11951", "14-14926", "14-16716")
VOID = {"meta", "img", "br", "link", "input"}


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it; what a cell sets smaller follows a line break."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Page:
    """What a browser makes of a page: a tree whose tags close in order, its words and tables."""

    def __init__(self, text: str) -> None:
        builder = _Builder()
        builder.feed(text)
        builder.close()
        assert builder.open == []
        self.root = builder.tree.close()

    def part(self, anchor: str) -> Element:
        """The element of this id."""
        return next(each for each in self.root.iter() if each.get("id") == anchor)

    def words(self, anchor: str = "") -> str:
        """The text of the page, or of one part of it, in single spaces."""
        root = self.part(anchor) if anchor else self.root
        for style in root.iter("style"):
            style.text = ""
        return " ".join(" ".join(root.itertext()).split())

    def tables(self, anchor: str = "") -> list[Shown]:
        """The tables with a caption, of the page or of one part of it."""
        root = self.part(anchor) if anchor else self.root
        boxes = [box for box in root.iter("div") if box.get("class") == "box"]
        return [_table(box) for box in boxes]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tree = TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.tree.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        self.tree.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.tree.end(tag)

    def handle_data(self, data: str) -> None:
        self.tree.data(data)


def _table(box: Element) -> Shown:
    caption = next(each for each in box.iter("p") if each.get("class") == "caption")
    head, *rows = (tuple(map(_said, row)) for row in box.iter("tr"))
    return Shown(_said(caption), head, tuple(rows))


def _said(element: Element) -> str:
    return "\n".join(part.strip() for part in element.itertext() if part.strip())


@pytest.fixture(scope="session")
def parsed() -> Callable[[str], Page]:
    """Reads the text of a page; tags that do not close in order fail."""
    return Page


@dataclass(frozen=True)
class Experiment:
    """A folder with images and a Run, and the manifest rows of the images."""

    folder: Path
    rows: pd.DataFrame
    run: Run

    def predictions(
        self,
        positive: list[float] | None = None,
        *,
        protocol: Protocol = BY_PATIENT,
        split: str = "test",
        seen_allowed: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Predictions:
        """Predictions with these probabilities of malignant; by default 8 of 36 are wrong."""
        chances = np.array(positive or usual_chances(self.rows))
        provenance = Provenance(
            runs=("runs/bh",),
            dataset="breakhis",
            protocol=protocol,
            split=split,
            model="tf_efficientnetv2_b0",
            threshold=0.5,
            seen_allowed=seen_allowed,
            notes=notes,
        )
        probabilities = np.stack([1 - chances, chances], axis=1)
        return make_predictions(
            self.rows, probabilities, task=BINARY, threshold=0.5, provenance=provenance
        )

    def run_with(self, **changes: object) -> Run:
        """The Run with another record; nothing is written."""
        return replace(self.run, record=with_changes(self.run.record, **changes))


def usual_chances(rows: pd.DataFrame) -> list[float]:
    """Right for most images; every fourth or fifth is wrong, each with its own confidence."""
    chances = []
    for row, label in enumerate(rows["label"]):
        sure = 0.55 + 0.012 * row
        right = row % 5 != 4 or row == 34
        chances.append(sure if (label == "malignant") == right else 1 - sure)
    return chances


@pytest.fixture(scope="session")
def experiment(
    tmp_path_factory: pytest.TempPathFactory, make_record: Callable[..., TrainedRun]
) -> Experiment:
    """36 images of 96 x 64 pixels from 12 patients at two magnifications, and a finished Run."""
    folder = tmp_path_factory.mktemp("experiment")
    rows = []
    for patient, slide in enumerate(SLIDES):
        malignant = patient >= len(SLIDES) // 2
        kind = "SOB_M_DC" if malignant else "SOB_B_F"
        for number in range(1, 4):
            magnification = "100" if number < 3 else "400"
            name = f"{kind}-{slide}-{magnification}-{number:03d}.png"
            rng = np.random.default_rng([patient, number])
            pixels = rng.integers(120, 255, (64, 96, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name), cv2.GaussianBlur(pixels, (0, 0), 3))
            rows.append(
                {
                    "path": str(folder / name),
                    "patient": slide,
                    "magnification": magnification,
                    "label": "malignant" if malignant else "benign",
                    "fold": "",
                }
            )
    record = make_record(
        task=BINARY,
        backbone="tf_efficientnetv2_b0",
        preprocessing=Preprocessing(),
        protocol=BY_PATIENT,
        fingerprint="5c" * 32,
        initial_weights="file tf_efficientnetv2_b0.safetensors",
        training={"epochs": 3, "weights": "/home/someone/weights/b0.safetensors"},
        versions={"eosin": "0.1.0", "torch": "2.15.0"},
    )
    return Experiment(folder, pd.DataFrame(rows), write_run(folder / "runs" / "bh", record))
