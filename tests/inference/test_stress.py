"""A stress test scores every shift of the same images, keeps what is done, refuses a mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.splits import split_into_folds
from eosin.errors import ConfigError, DataError
from eosin.inference.scoring import PredictOptions
from eosin.inference.stress import UNCHANGED, Condition, conditions_of, stress_tables
from eosin.networks.run import Run
from eosin.training.config import TrainingConfig
from eosin.training.train import train

CPU = PredictOptions(device="cpu")


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory, drawn_breakhis: Manifest) -> Manifest:
    return split_into_folds(drawn_breakhis, 3, by="patient", seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, folds: Manifest) -> Run:
    config = TrainingConfig(
        backbone="test_efficientnet", weights="none", freeze=True, image_size=32, device="cpu"
    )
    return train(folds, tmp_path_factory.mktemp("stress") / "run", config, fold="all").run


def test_every_severity_of_a_shift_scores_the_images_that_no_fold_saw(
    run: Run, folds: Manifest, tmp_path: Path
) -> None:
    found = stress_tables(run, folds, tmp_path, CPU, shifts=("brightness",))
    assert list(found) == [UNCHANGED, *(Condition("brightness", k) for k in range(1, 6))]
    assert all(len(table) == len(folds) for table in found.values())
    assert found[UNCHANGED].provenance.split == "out-of-fold"
    far = found[Condition("brightness", 5)].probabilities - found[UNCHANGED].probabilities
    near = found[Condition("brightness", 1)].probabilities - found[UNCHANGED].probabilities
    assert np.abs(far).mean() > np.abs(near).mean() > 0


def test_unchanged_images_get_the_out_of_fold_probabilities_of_the_training(
    run: Run, folds: Manifest, tmp_path: Path
) -> None:
    from eosin.artefacts.predictions import read_predictions

    own = read_predictions(run.folder / "predictions.csv").frame.set_index("path")
    found = stress_tables(run, folds, tmp_path, CPU, shifts=("hue",))[UNCHANGED].frame
    again = found.set_index("path").loc[own.index]
    np.testing.assert_allclose(again["p_malignant"], own["p_malignant"], atol=1e-6)


def test_what_is_scored_is_kept_and_gone_on_with(run: Run, folds: Manifest, tmp_path: Path) -> None:
    first = stress_tables(run, folds, tmp_path, CPU, shifts=("noise",))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "tables").glob("*.csv")}
    lost = tmp_path / "tables" / "noise-3-fold-1.csv"
    lost.unlink()
    again = stress_tables(run, folds, tmp_path, CPU, shifts=("noise",))
    for path, stamp in stamps.items():
        assert (path.stat().st_mtime_ns == stamp) == (path != lost)
    for condition, table in first.items():
        np.testing.assert_array_equal(table.probabilities, again[condition].probabilities)


def test_a_folder_of_another_test_is_refused(run: Run, folds: Manifest, tmp_path: Path) -> None:
    stress_tables(run, folds, tmp_path, CPU, shifts=("hue",))
    fewer = split_into_folds(folds, 2, by="patient", seed=1)
    with pytest.raises(DataError, match=r"stress.json: was begun with .*name another folder"):
        stress_tables(run.open_members()[0], folds, tmp_path, CPU, shifts=("hue",))
    assert fewer.fingerprint != folds.fingerprint


def test_an_unknown_shift_is_named_with_those_there_are() -> None:
    assert len(conditions_of()) == 46  # nine shifts of five severities, and the images as they are
    with pytest.raises(ConfigError, match=r"'fog' is unknown; want one of \['blur'"):
        conditions_of(("fog",))


def test_stains_of_other_patients_change_images_that_show_any(
    run: Run, folds: Manifest, tmp_path: Path
) -> None:
    shifts = ("stains of other patients",)
    found = stress_tables(run, folds, tmp_path, CPU, shifts=shifts)
    change = found[Condition(shifts[0], 5)].probabilities - found[UNCHANGED].probabilities
    assert (np.abs(change).max(axis=1) > 1e-4).mean() > 0.5
