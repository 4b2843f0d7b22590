"""Studies of a manifest: the leak that pseudo-patients show, and sites that are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.pseudo_patients import find_pseudo_patients
from eosin.errors import ConfigError
from eosin.study.cells import StudyResult
from eosin.study.config import Design, read_study
from eosin.study.study import run_study
from eosin.study.table import leakage_rows, write_study

FILE = """
dataset = "manifest"
protocols = ["image 3-fold", "patient 3-fold", "site leave-one-out"]
backbones = ["test_efficientnet"]
weights = "none"
freeze = true
image_size = 64
device = "cpu"
resamples = 200
"""


@pytest.fixture(scope="module")
def found(
    drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyResult, Path]:
    """A study of pseudo-patients from three sites, and its folder."""
    folder = tmp_path_factory.mktemp("sites")
    images = find_pseudo_patients(drawn_breakhis).manifest
    names = images.patients
    sites = ["ABC"[names.index(name) % 3] for name in images.frame["patient"]]
    Manifest(images.frame.assign(site=sites), images.task, "drawn", images.protocol).write(
        folder / "m2.csv"
    )
    (folder / "study.toml").write_text(FILE)
    study = read_study(folder / "study.toml", root=folder / "m2.csv")
    result = run_study(study, folder / "out")
    write_study(result, folder / "out")
    return result, folder / "out"


def test_a_study_measures_the_leak_against_pseudo_patients_and_calls_them_so(
    found: tuple[StudyResult, Path],
) -> None:
    result, folder = found
    assert result.failures == ()
    (row,) = leakage_rows(result.results, resamples=200)
    assert row.leaky_protocol == "image-level (leaky, pseudo-patients), 3-fold"
    assert row.honest_protocol == "pseudo-patient, 3-fold"
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert "pseudo-patient, 3-fold" in page
    assert "patient-level, 3-fold" not in page


def test_each_site_is_scored_by_a_network_that_never_met_it(
    found: tuple[StudyResult, Path],
) -> None:
    result, _ = found
    cell = next(r for r in result.results if r.cell.design.by == "site")
    assert cell.predictions.provenance.protocol.name == (
        "leave-one-site-out (pseudo-patients), 3-fold"
    )
    assert set(cell.predictions.frame["fold"]) == {"1", "2", "3"}
    assert len(cell.predictions) == result.images


def test_a_design_of_sites_is_one_fold_each_or_a_number_of_folds() -> None:
    assert Design.parse("site leave-one-out").leave_one_out
    assert not Design.parse("site 2-fold").leave_one_out
    with pytest.raises(ConfigError, match="site leave-one-out"):
        Design.parse("patient leave-one-out")
