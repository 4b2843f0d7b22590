"""eva's split of BreakHis: exactly its list, known as leaky, and a twin that cuts no patient."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.cli.app import app
from eosin.data.audit import audit_manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.eva import HELD_OUT, EvaSplit, divide_as_eva
from eosin.data.splits import split_into_folds
from eosin.errors import ConfigError, DataError

# Every slide of BreakHis with its type; all 82 but for 15-190EF were made in 2014.
SLIDES = {
    "B_A": "22549AB 22549CD 22549G 29960CD",
    "B_F": "9133 14134 14134E 21998CD 21998EF 23060AB 23060CD 23222AB 25197 29960AB",
    "B_PT": "21998AB 22704 29315EF",
    "B_TA": "13200 15275 16184 16184CD 19854C 21978AB 3411F",
    "M_DC": (
        "10926 11031 11520 11951 12312 13412 13993 14015 14926 14946 15572 15696 15792 16188 16336 "
        "16448 16601 16716 16875 17614 17901 17915 18650 20629 20636 2523 2773 2980 2985 3909 4364 "
        "4372 5287 5694 5695 6241 8168 9461"
    ),
    "M_LC": "12204 13412 15570 15570C 16196",
    "M_MC": "10147 12773 13413 13418DE 16456 18842 18842D 19979 19979C",
    "M_PC": "12465 15687B 15704 190EF 19440 9146",
}
CUT = ("14-16184", "14-18842", "14-19979", "14-23060")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every slide of BreakHis with one image at 40X and one at 100X, no two pictures alike."""
    root, rng = tmp_path_factory.mktemp("BreaKHis_v1"), np.random.default_rng(0)
    for kind, numbers in SLIDES.items():
        for number in numbers.split():
            year = 15 if number == "190EF" else 14
            for magnification in (40, 100):
                path = root / f"SOB_{kind}-{year}-{number}-{magnification}-001.png"
                assert cv2.imwrite(str(path), rng.integers(0, 256, (23, 35, 3)).astype(np.uint8))
    return root


def read(root: Path, split: EvaSplit) -> Manifest:
    """The four types as eva divides them."""
    return divide_as_eva(read_breakhis(root, task="eva").manifest, split)


def slides(manifest: Manifest, split: str) -> set[str]:
    """The slides of a split, as eva names them."""
    own = manifest.frame["slide"][manifest.frame["split"] == split]
    return {slide.partition("-")[2] for slide in own}


def test_evas_split_holds_out_exactly_its_fourteen_slides_of_four_types_at_40x(tree: Path) -> None:
    manifest = read(tree, "eva")
    assert slides(manifest, "test") == set(HELD_OUT)
    assert len(HELD_OUT) == len(set(HELD_OUT)) == 14
    assert manifest.task.classes == ("TA", "MC", "F", "DC")
    assert len(slides(manifest, "train")) == 7 + 9 + 10 + 38 - 14
    assert set(manifest.frame["magnification"]) == {"40"}
    assert (manifest.frame["label"] == manifest.frame["subtype"]).all()
    assert "val" not in set(manifest.frame["split"])  # nothing is chosen on what is reported


