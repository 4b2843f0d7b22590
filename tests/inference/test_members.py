"""How answers of single networks become those of a Run, by hand, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.run import EnsembleRun, FoldsRun, TrainedRun
from eosin.errors import ModelError
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.members import (
    cast_votes,
    member_features,
    member_probabilities,
    open_scorer,
)
from eosin.inference.readings import BatchReadings, Reading, gathered, noted
from eosin.networks.run import Network, Run, write_run
from eosin.networks.taking_in import take_in
from eosin.pixels.batches import Batch
from eosin.pixels.reading import SkippedFile
from eosin.trust.reference import Look

FILES = [Path(f"/bh/{n}.png") for n in range(4)]
BAD = SkippedFile(FILES[2], "is empty")
EVERY, NOT_2 = np.arange(4), np.array([0, 1, 3])


@dataclass
class Drawn:
    """What single Runs say of four files, drawn by hand."""

    said: Mapping[str, Reading] = field(default_factory=dict)  # by the SHA-256 of their record
    notes: Mapping[str, Mapping[Path, str]] = field(default_factory=dict)

    def logits(self, run: Run) -> Reading:
        return self.said[run.sha256]

    def features(self, run: Run) -> Reading:
        return replace(self.said[run.sha256], values=10 * self.said[run.sha256].values)

    def measures(self, run: Run) -> Reading:
        raise NotImplementedError

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        return self.notes.get(run.sha256, {})


@pytest.fixture
def two(tmp_path: Path, make_record: Callable[..., TrainedRun]) -> list[Run]:
    return [
        write_run(tmp_path / name, make_record(seed=seed, temperature=temperature))
        for seed, (name, temperature) in enumerate((("a", 1.0), ("b", 4.0)))
    ]


def drawn(runs: Sequence[Run]) -> Drawn:
    """The first cannot read the file 2; the second can read them all."""
    rng = np.random.default_rng(0)
    first = Reading(NOT_2, rng.normal(size=(3, 2)), (BAD,))
    second = Reading(EVERY, rng.normal(size=(4, 2)))
    return Drawn({run.sha256: r for run, r in zip(runs, (first, second), strict=True)})


def outer(folder: Path, runs: Sequence[Run], kind: type, **changes: object) -> Run:
    own = {k: v for k, v in dict(runs[0].record).items() if k not in ("kind", "weights_sha256")}
    fields = {**own, "weights_sha256": None, "members": take_in(folder, runs), **changes}
    return write_run(folder, kind.model_validate(fields))


def test_one_network_answers_with_its_softmax_at_its_own_temperature(two: list[Run]) -> None:
    said = drawn(two)
    for run in two:
        found = open_scorer(run).answers(said)
        logits = said.logits(run)
        by_hand = apply_temperature(logits.values, run.record.temperature)
        np.testing.assert_array_equal(found.values, by_hand)
        assert found.skipped == logits.skipped


def test_a_run_of_members_answers_for_the_files_that_all_could_read(
    two: list[Run], tmp_path: Path
) -> None:
    said = drawn(two)
    first, second = (open_scorer(run).answers(said).values for run in two)
    folds = outer(tmp_path / "folds", two, FoldsRun, vote=None)
    soft = outer(tmp_path / "soft", two, EnsembleRun, vote="soft", weights=())
    wanted = (first + second[NOT_2]) / 2
    for run in (folds, soft):
        found = open_scorer(run).answers(said)
        np.testing.assert_allclose(found.values, wanted)
        assert (found.indices.tolist(), found.skipped) == ([0, 1, 3], (BAD,))


def test_votes_are_cast_as_the_record_says(two: list[Run], tmp_path: Path) -> None:
    said = drawn(two)
    first, second = (open_scorer(run).answers(said).values for run in two)
    stacked = np.stack([first, second[NOT_2]])
    for vote, weights in (("hard", ()), ("weighted", (0.9, 0.1))):
        run = outer(tmp_path / vote, two, EnsembleRun, vote=vote, weights=weights)
        found = open_scorer(run).answers(said).values
        np.testing.assert_array_equal(found, cast_votes(stacked, vote, weights))
        np.testing.assert_allclose(found.sum(axis=1), 1)


def test_members_inside_members_answer_first_among_themselves(
    two: list[Run], tmp_path: Path
) -> None:
    said = drawn(two)
    pair = outer(tmp_path / "pair", two, FoldsRun, vote=None)
    whole = outer(
        tmp_path / "whole", [two[0], pair], EnsembleRun, vote="weighted", weights=(0.25, 0.75)
    )
    first, second = (open_scorer(run).answers(said).values for run in two)
    inside = (first + second[NOT_2]) / 2
    found = open_scorer(whole).answers(said).values
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * inside)


def test_where_no_file_could_be_read_by_all_nothing_is_answered_and_all_is_told(
    two: list[Run], tmp_path: Path
) -> None:
    other = SkippedFile(FILES[0], "truncated")
    said = Drawn(
        {
            two[0].sha256: Reading(np.array([0]), np.zeros((1, 2)), (BAD,)),
            two[1].sha256: Reading(np.array([2]), np.zeros((1, 2)), (other,)),
        }
    )
    folds = outer(tmp_path / "folds", two, FoldsRun, vote=None)
    found = open_scorer(folds).answers(said)
    assert len(found.values) == 0
    assert set(found.skipped) == {BAD, other}
    settled = open_scorer(folds).settled(found, pd.DataFrame())
    assert settled is found


def test_probabilities_of_members_are_those_of_each_for_the_same_files(two: list[Run]) -> None:
    said, images = drawn(two), pd.DataFrame({"path": map(str, FILES)})
    indices, values, skipped = member_probabilities(two, said, images)
    assert indices.tolist() == [0, 1, 3]
    assert values.shape == (2, 3, 2)
    np.testing.assert_array_equal(values[0], open_scorer(two[0]).answers(said).values)
    np.testing.assert_array_equal(values[1], open_scorer(two[1]).answers(said).values[NOT_2])
    assert skipped == (BAD,)


def test_features_of_members_stand_side_by_side_and_a_run_of_runs_has_none(
    two: list[Run], tmp_path: Path
) -> None:
    said = drawn(two)
    found = member_features(two, said)
    first, second = (said.features(run).values for run in two)
    np.testing.assert_array_equal(found.values, np.hstack([first, second[NOT_2]]))
    pair = outer(tmp_path / "pair", two, FoldsRun, vote=None)
    with pytest.raises(ModelError, match="a Run of 2 members has no features of its own to fuse"):
        member_features([two[0], pair], said)


def test_notes_of_the_stain_step_are_joined_and_equal_ones_stand_once(
    two: list[Run], tmp_path: Path
) -> None:
    notes = {
        two[0].sha256: {FILES[0]: "blank", FILES[1]: "grey"},
        two[1].sha256: {FILES[0]: "blank", FILES[1]: "own-stain", FILES[3]: "grey"},
    }
    said = Drawn(notes=notes)
    folds = outer(tmp_path / "folds", two, FoldsRun, vote=None)
    assert open_scorer(folds).stain_notes(said) == {
        FILES[0]: "blank",
        FILES[1]: "grey; own-stain",
        FILES[3]: "grey",
    }
    assert open_scorer(two[0]).stain_notes(said) == notes[two[0].sha256]


def test_parts_of_a_list_become_the_whole_in_their_order() -> None:
    look = Look(0.5, ())
    parts = [
        Reading(np.array([0, 1]), np.array([[1.0], [2.0]]), (), ("", "grey"), (look, look)),
        Reading(np.empty(0, np.int64), np.empty((0, 0)), (BAD,)),
        Reading(np.array([3]), np.array([[3.0]]), (), ("blank",), (look,)),
    ]
    found = gathered(iter(parts))
    assert found.values.tolist() == [[1.0], [2.0], [3.0]]
    assert found.indices.tolist() == [0, 1, 3]
    assert (found.skipped, found.notes) == ((BAD,), ("", "grey", "blank"))
    assert len(found.looks) == 3
    nothing = gathered([])
    assert (len(nothing.values), nothing.skipped) == (0, ())
    bad_alone = gathered([parts[1]])
    assert (len(bad_alone.values), bad_alone.skipped) == (0, (BAD,))


def test_only_files_of_which_something_was_noted_are_named() -> None:
    assert noted(FILES, NOT_2, ("", "grey", "blank")) == {FILES[1]: "grey", FILES[3]: "blank"}
    assert noted(FILES, NOT_2, ()) == {}
    with pytest.raises(ValueError):
        noted(FILES, NOT_2, ("grey",))


class Counting:
    """An engine whose logits are means of its input, and which counts how often it is asked."""

    name, device, family = "torch", "cpu", "none"

    def __init__(self) -> None:
        self.asked = 0

    def answers(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked += 1
        mean = batch.mean(axis=(2, 3)).astype(np.float64)
        return mean[:, :2], mean


def test_a_network_is_asked_once_a_batch_whatever_is_wanted_of_it(two: list[Run]) -> None:
    engine, seen = Counting(), two[0].record.preprocessing
    pixels = np.arange(3 * 3 * 4, dtype=np.float32).reshape(3, 3, 2, 2)
    batch = Batch(NOT_2, pixels, (BAD,), ("", "grey", ""), np.ones((3, 5)))
    network = Network("a", two[0], engine)  # type: ignore[arg-type]  # it is asked for answers only
    readings = BatchReadings(FILES, {seen: batch}, {two[0].sha256: network})
    logits, features = readings.logits(two[0]), readings.features(two[0])
    assert engine.asked == 1
    np.testing.assert_array_equal(features.values[:, :2], logits.values)
    np.testing.assert_array_equal(features.values, pixels.mean(axis=(2, 3)))
    assert logits.skipped == (BAD,)
    assert readings.stain_notes(two[0]) == {FILES[1]: "grey"}
    assert readings.measures(two[0]).values.shape == (3, 5)
    empty = Batch(np.empty(0, np.int64), np.empty((0, 3, 2, 2), np.float32), (BAD,))
    nothing = BatchReadings(FILES, {seen: empty}, {two[0].sha256: network}).logits(two[0])
    assert (len(nothing.values), nothing.skipped) == (0, (BAD,))
    assert engine.asked == 1  # of no image nothing is asked
