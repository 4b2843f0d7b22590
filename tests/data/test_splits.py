"""Splits keep patients whole, or say that they do not."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.data.scan import count_table
from eosin.data.splits import hold_out, split_by_fractions, split_into_folds, split_table
from eosin.errors import ConfigError, DataError, LeakageError
from eosin.protocol import Protocol
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def manifest_of(patients: dict[str, tuple[str, int]], magnification: str = "100") -> Manifest:
    """A manifest with, for each patient, its label and its number of images."""
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "path": f"/images/SOB_{patient}-{magnification}-{image:03d}.png",
            "label": label,
            "patient": patient,
            "slide": f"{patient}{'AB' if image % 2 else 'CD'}",
            "magnification": magnification,
        }
        for patient, (label, count) in patients.items()
        for image in range(count)
    ]
    return Manifest(pd.DataFrame(rows), TASK, "breakhis")


@pytest.fixture
def twenty() -> Manifest:
    """20 patients, half benign, with 3 to 22 images each."""
    return manifest_of(
        {f"14-{n}": (TASK.classes[n % 2], 3 + n) for n in range(20)},
    )


def test_no_patient_stands_in_two_folds(twenty: Manifest) -> None:
    divided = split_into_folds(twenty, 5, seed=1)
    assert divided.crossing_patients() == ()
    assert divided.protocol.name == "patient-level, 5-fold"
    assert divided.folds == (1, 2, 3, 4, 5)


def test_every_fold_has_patients_of_both_classes_in_balance(twenty: Manifest) -> None:
    table = split_table(split_into_folds(twenty, 5, seed=2))
    assert (table["benign patients"] == 2).all()
    assert (table["malignant patients"] == 2).all()
    assert table["images"].max() < 2 * table["images"].min()


def test_another_seed_draws_another_division(twenty: Manifest) -> None:
    folds = {tuple(split_into_folds(twenty, 5, seed=seed).frame["fold"]) for seed in range(5)}
    assert len(folds) == 5


def test_the_same_seed_draws_the_same_division(twenty: Manifest) -> None:
    first, second = (split_into_folds(twenty, 5, seed=4).frame["fold"] for _ in range(2))
    assert first.equals(second)


def test_fractions_of_images_are_met_exactly_at_image_level(twenty: Manifest) -> None:
    divided = split_by_fractions(twenty, (0.70, 0.15, 0.15), by="image", seed=0)
    share = divided.frame["split"].value_counts(normalize=True)
    assert share["train"] == pytest.approx(0.70, abs=0.01)
    assert share["test"] == pytest.approx(0.15, abs=0.01)
    per_class = divided.frame.groupby("label")["split"].value_counts(normalize=True)
    assert per_class["benign"]["train"] == pytest.approx(per_class["malignant"]["train"], abs=0.02)


def test_an_image_level_split_of_known_patients_is_called_leaky(twenty: Manifest) -> None:
    divided = split_by_fractions(twenty, (0.70, 0.15, 0.15), by="image", seed=0)
    assert divided.protocol.name == "image-level (leaky), 70/15/15"
    divided.require_honest_name()  # the name says it, so it may be trained on


def test_a_slide_level_split_that_cuts_an_accession_is_called_leaky(twenty: Manifest) -> None:
    divided = split_into_folds(twenty, 3, by="slide", seed=0)
    assert divided.protocol.leaky
    assert divided.protocol.name.startswith("slide-level (leaky)")


def test_an_image_level_split_without_known_patients_says_that_they_are_unknown() -> None:
    images = manifest_of({f"image-{n}": (TASK.classes[n % 2], 1) for n in range(12)})
    unknown = dataclasses.replace(images, protocol=Protocol(patients_known=False))
    divided = split_into_folds(unknown, 3, seed=0)
    assert divided.protocol.name == "image-level (patients unknown), 3-fold"


def test_a_patient_moved_by_hand_across_splits_is_named_in_a_leakage_error(
    twenty: Manifest,
) -> None:
    divided = split_by_fractions(twenty, (0.6, 0.2, 0.2), seed=0)
    frame = divided.frame.copy()
    rows = frame.index[frame["patient"] == "14-7"]
    frame.loc[rows[0], "split"] = "test" if frame.loc[rows[1], "split"] != "test" else "train"
    with pytest.raises(LeakageError, match="14-7"):
        dataclasses.replace(divided, frame=frame).require_honest_name()


def test_holding_out_a_fold_validates_on_the_next_one(twenty: Manifest) -> None:
    divided = split_into_folds(twenty, 5, seed=0)
    held = hold_out(divided, 5)
    roles = held.frame.groupby("fold")["split"].unique().map(list).to_dict()
    expected = {"1": ["val"], "2": ["train"], "3": ["train"], "4": ["train"], "5": ["test"]}
    assert roles == expected
    without = hold_out(divided, 5, validation=False)
    assert set(without.frame["split"]) == {"train", "test"}


def test_the_official_test_split_is_kept_on_request(twenty: Manifest) -> None:
    official = twenty.frame.assign(
        split=[
            "test" if patient in {"14-1", "14-2"} else "train" for patient in twenty.frame.patient
        ]
    )
    divided = split_by_fractions(
        dataclasses.replace(twenty, frame=official), (14 / 17, 3 / 17), seed=0, keep_test=True
    )
    design = "82.4/17.6 of the training folder, test folder kept"
    assert divided.protocol.name == f"patient-level, {design}"
    test = divided.frame[divided.frame["split"] == "test"]
    assert set(test["patient"]) == {"14-1", "14-2"}
    assert {"train", "val"} <= set(divided.frame["split"])
    assert divided.crossing_patients() == ()


def test_a_test_split_that_holds_every_image_leaves_nothing_to_divide(twenty: Manifest) -> None:
    official = dataclasses.replace(twenty, frame=twenty.frame.assign(split="test"))
    with pytest.raises(DataError, match="every image is in the test split, so none is left"):
        split_by_fractions(official, (0.8, 0.2), keep_test=True)


def test_a_class_without_images_is_no_hindrance() -> None:
    of_two = manifest_of({f"14-{n}": (TASK.classes[n % 2], 4) for n in range(8)})
    three = Task("subtype", ("benign", "malignant", "other"))
    table = split_table(split_into_folds(dataclasses.replace(of_two, task=three), 4, seed=0))
    assert (table["images"] == 8).all()
    assert (table["malignant patients"] == 1).all()
    assert (table["other images"] == 0).all()


def test_no_split_is_empty_where_every_class_has_one_patient() -> None:
    subtypes = ("A", "F", "PT", "TA", "DC", "LC", "MC", "PC")
    rows = {f"14-{n}": ("benign", 1 + n) for n in range(8)}
    frame = manifest_of(rows).frame.assign(
        label=[subtypes[int(patient[3:])] for patient in manifest_of(rows).frame["patient"]]
    )
    manifest = Manifest(frame, Task("subtype", subtypes), "breakhis")
    for seed in range(5):
        divided = split_by_fractions(manifest, (0.5, 0.2, 0.3), seed=seed)
        assert set(divided.frame["split"]) == {"train", "val", "test"}
        assert divided.crossing_patients() == ()
        assert divided.frame["split"].value_counts().idxmax() == "train"


def test_the_table_shows_the_images_at_each_magnification_where_there_are_several(
    twenty: Manifest,
) -> None:
    assert "100X" not in split_table(split_into_folds(twenty, 2))
    magnification = ["40" if n % 3 else "200" for n in range(len(twenty))]
    several = dataclasses.replace(twenty, frame=twenty.frame.assign(magnification=magnification))
    table = split_table(split_into_folds(several, 2, by="image", seed=0))
    assert list(table.columns[-2:]) == ["40X", "200X"]
    assert (table["40X"] + table["200X"] == table["images"]).all()
    assert table["200X"].sum() == magnification.count("200")
    assert abs(table["200X"][0] - table["200X"][1]) <= 2


def test_no_patients_are_counted_where_patients_are_unknown() -> None:
    images = manifest_of({f"image-{n}": (TASK.classes[n % 2], 1) for n in range(12)})
    unknown = dataclasses.replace(images, protocol=Protocol(patients_known=False))
    columns = ["part", "images", "benign images", "malignant images"]
    assert list(split_table(split_into_folds(unknown, 3, seed=0)).columns) == columns
    assert list(count_table(unknown).columns) == ["images", "100X"]


def test_fewer_patients_than_folds_is_an_error_with_the_fix() -> None:
    few = manifest_of({"14-1": ("benign", 5), "14-2": ("malignant", 5)})
    with pytest.raises(DataError, match="2 patients cannot fill 5 splits; use fewer folds"):
        split_into_folds(few, 5)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0)])
def test_fractions_that_are_no_division_are_refused(
    twenty: Manifest, fractions: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError, match="fractions"):
        split_by_fractions(twenty, fractions)


def test_a_fold_that_does_not_exist_is_an_error(twenty: Manifest) -> None:
    with pytest.raises(ConfigError, match=r"fold 9 does not exist.*\[1, 2, 3\]"):
        hold_out(split_into_folds(twenty, 3), 9)


def test_an_image_in_no_fold_is_in_no_split_when_a_fold_is_held_out(twenty: Manifest) -> None:
    divided = split_into_folds(twenty, 5, seed=0)
    frame = divided.frame.copy()
    frame.loc[3, "fold"] = ""
    held = hold_out(dataclasses.replace(divided, frame=frame), 2)
    assert held.frame.index[held.frame["split"] == ""].tolist() == [3]


def test_a_share_of_zero_leaves_its_split_empty(twenty: Manifest) -> None:
    divided = split_by_fractions(twenty, (0.85, 0.15, 0), seed=1)
    assert set(divided.frame["split"]) == {"train", "val"}
    assert divided.protocol.name == "patient-level, 85/15/0"
    assert divided.crossing_patients() == ()
    without_validation = split_by_fractions(twenty, (0.8, 0, 0.2), seed=1)
    assert set(without_validation.frame["split"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.85, 0.15, 0.1), r"must sum to 1, none below 0; got 0.85 \+ 0.15 \+ 0.1 = 1.1"),
        ((1.1, -0.1, 0), r"got 1.1 \+ -0.1 \+ 0 = 1$"),
        ((float("nan"), 0.5, 0.5), "got nan"),
    ],
)
def test_shares_that_divide_nothing_are_shown_with_their_sum(
    twenty: Manifest, shares: tuple[float, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        split_by_fractions(twenty, shares)
