"""Synthetic tissue: true names, the same bytes twice, and a label that the masks really carry."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from eosin.data.breakhis import BreakHisName
from eosin.data.synthetic import (
    MALIGNANT,
    SyntheticOptions,
    SyntheticPatient,
    mask_path,
    synthetic_patients,
    write_synthetic,
)
from eosin.data.tissue import Drawing, Stain, develop, draw
from eosin.errors import ConfigError, DataError

LEVELS = ("0", "1+", "2+", "3+")
BCI_NAME = re.compile(r"\d{5}_(train|test)_(0|1\+|2\+|3\+)\.png")


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixteen images of eight patients, one of each tumour type."""
    out = tmp_path_factory.mktemp("synthetic")
    return write_synthetic(out, SyntheticOptions(patients=8, images=16, size=128, seed=5))


def drawings(options: SyntheticOptions, fields: int = 3) -> list[tuple[SyntheticPatient, Drawing]]:
    patients = synthetic_patients(options)
    return [
        (patient, draw(patient.tissue, size=160, seed=field))
        for patient in patients
        for field in range(fields)
    ]


def nuclear_area(drawing: Drawing) -> float:
    """Median area in pixels of the separate epithelial nuclei that do not touch the border."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(drawing.nuclei.astype(np.uint8))
    inside = [
        area
        for x, y, w, h, area in stats[1:count]
        if x > 0 and y > 0 and x + w < 160 and y + h < 160 and area > 8
    ]
    return float(np.median(inside)) if inside else float("nan")


def optical_density(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    density: npt.NDArray[np.float64] = -np.log((image.astype(float) + 1) / 256)
    return np.asarray(density.mean(axis=2), np.float64)


def read_png(path: Path) -> npt.NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return np.asarray(pixels, np.uint8)


def test_every_file_carries_a_true_breakhis_name(breakhis: list[Path]) -> None:
    names = [BreakHisName.parse(path.name) for path in breakhis]
    assert {name.subtype for name in names} == {"A", "F", "PT", "TA", "DC", "LC", "MC", "PC"}
    assert {name.magnification for name in names} == {100}
    assert len({name.accession for name in names}) == 8
    assert any(name.slide.endswith("AB") for name in names)


def test_benign_and_malignant_are_balanced_in_images_and_patients(breakhis: list[Path]) -> None:
    images = Counter(path.name[4] for path in breakhis)
    patients = Counter(name[4] for name in {path.name.rsplit("-", 2)[0] for path in breakhis})
    assert images == {"B": 8, "M": 8}
    assert patients == {"B": 4, "M": 4}


def test_one_patient_has_one_tumour_type_and_one_slide() -> None:
    patients = synthetic_patients(SyntheticOptions(patients=30, images=30))
    assert len({patient.slide for patient in patients}) == 30
    assert len({re.sub("[A-Z]", "", patient.slide) for patient in patients}) == 30


def test_her2_files_carry_true_bci_names_in_train_and_test(tmp_path: Path) -> None:
    options = SyntheticOptions(kind="her2", patients=8, images=24, size=64)
    paths = write_synthetic(tmp_path, options)
    for path in paths:
        match = BCI_NAME.fullmatch(path.name)
        assert match is not None, path
        assert path.parent == tmp_path / "HE" / match[1]
    levels = Counter((p.parent.name, p.stem.split("_")[2]) for p in paths)
    assert levels == {(split, level): 3 for split in ("train", "test") for level in LEVELS}


def test_a_her2_slide_never_crosses_from_training_to_test() -> None:
    patients = synthetic_patients(SyntheticOptions(kind="her2", patients=40, images=40))
    assert Counter(patient.split for patient in patients) == {"train": 32, "test": 8}
    assert {patient.label for patient in patients if patient.split == "test"} == set(LEVELS)


def test_the_same_options_write_the_same_bytes_with_one_thread_or_two(tmp_path: Path) -> None:
    options = SyntheticOptions(patients=4, images=8, size=96, seed=3)
    one = write_synthetic(tmp_path / "one", options, workers=1)
    two = write_synthetic(tmp_path / "two", options, workers=2)
    assert [path.name for path in one] == [path.name for path in two]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert mask_path(first).read_bytes() == mask_path(second).read_bytes()


def test_another_seed_draws_other_images() -> None:
    first, second = (
        draw(synthetic_patients(SyntheticOptions(seed=seed))[0].tissue, size=96, seed=0).image
        for seed in (0, 1)
    )
    assert np.abs(first.astype(int) - second.astype(int)).mean() > 5


def test_masks_stand_where_readers_of_images_do_not_walk(breakhis: list[Path]) -> None:
    root = breakhis[0].parent.parent
    assert mask_path(breakhis[0]) == root / "masks" / breakhis[0].name
    assert sorted((root / "images").rglob("*.png")) == sorted(breakhis)
    bci = Path("out/HE/train/00013_train_2+.png")
    assert mask_path(bci) == Path("out/masks/HE/train/00013_train_2+.png")


def test_the_mask_of_a_stranger_is_refused_with_the_expected_folders() -> None:
    with pytest.raises(DataError, match=r"SOB_B_A.*OUT/images"):
        mask_path(Path("elsewhere/SOB_B_A-14-22549AB-100-001.png"))


def test_each_mask_covers_a_part_of_its_image_that_is_darker_than_the_rest(
    breakhis: list[Path],
) -> None:
    excess = []
    for path in breakhis:
        image, mask = read_png(path), read_png(mask_path(path))
        assert mask.shape == image.shape[:2]
        assert set(np.unique(mask)) == {0, 255}
        assert 0.04 < (mask > 0).mean() < 0.95
        density = optical_density(image)
        excess.append(density[mask > 0].mean() - density[mask == 0].mean())
    assert np.mean(np.array(excess) > 0) > 0.9
    assert np.mean(excess) > 0.2


def test_nuclei_lie_in_the_epithelium_and_are_its_densest_part() -> None:
    for _, drawing in drawings(SyntheticOptions(patients=8, images=8), fields=1):
        # Half a nucleus may hang over an edge, but its centre stands inside.
        assert drawing.epithelium[drawing.nuclei].mean() > 0.8
        density = optical_density(drawing.image)
        nuclei = density[drawing.nuclei & drawing.epithelium].mean()
        assert nuclei > density[~drawing.nuclei & drawing.epithelium].mean()


def test_malignant_nuclei_are_larger_on_average_and_the_classes_overlap() -> None:
    patients = synthetic_patients(SyntheticOptions(patients=200, images=200))
    sizes = {
        kind: np.array([p.tissue.nuclei.diameter for p in patients if (p.label in MALIGNANT) == m])
        for kind, m in (("benign", False), ("malignant", True))
    }
    assert sizes["malignant"].mean() - sizes["benign"].mean() == pytest.approx(2.2, abs=0.4)
    assert sizes["malignant"].min() < sizes["benign"].max()


def test_the_drawn_nuclei_show_that_difference_in_pixels() -> None:
    base = synthetic_patients(SyntheticOptions(seed=1))[1].tissue
    apart = replace(base.nuclei, spacing=1.8, spread=0.0, irregularity=0.0, disorder=0.0)
    areas = []
    for diameter in (7.0, 10.0):
        tissue = replace(base, nuclei=replace(apart, diameter=diameter))
        areas.append(nuclear_area(draw(tissue, size=160, seed=2, magnification=200)))
    micron = 2.0 * 160 / 224  # pixels at 200X
    assert areas[0] == pytest.approx(np.pi * (7.0 * micron) ** 2 / 4, rel=0.12)
    assert areas[1] == pytest.approx(np.pi * (10.0 * micron) ** 2 / 4, rel=0.12)


def test_her2_nuclei_grow_with_the_level() -> None:
    patients = synthetic_patients(SyntheticOptions(kind="her2", patients=400, images=400))
    means = [
        np.mean([p.tissue.nuclei.diameter for p in patients if p.label == level])
        for level in LEVELS
    ]
    assert means == sorted(means)
    assert means[3] - means[0] > 1.2


def test_stain_vectors_are_unit_and_vary_between_patients() -> None:
    patients = synthetic_patients(SyntheticOptions(patients=24, images=24))
    vectors = np.array([patient.tissue.stain.vectors for patient in patients])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1.0)
    assert len(np.unique(vectors[:, 0].round(6), axis=0)) == 24
    angles = np.degrees(np.arccos(np.clip(vectors[:, 1] @ vectors[:, 1].mean(0), -1, 1)))
    assert 2 < np.median(angles) < 20


def test_scanners_are_shared_equally_by_both_classes() -> None:
    patients = synthetic_patients(SyntheticOptions(patients=20, images=20))
    blurs = {
        tumour: Counter(
            p.tissue.stain.blur for p in patients if (p.label in MALIGNANT) == malignant
        )
        for tumour, malignant in (("B", False), ("M", True))
    }
    assert blurs["B"] == blurs["M"]
    assert len(blurs["B"]) == 5


def test_the_picture_obeys_beer_and_lambert() -> None:
    stain = Stain(((0.6, 0.8, 0.0), (0.0, 0.6, 0.8)), (1.0, 0.5), (250, 240, 230), 0.0, 0.0, 1.0)
    one = np.ones((4, 4), np.float32)
    image = develop(one, 2 * one, stain, rng=np.random.default_rng(0))
    expected = [250 * np.exp(-0.6), 240 * np.exp(-0.8 - 0.6), 230 * np.exp(-0.8)]
    np.testing.assert_array_equal(image, np.broadcast_to(np.rint(expected), (4, 4, 3)))


def test_progress_counts_every_image(tmp_path: Path, told) -> None:
    options = SyntheticOptions(patients=2, images=5, size=64)
    write_synthetic(tmp_path, options, progress=told)
    assert (told.works, told.done) == ([("drawing", 5, 0)], 5)


def test_a_folder_with_images_of_another_dataset_is_refused(tmp_path: Path) -> None:
    write_synthetic(tmp_path, SyntheticOptions(patients=2, images=4, size=64))
    with pytest.raises(DataError, match=r"already holds .*-002\.png.*choose an empty folder"):
        write_synthetic(tmp_path, SyntheticOptions(patients=2, images=2, size=64))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "lung"}, r"'lung'.*'breakhis' or 'her2'"),
        ({"patients": 1}, r"patients = 1: use 2 to 9999"),
        ({"kind": "her2", "patients": 3}, r"patients = 3: use 4 to 9999"),
        ({"patients": 24, "images": 23}, r"images = 23 for 24 patients: ask for 24"),
        ({"size": 32}, r"size = 32 pixels: use 64 to 2048"),
        ({"magnification": 150}, r"magnification = 150: use 40, 100, 200 or 400"),
        ({"seed": -1}, r"seed = -1: use 0 or more"),
    ],
)
def test_an_option_that_cannot_be_drawn_is_named_with_its_fix(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        SyntheticOptions(**options)  # type: ignore[arg-type]
