"""Slides answered by their tiles: rules that hold whatever the order of tiles, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from eosin.artefacts.run import ATTENTION_NAME, Bag, FoldsRun, TrainedRun
from eosin.errors import DataError, ModelError
from eosin.evaluation.calibration import apply_temperature
from eosin.files import sha256_of
from eosin.inference.bags import (
    Gate,
    answer_slides,
    answers_slides,
    find_slides,
    load_gate,
    pooled,
    ranks,
    slide_chances,
    tile_values,
    tile_weights,
)
from eosin.inference.readings import Reading
from eosin.networks.run import Run, write_run
from eosin.tasks import Task
from eosin.trust.reference import Look

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
TURNED = Task("binary", ("malignant", "benign"), positive="malignant")
GRADES = Task("her2", ("0", "1+", "2+"), ordinal=True)
RULES = [
    Bag(aggregator="mean", share=None, attention_sha256=None),
    Bag(aggregator="max", share=None, attention_sha256=None),
    Bag(aggregator="topk", share=0.3, attention_sha256=None),
    Bag(aggregator="abmil", share=None, attention_sha256="0" * 64),
]
MEAN = RULES[0]
Make = Callable[..., TrainedRun]


def drawn(classes: int, *, tiles: int = 60, slides: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Values of tiles, logits and attention, and the slide of each; every slide has one."""
    rng = np.random.default_rng(classes)
    slide = np.concatenate([np.arange(slides), rng.integers(0, slides, tiles - slides)])
    return rng.normal(size=(tiles, classes + 1)), slide


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.aggregator)
@pytest.mark.parametrize("task", [BINARY, GRADES], ids=lambda task: task.name)
def test_weights_of_a_slide_sum_to_one_and_follow_the_tiles_wherever_they_stand(
    rule: Bag, task: Task
) -> None:
    values, slide = drawn(len(task.classes))
    weights = tile_weights(rule, values, slide, task)
    assert (weights >= 0).all()
    np.testing.assert_allclose(np.bincount(slide, weights), 1)
    order = np.random.default_rng(1).permutation(len(slide))
    turned = tile_weights(rule, values[order], slide[order], task)
    np.testing.assert_allclose(turned, weights[order])
    slides = pooled(weights, values, slide)
    np.testing.assert_allclose(pooled(turned, values[order], slide[order]), slides)
    alone = slide == 3  # the same slide in other company
    own = tile_weights(rule, values[alone], np.zeros(alone.sum(), np.int64), task)
    np.testing.assert_allclose(own, weights[alone])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.aggregator)
def test_what_is_added_to_all_logits_of_a_tile_changes_no_weight(rule: Bag) -> None:
    values, slide = drawn(3)
    moved = values.copy()
    moved[:, :-1] += np.random.default_rng(2).normal(0, 50, (len(values), 1))
    weights = tile_weights(rule, values, slide, GRADES)
    np.testing.assert_allclose(tile_weights(rule, moved, slide, GRADES), weights)


def test_one_tile_is_its_slide_under_every_rule() -> None:
    values, slide = np.array([[0.3, -2.0, 5.0], [1.0, 0.5, -700.0]]), np.array([0, 1])
    for rule in RULES:
        weights = tile_weights(rule, values, slide, BINARY)
        assert weights.tolist() == [1.0, 1.0]
        np.testing.assert_array_equal(pooled(weights, values, slide), values[:, :-1])


@pytest.mark.parametrize(
    ("share", "tiles", "kept"),
    [
        (0.5, 4, 2),
        (0.5, 5, 3),
        (0.01, 50, 1),
        (0.1, 30, 3),
        (0.3, 10, 3),
        (1.0, 7, 7),
        (0.07, 100, 7),
    ],
)
def test_a_share_of_tiles_is_rounded_up_and_never_by_a_floats_last_digit(
    share: float, tiles: int, kept: int
) -> None:
    rule = Bag(aggregator="topk", share=share, attention_sha256=None)
    margins = np.arange(tiles, dtype=float)
    values = np.column_stack([-margins, margins, np.zeros(tiles)])
    weights = tile_weights(rule, values, np.zeros(tiles, np.int64), BINARY)
    assert (weights > 0).tolist() == [False] * (tiles - kept) + [True] * kept
    np.testing.assert_allclose(weights[weights > 0], 1 / kept)


def test_tiles_that_are_alike_are_kept_in_number_as_the_share_says() -> None:
    rule = Bag(aggregator="topk", share=0.5, attention_sha256=None)
    weights = tile_weights(rule, np.zeros((6, 3)), np.zeros(6, np.int64), BINARY)
    assert sorted(weights) == [0, 0, 0, 1 / 3, 1 / 3, 1 / 3]


