"""A patient or an image is known again by its name, whatever format it was converted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosin.data.identity import Identity, patient_by_pattern

ENDINGS = (".png", ".PNG", ".TIF", ".tiff", ".jpeg", ".Jpg", ".bmp")


def breakhis(*seen: str) -> Identity:
    return Identity("breakhis", "", patients_known=True, seen=frozenset(seen))


@pytest.mark.parametrize("ending", [*ENDINGS, ".webp", "", ".ome.tif", ".png.jpg"])
def test_a_breakhis_image_is_of_its_slide_whatever_its_ending(ending: str) -> None:
    file = Path(f"/x/SOB_B_A-14-22549AB-100-001{ending}")
    assert breakhis("14-22549").patient_of(file) == "14-22549"
    assert breakhis("14-22549CD").patient_of(file) == "14-22549AB"


@pytest.mark.parametrize("name", ["sob_b_a-14-22549ab-100-001.png", "SOB_B_A-14-22549AB_mask.png"])
def test_only_names_as_breakhis_defines_them_are_known(name: str) -> None:
    assert breakhis("14-22549").patient_of(Path(name)) is None


def test_people_of_breakhis_are_known_again_across_slides_and_accession_numbers() -> None:
    slides, numbers = breakhis("14-22549AB", "14-3411F"), breakhis("14-22549")
    patients = ["14-22549", "14-22549CD", "14-3411F", "15-190EF"]
    assert slides.met(patients) == {"14-22549", "14-3411F"}
    assert numbers.met(patients) == {"14-22549", "14-22549CD"}
    assert slides.siblings(patients) == ["14-22549", "14-22549CD"]
    assert numbers.siblings(patients) == []
    assert Identity("idc", "", patients_known=True, seen=slides.seen).siblings(patients) == []


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("pattern", [r"^(\d+)_", r"^(\d+)_.*\.png$", r"^(\d+)_.*\.(?:png|PNG)$"])
def test_a_pattern_finds_the_patient_of_a_converted_image(pattern: str, ending: str) -> None:
    assert patient_by_pattern(pattern, f"8863_x1{ending}") == "8863"


def test_a_pattern_that_takes_the_ending_into_the_patient_knows_the_seen_one_again() -> None:
    by_name = Identity("tiles", "^(.+)$", patients_known=True, seen=frozenset({"p1.PNG"}))
    assert by_name.patient_of(Path("p1.tif")) == "p1.PNG"
    assert by_name.patient_of(Path("p2.tif")) == "p2.tif"


def test_a_name_in_which_a_pattern_finds_nobody_has_no_patient() -> None:
    assert patient_by_pattern(r"^(\d+)_", "control.png") is None
    assert patient_by_pattern(r"^(\d*)_", "_1.png") is None


def test_without_known_patients_a_seen_image_is_known_by_its_folder_and_stem() -> None:
    images = Identity("t", "", patients_known=False, seen=frozenset({"0/a.v2.png", "1/b.TIF"}))
    assert images.patient_of(Path("/other/0/a.v2.jpeg")) == "0/a.v2.png"
    assert images.patient_of(Path("/other/1/b.png")) == "1/b.TIF"
    assert images.patient_of(Path("/other/0/b.png")) is None
    assert images.met(["0/a.v2.tiff", "0/b.png", "1/b.TIF"]) == {"0/a.v2.tiff", "1/b.TIF"}


def test_a_dataset_whose_names_are_images_is_known_by_the_stem_alone() -> None:
    bci = Identity("bci", "", patients_known=False, seen=frozenset({"00013_train_2+"}))
    assert bci.patient_of(Path("/x/y/00013_train_2+.JPG")) == "00013_train_2+"
    assert bci.patient_of(Path("/x/y/00014_train_2+.JPG")) is None
