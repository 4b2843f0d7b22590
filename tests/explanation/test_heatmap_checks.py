"""Scoring of a Run's maps from the image file to the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.run import TrainedRun
from eosin.data.breakhis import BreakHisName
from eosin.data.synthetic import SyntheticOptions, mask_path, write_synthetic
from eosin.errors import ConfigError, DataError
from eosin.explanation.faithfulness_table import FaithfulnessRow, summarise, write_faithfulness
from eosin.explanation.heatmap_checks import MapToScore, ScoreOptions, score_maps, true_region
from eosin.explanation.judging import remap_by
from eosin.explanation.perturbation import PerturbationOptions
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.classifier import (
    Classifier,
    build_classifier,
    save_classifier,
)
from eosin.networks.run import Network, Run, weights_digest, write_run
from eosin.networks.weights import load_classifier
from eosin.pixels.preprocessing import prepare, resize
from eosin.pixels.reading import read_image

SPEC = Preprocessing(size=96)
OPTIONS = ScoreOptions(PerturbationOptions(cells=6, steps=6))

RecordMaker = Callable[..., TrainedRun]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("fields")
    return write_synthetic(out, SyntheticOptions(patients=10, images=60, size=96, seed=4))


@pytest.fixture(scope="module")
def trained(
    images: list[Path], tmp_path_factory: pytest.TempPathFactory, make_record: RecordMaker
) -> Run:
    """A Run that tells the classes apart: normalisation and head fitted, which takes a second."""
    network = build_classifier("test_efficientnet", classes=2, seed=8)
    pixels = torch.from_numpy(np.stack([prepare(read_image(path), SPEC) for path in images]))
    labels = ["_M_" in path.name for path in images]
    with torch.no_grad():
        for _ in range(25):  # running statistics follow the batch by a tenth a step
            network.train()(pixels)
        features = network.eval().features(pixels).double().numpy()
        probe = LogisticRegression(C=10, max_iter=500).fit(features, labels)
        head = network.get_parameter("head.weight"), network.get_parameter("head.bias")
        for sign, row in ((-0.5, 0), (0.5, 1)):
            head[0][row] = sign * torch.from_numpy(probe.coef_[0])
            head[1][row] = sign * float(probe.intercept_[0])
    return kept(network, tmp_path_factory.mktemp("trained"), make_record)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, make_record: RecordMaker) -> Run:
    """A Run whose weights are as drawn."""
    network = build_classifier("test_efficientnet", classes=2, seed=8)
    return kept(network, tmp_path_factory.mktemp("untrained"), make_record)


def kept(network: Classifier, folder: Path, make_record: RecordMaker) -> Run:
    save_classifier(network, folder / "model.safetensors")
    record = make_record(preprocessing=SPEC, temperature=1.0, weights_sha256=weights_digest(folder))
    return write_run(folder, record)


def opened(run: Run) -> Network:
    (network,) = run.networks(device="cpu")
    return network


def grad_cams(run: Run, paths: Sequence[Path], *, target: int = 1) -> Iterator[MapToScore]:
    network, remap = load_classifier(run), remap_by("gradcam", run.record.preprocessing)
    for path in paths:
        image = read_image(path)
        heatmap = remap(network, [resize(image, run.record.preprocessing)], [target])[0]
        yield MapToScore(path, image, heatmap, target)


def scored(run: Run, paths: Sequence[Path]) -> list[FaithfulnessRow]:
    remap = remap_by("gradcam", run.record.preprocessing)
    return list(score_maps(opened(run), grad_cams(run, paths), OPTIONS, remap=remap))


@pytest.fixture(scope="module")
def rows(trained: Run, images: list[Path]) -> list[FaithfulnessRow]:
    return scored(trained, images[:6])


def test_every_map_of_a_randomised_network_is_called_not_faithful(
    untrained: Run, images: list[Path]
) -> None:
    for row in scored(untrained, images[:4]):
        assert not row.faithful
        assert row.verdict.startswith("not faithful: nothing to explain")
        assert row.span < 0.05


def test_a_row_agrees_with_itself_and_with_its_verdict(rows: list[FaithfulnessRow]) -> None:
    for row in rows:
        assert row.gap == pytest.approx(row.insertion_auc - row.deletion_auc)
        assert row.verdict.startswith("faithful: " if row.faithful else "not faithful: ")
        assert 0 <= row.deletion_auc <= 1
        assert row.span <= 1
        if row.faithful:
            assert row.random_as_good == 0
            assert row.gap > row.insertion_centre - row.deletion_centre


def test_a_trained_network_moves_far_more_than_untrained_ones(rows: list[FaithfulnessRow]) -> None:
    assert max(row.span for row in rows) > 0.3
    assert all(row.untrained_span is not None and row.untrained_span < 0.05 for row in rows)


def test_the_first_probability_is_that_of_the_prediction(
    rows: list[FaithfulnessRow], trained: Run, images: list[Path]
) -> None:
    scores = predict(trained, images[:6], PredictOptions(allow_seen=True)).predictions.frame
    expected = scores.set_index("path")["p_malignant"]
    for row in rows:
        assert row.probability == pytest.approx(expected[str(row.path)], abs=1e-4)


def test_true_regions_are_found_beside_synthetic_images_only(
    rows: list[FaithfulnessRow], images: list[Path], tmp_path: Path
) -> None:
    region = true_region(images[0])
    assert region is not None
    assert rows[0].mask_area == pytest.approx(region.mean())
    assert true_region(tmp_path / "elsewhere" / "SOB_B_A-14-22549AB-40-001.png") is None


def test_a_map_of_the_mask_lies_on_the_region(trained: Run, images: list[Path]) -> None:
    image, mask = read_image(images[0]), read_image(mask_path(images[0]))[:, :, 0] / 255.0
    (row,) = score_maps(opened(trained), [MapToScore(images[0], image, mask, 1, "mask")], OPTIONS)
    assert (row.pointing, row.mask_auc) == (1.0, 1.0)
    assert row.energy == pytest.approx(1 / mask.mean())
    assert row.flip_stability is None
    assert row.randomised_head_similarity is None
    assert row.method == "mask"


def test_maps_are_scored_one_at_a_time(untrained: Run, images: list[Path]) -> None:
    made: list[Path] = []

    def counted() -> Iterator[MapToScore]:
        for item in grad_cams(untrained, images[:3]):
            made.append(item.path)
            yield item

    next(score_maps(opened(untrained), counted(), OPTIONS))
    assert made == images[:1]


def test_scores_are_the_same_again(
    rows: list[FaithfulnessRow], trained: Run, images: list[Path]
) -> None:
    assert scored(trained, images[:1]) == rows[:1]


def test_the_callers_random_state_is_kept(untrained: Run, images: list[Path]) -> None:
    before = torch.random.get_rng_state()
    scored(untrained, images[:1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_image_with_a_bad_map_is_named(untrained: Run, images: list[Path]) -> None:
    image = read_image(images[0])
    bad = MapToScore(images[0], image, np.full((3, 3), np.nan), 0)
    with pytest.raises(DataError, match=images[0].name):
        list(score_maps(opened(untrained), [bad], OPTIONS))
    with pytest.raises(DataError, match="no class number 7 among"):
        list(score_maps(opened(untrained), [MapToScore(images[0], image, np.eye(3), 7)], OPTIONS))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match="-1 randomisations"):
        ScoreOptions(randomisations=-1)


def test_the_table_says_everything_and_leaves_empty_what_was_not_measured(
    rows: list[FaithfulnessRow], untrained: Run, tmp_path: Path
) -> None:
    image = read_image(rows[0].path)
    item = MapToScore(tmp_path / "SOB_B_F-14-25197-100-001.png", image, np.eye(3), 0)
    real = list(score_maps(opened(untrained), [item], OPTIONS))
    write_faithfulness([*rows, *real], tmp_path / "faithfulness.csv")
    table = pd.read_csv(tmp_path / "faithfulness.csv")
    assert len(table) == 7
    assert table["mask_auc"].notna().tolist() == [True] * 6 + [False]
    assert table["verdict"].tolist()[:6] == [row.verdict for row in rows]
    assert table["gap"].to_numpy() == pytest.approx([r.gap for r in [*rows, *real]], abs=1e-5)


def test_means_carry_intervals_over_patients(rows: list[FaithfulnessRow]) -> None:
    patients = [BreakHisName.parse(row.path.name).accession for row in rows]
    table = summarise(rows, patients).set_index("measure")
    found = table.loc["deletion_auc"]
    assert found["mean"] == pytest.approx(np.mean([row.deletion_auc for row in rows]))
    assert found["low"] <= found["mean"] <= found["high"]
    assert (found["images"], found["patients"]) == (6, len(set(patients)))
    assert table.loc["faithful", "mean"] == pytest.approx(np.mean([r.faithful for r in rows]))


def test_one_patient_gives_a_mean_and_no_interval(rows: list[FaithfulnessRow]) -> None:
    table = summarise(rows, ["14-25197"] * len(rows))
    assert table[["low", "high"]].isna().all(axis=None)


def test_no_rows_and_missing_patients_are_refused(rows: list[FaithfulnessRow]) -> None:
    with pytest.raises(DataError, match="no heatmap was scored"):
        summarise([], [])
    with pytest.raises(DataError, match="1 patients for 6 rows"):
        summarise(rows, ["14-25197"])