def test_the_background_is_the_class_that_is_not_positive_wherever_it_stands() -> None:
    values, slide = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]]), np.zeros(2, np.int64)
    assert tile_weights(RULES[1], values, slide, BINARY).tolist() == [0, 1]
    assert tile_weights(RULES[1], values, slide, TURNED).tolist() == [1, 0]


def test_attention_of_any_size_is_a_share_and_equal_scores_share_alike() -> None:
    scores = np.array([1e4, 1e4, -1e4, -1e300, -1e300])
    values, slide = np.column_stack([np.zeros((5, 2)), scores]), np.array([0, 0, 0, 1, 1])
    weights = tile_weights(RULES[3], values, slide, BINARY)
    assert weights.tolist() == [0.5, 0.5, 0, 0.5, 0.5]


def test_ranks_are_within_a_slide_from_the_highest_and_ties_go_by_what_is_told() -> None:
    values = np.array([1.0, 5.0, 3.0, 2.0, 3.0])
    slide = np.array([1, 0, 1, 0, 1])
    assert ranks(values, slide).tolist() == [2, 0, 0, 1, 1]
    assert ranks(values, slide, ties=np.array([0, 0, 2.0, 0, 1.0])).tolist() == [2, 0, 1, 1, 0]


def gate(hidden: int = 4, channels: int = 6) -> Gate:
    rng = np.random.default_rng(5)
    wide, thin = ((hidden, channels), (hidden,))
    return Gate(*(rng.normal(size=each) for each in (wide, thin, wide, thin, thin)))


def test_tiles_without_attention_of_their_own_have_none_in_their_last_column() -> None:
    logits, features = np.ones((3, 2)), np.random.default_rng(0).normal(size=(3, 6))
    assert tile_values(logits, features, None).tolist() == [[1, 1, 0]] * 3
    found = tile_values(logits, features, gate())
    np.testing.assert_array_equal(found[:, -1], gate().scores(features))
    assert np.isfinite(gate().scores(1e6 * features)).all()  # no overflow where it is saturated


def gated(folder: Path, make_record: Make, tensors: dict[str, np.ndarray]) -> Run:
    folder.mkdir()
    save_file(tensors, folder / ATTENTION_NAME)
    digest = sha256_of(folder / ATTENTION_NAME)
    bag = Bag(aggregator="abmil", share=None, attention_sha256=digest)
    return write_run(folder, make_record(bag=bag))


def test_attention_comes_back_from_its_file_as_it_was_written(
    tmp_path: Path, make_record: Make
) -> None:
    run = gated(tmp_path / "run", make_record, gate().tensors())
    found = load_gate(run)
    assert found is not None
    features = np.random.default_rng(1).normal(size=(9, 6))
    np.testing.assert_allclose(found.scores(features), gate().scores(features), rtol=1e-5)
    assert load_gate(write_run(tmp_path / "plain", make_record())) is None
    assert load_gate(write_run(tmp_path / "mean", make_record(bag=MEAN))) is None


@pytest.mark.parametrize("fault", ["lost", "changed", "a tensor less", "no tensors"])
def test_attention_that_is_not_the_runs_own_is_refused_by_file_and_reason(
    fault: str, tmp_path: Path, make_record: Make
) -> None:
    tensors = gate().tensors()
    if fault == "a tensor less":
        del tensors["attention.weight"]
    run = gated(tmp_path / "run", make_record, tensors)
    path = run.folder / ATTENTION_NAME
    if fault == "lost":
        path.unlink()
    elif fault == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    elif fault == "no tensors":
        path.write_bytes(b"none")
        bag = Bag(aggregator="abmil", share=None, attention_sha256=sha256_of(path))
        run = write_run(run.folder, make_record(bag=bag))
    said = {"lost": "No such file", "changed": "changed since", "a tensor less": "attention.weight"}
    with pytest.raises(ModelError, match=r"attention\.safetensors: not the attention of") as caught:
        load_gate(run)
    assert said.get(fault, "") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_are_averaged_after_each_has_its_own_weights_and_temperature(
    tmp_path: Path, make_record: Make, folds_of: Callable[..., FoldsRun]
) -> None:
    runs = [
        write_run(tmp_path / name, make_record(bag=bag, temperature=temperature))
        for name, bag, temperature in (("a", MEAN, 1.0), ("b", RULES[1], 2.5))
    ]
    both = write_run(tmp_path / "both", folds_of(tmp_path / "both", runs))
    assert answers_slides(both)
    assert not answers_slides(write_run(tmp_path / "plain", make_record()))
    first, slide = drawn(2)
    second = drawn(2)[0][::-1]
    found = slide_chances(both, np.hstack([first, second]), slide)
    by_hand, weights = [], []
    for run, own in zip(runs, (first, second), strict=True):
        assert run.record.bag is not None
        weights.append(tile_weights(run.record.bag, own, slide, BINARY))
        logits = pooled(weights[-1], own, slide)
        by_hand.append(apply_temperature(logits, run.record.temperature))
    np.testing.assert_allclose(found.slides, np.mean(by_hand, axis=0))
    np.testing.assert_allclose(found.attention, np.mean(weights, axis=0))
    np.testing.assert_allclose(found.tiles.sum(axis=1), 1)
    assert found.tiles.shape == (60, 2)


