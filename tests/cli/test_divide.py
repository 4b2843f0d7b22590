"""`eosin split` and `eosin data ...` as a user types them: what they say is what they write."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.cli.app import app
from eosin.errors import ConfigError, DataError


def run(*words: object, code: int = 0) -> str:
    """The output of a command, once its exit code is what it should be."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.fixture
def drawn(drawn_breakhis: Manifest, tmp_path: Path) -> Path:
    """A manifest of 48 images of 12 patients, half of them benign."""
    drawn_breakhis.write(tmp_path / "m.csv")
    return tmp_path / "m.csv"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Twelve images of two classes under names that begin with their patient."""
    for number in range(12):
        path = tmp_path / "lab" / ("high", "low")[number % 2] / f"{number // 4}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(number).integers(60, 240, (4, 4, 3), np.uint8)
        assert cv2.imwrite(str(path), cv2.resize(shade, (40, 40)))
    return tmp_path / "lab"


def counts(said: str) -> dict[str, tuple[int, int]]:
    """Images and patients of each place that the table of a split names."""
    rows = re.findall(r"^ *(train|val|test|fold \d+) +(\d+) +(\d+) ", said, re.MULTILINE)
    return {place: (int(images), int(patients)) for place, images, patients in rows}


@pytest.mark.parametrize(
    ("words", "name", "places"),
    [
        ((), "patient-level, 70/15/15", {"train", "val", "test"}),
        (("--fractions", 0.5, 0.25, 0.25), "patient-level, 50/25/25", {"train", "val", "test"}),
        (("--fractions", 0.75, 0.25, 0), "patient-level, 75/25/0", {"train", "val"}),
        (("--folds", 4), "patient-level, 4-fold", {f"fold {k}" for k in (1, 2, 3, 4)}),
        (("--by", "slide", "--folds", 3), "slide-level", {f"fold {k}" for k in (1, 2, 3)}),
    ],
)
def test_the_table_of_a_split_counts_what_its_manifest_holds(
    words: tuple[object, ...], name: str, places: set[str], drawn: Path, tmp_path: Path
) -> None:
    said = run("split", drawn, "-o", tmp_path / "s.csv", *words)
    assert f"protocol: {name}" in said
    found, made = counts(said), read_manifest(tmp_path / "s.csv")
    assert set(found) == places
    for place, (images, patients) in found.items():
        column, value = ("fold", place[5:]) if place.startswith("fold") else ("split", place)
        part = made.frame[made.frame[column] == value]
        assert (images, patients) == (len(part), part["patient"].nunique())
    assert sum(images for images, _ in found.values()) == 48
    assert made.crossing_patients() == ()


def test_the_same_seed_gives_the_same_bytes_and_another_another_split(
    drawn: Path, tmp_path: Path
) -> None:
    written = []
    for seed in (3, 3, 4):
        run("split", drawn, "-o", tmp_path / "s.csv", "--seed", seed)
        written.append((tmp_path / "s.csv").read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_split_by_image_that_cuts_patients_is_called_leaky_in_a_sentence(
    drawn: Path, tmp_path: Path
) -> None:
    said = " ".join(run("split", drawn, "-o", tmp_path / "s.csv", "--by", "image").split())
    assert "protocol: image-level (leaky), 70/15/15" in said
    assert "The same patients stand in training and test: these figures reward" in said
    assert read_manifest(tmp_path / "s.csv").protocol.leaky


def test_keeping_the_test_split_divides_the_rest_alone(drawn: Path, tmp_path: Path) -> None:
    run("split", drawn, "-o", tmp_path / "a.csv", "--seed", 1)
    words = ("--keep-test", "--fractions", 0.5, 0.5, 0, "--seed", 2)
    run("split", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *words)
    first, second = (read_manifest(tmp_path / name).frame for name in ("a.csv", "b.csv"))
    tests = [set(frame[frame["split"] == "test"]["path"]) for frame in (first, second)]
    assert tests[0] == tests[1] != set()
    rest = second[second["split"] != "test"].groupby("split")["patient"].nunique()
    assert set(rest.index) == {"train", "val"}
    assert rest.max() - rest.min() <= 2  # halves of the patients that are left
    with pytest.raises(DataError, match="test"):
        app(
            ["split", str(drawn), "-o", str(tmp_path / "c.csv"), "--keep-test"],
            standalone_mode=False,
        )


def test_shares_that_are_no_whole_or_folds_that_are_too_many_are_refused(
    drawn: Path, tmp_path: Path
) -> None:
    for words, error in (
        (("--fractions", "0.7", "0.2", "0.2"), ConfigError),
        (("--folds", "1"), ConfigError),
        (("--folds", "40"), DataError),
    ):
        result = CliRunner().invoke(app, ["split", str(drawn), "-o", str(tmp_path / "s"), *words])
        assert isinstance(result.exception, error), repr(result.exception)
    assert not (tmp_path / "s").exists()


def test_a_folder_is_read_with_patients_a_positive_class_and_a_scale(
    lab: Path, tmp_path: Path
) -> None:
    words = ("--patient", r"^(\d+)_", "--positive", "high", "--mpp", 0.5)
    said = run("data", "folder", lab, "-o", tmp_path / "m.csv", *words)
    assert "lab: 12 images, 3 patients (4 to 4 images each, median 4)" in said
    made = read_manifest(tmp_path / "m.csv")
    assert (made.task.classes, made.task.positive) == (("high", "low"), "high")
    assert set(made.frame["mpp"]) == {"0.5"}
    assert set(made.frame["patient"]) == {"0", "1", "2"}


def test_a_folder_without_patients_says_that_they_are_unknown(lab: Path, tmp_path: Path) -> None:
    said = " ".join(run("data", "folder", lab, "-o", tmp_path / "m.csv", "--ordinal").split())
    assert "lab: 12 images, patients unknown" in said
    assert "a leak between training and test cannot be ruled out" in said
    assert read_manifest(tmp_path / "m.csv").task.ordinal


def test_counts_of_a_datasets_own_split_are_said(tmp_path: Path) -> None:
    options = ("--kind", "her2", "--patients", 8, "--images", 16, "--size", 64)
    said = run("data", "synthetic", tmp_path / "her2", *options)
    made = read_manifest(tmp_path / "her2" / "manifest.csv").frame["split"].value_counts()
    assert f"images by split: {made['train']} in train, {made['test']} in test" in said


def test_an_audit_prints_each_pair_with_what_it_crosses(lab: Path, tmp_path: Path) -> None:
    twin = lab / "low" / "7_99.png"
    twin.write_bytes((lab / "high" / "0_0.png").read_bytes())
    run("data", "folder", lab, "-o", tmp_path / "m.csv", "--patient", r"^(\d+)_")
    frame = read_manifest(tmp_path / "m.csv")
    side = np.where(frame.frame["patient"] == "7", "test", "train")
    Manifest(frame.frame.assign(split=side), frame.task, "lab", frame.protocol).write(
        tmp_path / "s.csv"
    )
    said = run("data", "audit", tmp_path / "s.csv")
    assert "1 duplicate pair crosses splits; 1 picture carries two labels" in said
    assert re.search(r"identical file +0_0\.png +7_99\.png +copied +splits, patients, labels", said)
    errors = Path(f"{tmp_path / 's.csv'}.audit.errors.csv")
    assert not errors.exists() or pd.read_csv(errors).empty


def test_a_patient_that_crosses_is_named_by_the_audit(drawn: Path, tmp_path: Path) -> None:
    run("split", drawn, "-o", tmp_path / "s.csv", "--by", "image", "--seed", 1)
    crossing = read_manifest(tmp_path / "s.csv").crossing_patients()
    said = run("data", "audit", tmp_path / "s.csv")
    assert f"patients that cross: {', '.join(crossing)}" in " ".join(said.split())
    assert f"{len(crossing)} patients cross splits" in said