def test_a_tree_whose_four_types_cannot_be_read_says_so(tmp_path: Path) -> None:
    image = np.zeros((23, 35, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "SOB_M_LC-14-12204-40-001.png"), image)
    (tmp_path / "SOB_M_DC-14-2523-40-001.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="none of 1 image files can be used"):
        read_breakhis(tmp_path, task="eva")


def test_evas_split_is_called_leaky_and_names_the_slides_on_both_sides(tree: Path) -> None:
    manifest = read(tree, "eva")
    assert manifest.protocol.name == "official split (leaky), eva"
    assert manifest.crossing_patients() == CUT
    (note,) = (note for note in manifest.notes if "cuts in two" in note)
    assert "14-16184 (held out 14-16184CD; in training 14-16184)" in note
    assert "14-19979 (held out 14-19979; in training 14-19979C)" in note
    assert note.count("held out") == 4


def test_the_audit_names_the_four_accession_numbers_that_cross(tree: Path) -> None:
    audit = audit_manifest(read(tree, "eva"))
    assert audit.crossing_patients == CUT
    assert "4 patients cross splits" in audit.verdict
    assert audit_manifest(read(tree, "eva-clean")).ok


def test_the_clean_twin_holds_out_all_slides_of_the_same_thirteen_patients(tree: Path) -> None:
    leaky, clean = (read(tree, split) for split in ("eva", "eva-clean"))
    moved = {"16184", "18842", "19979C", "23060AB"}
    assert slides(clean, "test") == set(HELD_OUT) | moved
    assert slides(clean, "train") == slides(leaky, "train") - moved
    held = [set(m.in_split("test").patients) for m in (leaky, clean)]
    assert held[0] == held[1]
    assert len(held[0]) == 13
    assert clean.crossing_patients() == ()
    assert clean.protocol.name == "patient-level, eva-clean"
    clean.require_honest_name()
    assert any(note.endswith("here all these slides are held out.") for note in clean.notes)


def test_a_part_of_the_set_is_said_to_be_one_and_is_leaky_only_where_a_patient_crosses(
    tree: Path,
) -> None:
    four = read_breakhis(tree, task="eva").manifest
    assert len(four) == 2 * 64
    part = four.where(~four.frame["patient"].isin(CUT))
    manifest = divide_as_eva(part, "eva")
    assert manifest.protocol.name == "official split, eva"
    counts = "eva counts 1,132 images in training and 339 held out; its list divides the images "
    assert counts + "here into 46 and 10." in manifest.notes
    assert not any("cuts in two" in note for note in manifest.notes)


def test_the_four_types_can_be_divided_in_any_other_way(tree: Path) -> None:
    four = read_breakhis(tree, task="eva", magnifications=[40]).manifest
    folds = split_into_folds(four, 5, seed=0)
    assert (len(four), len(four.patients)) == (64, 58)
    assert folds.protocol.name == "patient-level, 5-fold"


@pytest.mark.parametrize("split", ["eva", "eva-clean"])
def test_images_that_eva_does_not_divide_are_refused_with_the_fix(
    tree: Path, tmp_path: Path, split: EvaSplit
) -> None:
    with pytest.raises(ConfigError, match="of the task 'binary'; read BreakHis with the task"):
        divide_as_eva(read_breakhis(tree).manifest, split)
    by_slide = read_breakhis(tree, task="eva", patient="slide").manifest
    with pytest.raises(ConfigError, match="without `--patient slide`"):
        divide_as_eva(by_slide, split)
    four = read_breakhis(tree, task="eva").manifest
    with pytest.raises(DataError, match="images at 40X and none is here"):
        divide_as_eva(four.where(four.frame["magnification"] == "100"), split)
    ductal = (four.frame["label"] == "DC") & ~four.frame["slide"].str[3:].isin(HELD_OUT)
    trained_on = four.where(ductal | (four.frame["slide"] == "14-9133"))
    with pytest.raises(DataError, match="all 32 images are in training; read the whole set"):
        divide_as_eva(trained_on, split)
    other = tmp_path / "SOB_M_LC-14-12204-40-001.png"
    other.write_bytes(next(tree.glob("*LC*")).read_bytes())
    with pytest.raises(DataError, match=r"no image of eva's types \['TA', 'MC', 'F', 'DC'\]"):
        read(tmp_path, split)


def test_the_command_line_says_that_the_split_leaks_and_lets_nothing_else_be_chosen(
    tree: Path, tmp_path: Path
) -> None:
    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(word) for word in words])
        return result.exit_code, f"{result.output} {result.exception}"

    out = tmp_path / "eva.csv"
    code, said = run("data", "breakhis", tree, "-o", out, "--split", "eva")
    assert code == 0
    assert "protocol: official split (leaky), eva" in said
    assert "50 in train, 14 in test" in said
    assert read_manifest(out).protocol.leaky
    code, said = run("data", "audit", out)
    assert f"patients that cross: {', '.join(CUT)}" in said
    clean = ("data", "breakhis", tree, "-o", tmp_path / "clean.csv", "--split", "eva-clean")
    code, said = run(*clean)
    assert (code, "46 in train, 18 in test" in said) == (0, True)
    for wrong, words in {
        ("--task", "subtype"): "--split eva-clean settles task and folds; leave --task",
        ("--patient", "slide"): "needs accession numbers as patients",
        ("--magnification", "100"): "images at 40X and none is here",
    }.items():
        code, said = run(*clean, *wrong)
        assert code != 0
        assert words in said