def test_networks_that_answer_for_images_and_for_slides_are_not_mixed(
    tmp_path: Path, make_record: Make, folds_of: Callable[..., FoldsRun]
) -> None:
    runs = [
        write_run(tmp_path / "slides", make_record(bag=MEAN)),
        write_run(tmp_path / "images", make_record()),
    ]
    both = write_run(tmp_path / "both", folds_of(tmp_path / "both", runs))
    with pytest.raises(ModelError, match="images: answers for images, and others in the Run for"):
        slide_chances(both, np.zeros((2, 6)), np.zeros(2, np.int64))


def tiles(*rows: tuple[str, str], **columns: Any) -> pd.DataFrame:
    """Rows of (path, slide)."""
    blank = dict.fromkeys(("label", "patient", "magnification", "split", "fold"), "")
    return pd.DataFrame([{**blank, "path": p, "slide": s} for p, s in rows]).assign(**columns)


def test_slides_stand_in_the_order_of_their_first_tiles_and_places_of_tiles_are_not_theirs() -> (
    None
):
    frame = tiles(("/t/3.png", "B"), ("/t/1.png", "A"), ("/t/2.png", "B"), x="7", site="Lyon")
    rows, number = find_slides(frame)
    assert rows["slide"].tolist() == ["B", "A"]
    assert number.tolist() == [0, 1, 0]
    assert rows["x"].tolist() == ["", ""]
    assert rows["site"].tolist() == ["Lyon"] * 2
    assert "y" not in rows


def test_tiles_of_several_folds_of_one_slide_are_refused() -> None:
    frame = tiles(("/t/1.png", "A"), ("/t/2.png", "A"), fold=["1", "2"])
    with pytest.raises(DataError, match=r"slide 'A': its tiles have 2 values of 'fold', \['1', '2"):
        find_slides(frame)


def test_a_slide_has_the_flags_of_half_its_attention_and_each_note_once(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(bag=RULES[3]))
    frame = tiles(*((f"/t/{n}.png", "A" if n < 3 else "B") for n in range(5)), x="1", y="2")
    looks = (
        *(Look(0.5, ("blurred",)), Look(0.5, ("stain", "blurred")), Look(0.5, ())),
        *(Look(0.5, ("stain",)),),
    )
    values = np.array([[0.0, 1, 0], [0, 2, np.log(2)], [0, 3, 0], [0, 4, 0]])  # shares 1, 2, 1 of 4
    found = answer_slides(
        run,
        Reading(np.array([0, 1, 2, 3]), values, (), ("grey", "blank", "grey", ""), looks),
        frame,
    )
    assert [look.flags for look in found.looks] == [("blurred", "stain"), ("stain",)]
    assert all(look.familiarity is None for look in found.looks)
    assert found.notes == ("grey; blank", "")
    np.testing.assert_allclose(found.attention["attention"], [0.25, 0.5, 0.25, 1])
    assert found.attention["path"].tolist() == frame["path"].tolist()[:4]
    logits = [[0, 0.25 * 1 + 0.5 * 2 + 0.25 * 3], [0, 4]]
    np.testing.assert_allclose(
        found.probabilities, apply_temperature(np.array(logits), run.record.temperature)
    )


def test_a_slide_none_of_whose_tiles_could_be_read_is_not_answered(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(bag=MEAN))
    frame = tiles(("/t/0.png", "A"), ("/t/1.png", "B"), ("/t/2.png", "C"), ("/t/3.png", "C"))
    found = answer_slides(run, Reading(np.array([0, 3]), np.zeros((2, 3))), frame)
    assert found.rows["slide"].tolist() == ["A", "C"]
    assert found.probabilities.tolist() == [[0.5, 0.5]] * 2
    assert found.looks == ()
    assert found.notes == ("", "")
    assert found.attention[["slide", "x", "y"]].to_numpy().tolist() == [
        ["A", "", ""],
        ["C", "", ""],
    ]
