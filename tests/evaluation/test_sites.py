"""Sites: figures of each, and an index of whether likeness follows the class or the site."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.arrays import Bools, Floats
from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.cli.app import app
from eosin.data.splits import leave_one_out
from eosin.errors import ConfigError, DataError
from eosin.evaluation.sites import figures_by_site, robustness_index, site_images
from eosin.protocol import Protocol
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def images_of_two_sites(each: int = 6) -> Manifest:
    """Two patients of each class at each site, ``each`` images a patient."""
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "path": f"/images/{site}-{label}-{patient}-{image}.png",
            "label": label,
            "patient": f"{site}-{label}-{patient}",
            "site": site,
        }
        for site in ("Bern", "Oslo")
        for label in TASK.classes
        for patient in (1, 2)
        for image in range(each)
    ]
    return Manifest(pd.DataFrame(rows), TASK, "folder")


def scored(images: Manifest, right: Bools | Floats) -> Predictions:
    truth = images.label_index
    chosen = np.where(right, truth, 1 - truth)
    probabilities = np.where(chosen[:, None] == np.arange(2), 0.9, 0.1)
    return make_predictions(images.frame, probabilities, task=TASK)


def sites_of(images: Manifest) -> dict[str, str]:
    return dict(zip(images.frame["path"], images.frame["site"], strict=True))


def test_the_index_is_one_where_likeness_follows_the_class_and_zero_where_it_follows_the_site() -> (
    None
):
    images = images_of_two_sites(each=3)
    known = site_images(scored(images, np.ones(len(images))), sites_of(images), by="site")
    label = np.eye(2)[images.label_index]
    site = np.eye(2)[(images.frame["site"] == "Oslo").astype(int)]
    noise = np.random.default_rng(0).normal(0, 0.01, (len(images), 2))
    # the nearest: three images of the other patient alike in both, then those alike in one
    by_class = robustness_index(np.hstack([label, 0.3 * site, noise]), known, resamples=200)
    by_site = robustness_index(np.hstack([0.3 * label, site, noise]), known, resamples=200)
    assert (by_class.value, by_site.value) == (1.0, 0.0)
    assert by_class.patients == 8
    assert "neighbours drawn at random give 0.500" in by_class.note


def test_images_of_the_same_patient_are_no_neighbours() -> None:
    images = images_of_two_sites(each=1)
    frame = images.frame.assign(patient=["a", "b", "c", "a", "e", "f", "g", "h"])
    table = scored(Manifest(frame, TASK, "folder"), np.ones(8))
    known = site_images(table, sites_of(images), by="site")
    angle = np.deg2rad([0, 20, 40, 1, 90, 110, 130, 150])  # 0 and 3: nearest, one patient
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = robustness_index(values, known, resamples=200)
    # by hand, 5 nearest others of other patients: the same table without that pair
    same = frame["patient"].to_numpy()[:, None] == frame["patient"].to_numpy()
    far = np.where(same, np.inf, 1 - values @ values.T)
    near = np.argsort(far, axis=1)[:, :5]
    labels, site = images.label_index, np.array(known.sites)
    good = ((labels[near] == labels[:, None]) & (site[near] != site[:, None])).sum()
    bad = ((labels[near] != labels[:, None]) & (site[near] == site[:, None])).sum()
    assert found.value == pytest.approx(good / (good + bad))


def test_each_site_has_its_own_figures() -> None:
    images = images_of_two_sites()
    right = ((images.frame["site"] == "Bern") | (images.frame["label"] == "benign")).to_numpy()
    table = scored(images, right)
    known = site_images(table, sites_of(images), by="site")
    found = {
        site: each.value
        for site, each in figures_by_site(table, known, resamples=200)
        if each.metric == "accuracy"
    }
    assert found == {"Bern": 1.0, "Oslo": 0.5}


def test_an_image_without_a_site_and_a_single_site_are_refused_by_name() -> None:
    images = images_of_two_sites()
    table = scored(images, np.ones(len(images)))
    sites = sites_of(images)
    first = images.frame["path"].iloc[0]
    with pytest.raises(DataError, match=f"no site in the manifest: {first}"):
        site_images(table, {**sites, first: ""}, by="site")
    with pytest.raises(DataError, match="there is nothing to compare"):
        site_images(table, dict.fromkeys(sites, "Bern"), by="site")


def test_leaving_one_site_out_gives_a_fold_for_each_and_says_so() -> None:
    divided = leave_one_out(images_of_two_sites(), by="site")
    assert divided.protocol.name == "leave-one-site-out, 2-fold"
    assert set(zip(divided.frame["site"], divided.frame["fold"], strict=True)) == {
        ("Bern", "1"),
        ("Oslo", "2"),
    }
    assert "The site that each fold leaves out: Bern (1), Oslo (2)." in divided.notes


def test_a_patient_seen_at_two_sites_makes_the_protocol_leaky() -> None:
    images = images_of_two_sites()
    frame = images.frame.replace({"patient": {"Oslo-benign-1": "Bern-benign-1"}})
    divided = leave_one_out(Manifest(frame, TASK, "folder"), by="site")
    assert divided.protocol == Protocol("site", "2-fold", leaky=True)
    assert divided.protocol.name == "leave-one-site-out (leaky), 2-fold"


def test_a_manifest_without_sites_or_with_a_gap_cannot_leave_one_out() -> None:
    images = images_of_two_sites()
    with pytest.raises(ConfigError, match="no column 'scanner'"):
        leave_one_out(images, by="scanner")
    frame = images.frame.assign(site=["", *images.frame["site"][1:]])
    with pytest.raises(DataError, match="names no site"):
        leave_one_out(Manifest(frame, TASK, "folder"), by="site")


def test_the_commands_split_and_tabulate_by_site(tmp_path: Path) -> None:
    images = images_of_two_sites()
    manifest, split = tmp_path / "m.csv", tmp_path / "s.csv"
    images.write(manifest)
    scored(images, np.ones(len(images))).write(tmp_path / "p.csv")
    run = CliRunner().invoke
    done = run(app, ["split", str(manifest), "-o", str(split), "--by", "site"])
    assert done.exit_code == 0, done.output
    assert "leave-one-site-out, 2-fold" in done.output
    words = ["sites", str(tmp_path / "p.csv"), "--manifest", str(manifest)]
    done = run(app, [*words, "-o", str(tmp_path / "t.csv"), "--resamples", "200"])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "t.csv")
    assert set(table["site"]) == {"Bern", "Oslo", "all"}
    index = table[table["metric"] == "robustness_index"]
    assert index["of"].tolist() == ["probabilities"]
    assert index["value"].tolist() == [1.0]
    wrong = run(app, [*words, "-o", str(tmp_path / "u.csv"), "--by", "scanner"])
    assert isinstance(wrong.exception, ConfigError)
