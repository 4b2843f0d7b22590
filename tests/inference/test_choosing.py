"""Which images are scored, under which name, what of them is looked at, and folds as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions, unscored_note
from eosin.artefacts.reference import Trust
from eosin.artefacts.run import Scale, TrainedRun
from eosin.data.tiles import TileOptions
from eosin.errors import ConfigError, DataError, LeakageError
from eosin.inference.doubt import certain_and_doubtful, images_to_explain, rows_of
from eosin.inference.images import as_source, external_images, patients_of, select_split, unlabelled
from eosin.inference.out_of_fold import out_of_fold
from eosin.inference.scoring import PredictOptions
from eosin.inference.seen import require_unseen, seen_note, sibling_note
from eosin.inference.slides import SlideOptions, patient_of, tile_options
from eosin.inference.stress import UNCHANGED, Condition, conditions_of
from eosin.networks.run import Run, write_run
from eosin.protocol import Protocol
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
GRADES = Task("her2", ("0", "1+", "2+"), ordinal=True)
Make = Callable[..., TrainedRun]


@pytest.fixture
def run(tmp_path: Path, make_record: Make) -> Run:
    return write_run(tmp_path / "run", make_record())


def manifest_of(*rows: tuple[str, str, str], **changes: object) -> Manifest:
    """Rows of (patient, split, fold), by turns benign and malignant."""
    frame = pd.DataFrame(
        {
            "path": [f"/bh/{n}.png" for n in range(len(rows))],
            "label": [BINARY.classes[n % 2] for n in range(len(rows))],
            "patient": [patient for patient, _, _ in rows],
            "magnification": "100",
            "split": [split for _, split, _ in rows],
            "fold": [fold for _, _, fold in rows],
        }
    )
    return Manifest(frame, BINARY, "bci", **changes)  # type: ignore[arg-type]


DIVIDED = manifest_of(("a", "train", ""), ("b", "val", ""), ("c", "test", ""), ("d", "test", ""))


@pytest.mark.parametrize(
    ("asked", "split", "patients"),
    [(None, "test", ("c", "d")), ("test", "test", ("c", "d")), ("val", "val", ("b",))],
)
def test_the_test_split_is_meant_where_none_is_named(
    asked: str | None, split: str, patients: tuple[str, ...], run: Run
) -> None:
    rows, named, own = select_split(run, DIVIDED, asked)
    assert (named, rows.patients, own) == (split, patients, False)


def test_a_test_split_is_the_runs_own_by_the_fingerprint_of_its_manifest(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "own", make_record(fingerprint=DIVIDED.fingerprint))
    assert select_split(run, DIVIDED, None)[2]
    assert not select_split(run, DIVIDED, "val")[2]
    edited = replace(DIVIDED, frame=DIVIDED.frame.assign(patient=["a", "b", "c", "e"]))
    assert not select_split(run, edited, None)[2]


@pytest.mark.parametrize("known", [True, False])
def test_a_manifest_without_splits_is_scored_whole_as_external_images(
    known: bool, run: Run
) -> None:
    whole = manifest_of(
        *((name, "", "") for name in "abc"), protocol=Protocol(patients_known=known)
    )
    rows, named, own = select_split(run, whole, None)
    assert (len(rows), named, own) == (3, "all", False)
    assert rows.protocol == Protocol("external", patients_known=known)
    with pytest.raises(DataError, match="no image in split 'val'"):
        select_split(run, whole, "val")


def test_a_run_of_one_fold_scores_that_fold(tmp_path: Path, make_record: Make) -> None:
    run = write_run(tmp_path / "two", make_record(fold=2, val_patients=()))
    folds = manifest_of(*((f"{k}{n}", "", str(k)) for k in (1, 2, 3) for n in "xy"))
    rows, named, _ = select_split(run, folds, None)
    assert (named, rows.patients) == ("test", ("2x", "2y"))
    assert select_split(run, folds, "train")[0].patients == ("1x", "1y", "3x", "3y")


def test_other_classes_and_a_leak_under_an_honest_name_are_refused(run: Run) -> None:
    frame = DIVIDED.frame.assign(label="")
    with pytest.raises(DataError, match=r"classes \['0', '1\+', '2\+'\] are not those of .*run:"):
        select_split(run, replace(DIVIDED, task=GRADES, frame=frame), None)
    turned = Task("binary", ("malignant", "benign"), positive="malignant")
    with pytest.raises(DataError, match="are not those of"):
        select_split(run, replace(DIVIDED, task=turned), None)
    crossing = manifest_of(("a", "train", ""), ("a", "test", ""))
    with pytest.raises(LeakageError, match="a"):
        select_split(run, crossing, None)


def test_one_path_several_and_a_manifest_are_each_a_source() -> None:
    assert as_source(DIVIDED) is DIVIDED
    assert as_source("images/a.png") == [Path("images/a.png")]
    assert as_source(["a", Path("b")]) == [Path("a"), Path("b")]


def test_patients_of_bare_files_are_known_only_where_every_name_gives_one(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(dataset="folder", patient_pattern=r"^(\d+)_"))
    named = [Path("/x/12_1.png"), Path("/x/7_2.png")]
    assert patients_of(run, named) == ["12", "7"]
    assert patients_of(run, [Path("/x/slide.png")]) == [None]
    found = unlabelled(run, named)
    assert (found.frame["patient"].tolist(), found.protocol.patients_known) == (["12", "7"], True)
    mixed = unlabelled(run, [*named, Path("/x/slide.png")])
    assert mixed.frame["patient"].tolist() == ["12", "7", "/x/slide.png"]
    assert not mixed.protocol.patients_known
    assert set(mixed.frame["label"]) == {""}


def test_files_are_told_by_names_that_are_not_their_own_where_such_are_given(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(dataset="folder", patient_pattern=r"^(\d+)_"))
    stored = [Path("/upload/0"), Path("/upload/1")]
    found = unlabelled(run, stored, [Path("8863_x1001_y951_class0.png"), Path("9_b.png")]).frame
    assert found["path"].tolist() == [str(path) for path in stored]
    assert found["patient"].tolist() == ["8863", "9"]
    assert found[["x", "y"]].to_numpy().tolist() == [["1001", "951"], ["", ""]]


def test_files_and_folders_are_found_once_in_the_order_of_their_paths(
    run: Run, tmp_path: Path, drawn_breakhis: Manifest
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        (folder / name).write_bytes(drawn_breakhis.paths[0].read_bytes())
    (folder / "notes.txt").touch()
    found, _ = external_images(run, [folder, folder / "b.png"])
    assert [path.name for path in found.paths] == ["a.png", "b.png"]
    with pytest.raises(DataError, match="none: no such"):
        external_images(run, [tmp_path / "none"])


def test_the_guard_names_whom_the_run_has_met_and_how_many_images_they_have(run: Run) -> None:
    rows = manifest_of(*((name, "", "") for name in ("x", "14-4659", "14-9461", "14-4659")))
    bci = replace(run, record=with_changes(run.record, dataset="bci"))
    with pytest.raises(LeakageError, match=r"2 of these patients \(3 images\): 14-4659, 14-9461\."):
        require_unseen(bci, rows, own_test_split=False)
    (note,) = seen_note(bci, rows)
    assert "on 2 of these 3 patients (3 of 4 images)" in note
    fresh = rows.where(rows.frame["patient"] == "x")
    require_unseen(bci, fresh, own_test_split=False)
    assert seen_note(bci, fresh) == ()
    assert sibling_note(bci, rows) == ()


def test_only_its_own_test_split_lets_a_leaky_run_pass_the_guard(run: Run) -> None:
    leaky = Protocol("image", "5-fold", leaky=True)
    seen = manifest_of(("14-4659", "", ""))
    for protocol, own, passes in ((leaky, True, True), (leaky, False, False)):
        other = replace(run, record=with_changes(run.record, protocol=protocol))
        if passes:
            require_unseen(other, seen, own_test_split=own)
        else:
            with pytest.raises(LeakageError, match="14-4659"):
                require_unseen(other, seen, own_test_split=own)
    with pytest.raises(LeakageError, match="14-4659"):
        require_unseen(run, seen, own_test_split=True)  # an honest one has met nobody there


def test_a_run_of_pseudo_patients_cannot_tell_whom_it_has_met(run: Run) -> None:
    pseudo = Protocol("patient", "5-fold", pseudo=True)
    other = replace(run, record=with_changes(run.record, protocol=pseudo))
    (note,) = sibling_note(other, DIVIDED)
    assert "whether it has met these patients cannot be told" in note
    assert sibling_note(other, replace(DIVIDED, protocol=pseudo)) == ()


def table(chances: list[float], **provenance: object) -> Predictions:
    rows = pd.DataFrame({"path": [f"/bh/{n}.png" for n in range(len(chances))]})
    blank = dict.fromkeys(("patient", "magnification", "label", "fold"), "")
    p = np.array(chances)
    origin = Provenance(threshold=0.5, **provenance)  # type: ignore[arg-type]
    return make_predictions(
        rows.assign(**blank),
        np.stack([1 - p, p], axis=1),
        task=BINARY,
        threshold=0.5,
        provenance=origin,
    )


def test_the_surest_of_each_class_and_the_closest_two_are_found_in_that_order() -> None:
    found = certain_and_doubtful(table([0.9, 0.2, 0.55, 0.99, 0.05, 0.48]), each=2)
    assert found == {
        "Most certain: benign": [4, 1],
        "Most certain: malignant": [3, 0],
        "Most doubtful": [5, 2],
    }
    one_class = certain_and_doubtful(table([0.9, 0.8]), each=5)
    assert one_class == {"Most certain: malignant": [0, 1], "Most doubtful": [1, 0]}


def test_of_images_that_are_equally_certain_the_first_in_the_table_come_first() -> None:
    found = certain_and_doubtful(table([1.0, 0.0] * 200), each=3)
    assert found == {
        "Most certain: benign": [1, 3, 5],
        "Most certain: malignant": [0, 2, 4],
        "Most doubtful": [0, 1, 2],
    }


def test_doubt_is_the_gap_between_the_two_most_probable_of_many_classes() -> None:
    rows = table([0.5] * 3).frame
    chances = np.array([[0.1, 0.6, 0.3], [0.45, 0.15, 0.4], [0.02, 0.49, 0.49]])
    three = make_predictions(rows, chances, task=GRADES)
    assert certain_and_doubtful(three)["Most doubtful"] == [2, 1, 0]


def test_images_to_explain_are_taken_by_turns_once_each_and_of_no_split() -> None:
    known = table([0.9, 0.2, 0.55, 0.99, 0.05, 0.48], dataset="breakhis")
    chosen = images_to_explain(known, most=3)  # the surest of each class and the most doubtful
    assert [path.name for path in chosen.paths] == ["3.png", "4.png", "5.png"]
    assert (chosen.dataset, set(chosen.frame["split"])) == ("breakhis", {""})
    assert len(images_to_explain(known, most=100)) == 6
    assert rows_of(known, {"/bh/1.png"}).frame["path"].tolist() == ["/bh/1.png"]
    with pytest.raises(DataError, match="at least one image"):
        rows_of(known, set())


TRUST = Trust(
    unfamiliar_below=0.05,
    familiar_patients=9,
    coverage=0.9,
    sets="lac",
    by_class=False,
    calibration_patients=12,
    patients_needed=9,
)


def test_folds_become_one_table_in_the_order_of_the_manifest(run: Run, tmp_path: Path) -> None:
    whole = manifest_of(
        *((f"p{n}", "", str(n % 2 + 1)) for n in range(5)),
        protocol=Protocol("patient", "2-fold"),
        notes=("A patient is an accession number.",),
    )
    known = table([0.1, 0.2, 0.3, 0.4, 0.5])
    parts = [
        known.where(np.array([0, 1, 0, 1, 0], bool)),
        known.where(np.array([1, 0, 1, 0, 0], bool)),
    ]
    found = out_of_fold(tmp_path / "folds", whole, [run, run], parts)
    assert found.frame["path"].tolist() == [f"/bh/{n}.png" for n in range(4)]
    np.testing.assert_allclose(found.probabilities[:, 1], [0.1, 0.2, 0.3, 0.4])
    origin = found.provenance
    assert (origin.runs, origin.split) == ((str(tmp_path / "folds"),), "out-of-fold")
    assert (origin.protocol, origin.model) == (whole.protocol, "test_efficientnet")
    assert origin.threshold is None  # each fold has its own
    assert origin.notes == (
        "A patient is an accession number.",
        "1 image could not be read and is not scored.",
    )
    assert (found.trust, found.attention) == (None, None)


def test_of_folds_the_fewest_patients_are_told_and_tiles_stand_one_after_the_other(
    run: Run, tmp_path: Path
) -> None:
    whole = manifest_of(*((f"p{n}", "", "1") for n in range(2)))
    known = table([0.1, 0.9])
    tiles = [pd.DataFrame({"path": [name], "attention": [1.0]}) for name in ("t1", "t2")]
    few = with_changes(TRUST, familiar_patients=None, calibration_patients=4)
    parts = [
        replace(known.where(np.array([n == k for n in range(2)])), trust=trust, attention=tiles[k])
        for k, trust in enumerate((TRUST, few))
    ]
    found = out_of_fold(tmp_path, whole, [run, run], parts)
    assert found.trust == few
    assert found.attention is not None
    assert found.attention["path"].tolist() == ["t1", "t2"]
    assert found.attention.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (0, ()),
        (1, ("1 image could not be read and is not scored.",)),
        (12, ("12 images could not be read and are not scored.",)),
    ],
)
def test_images_that_are_not_scored_are_counted_in_one_sentence(
    images: int, note: tuple[str, ...]
) -> None:
    assert unscored_note(images) == note


def test_conditions_have_tables_of_their_own_names_in_the_order_of_severity() -> None:
    found = conditions_of(("blur", "stains of other patients"))
    assert found[0] is UNCHANGED
    assert [each.name for each in found[:3]] == ["unchanged", "blur-1", "blur-2"]
    assert found[-1].name == "stains-of-other-patients-5"
    assert len({each.name for each in conditions_of()}) == len(conditions_of())
    assert Condition("blur", 0).name == "unchanged"


def test_an_option_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"PredictOptions: unknown option 'batch'.*'batch_size'"):
        PredictOptions(batch=4)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("scale", "given", "wanted"),
    [
        (Scale(size=50, mpp=0.5), {}, TileOptions(0.5, 50, 0, 0.25, None)),
        (Scale(size=50, mpp=0.5), {"mpp": 1.0, "size": 96}, TileOptions(1.0, 96, 0, 0.25, None)),
        (Scale(size=50, mpp=None), {"mpp": 2.0}, TileOptions(2.0, 50, 0, 0.25, None)),
        (None, {"mpp": 2.0, "overlap": 8}, TileOptions(2.0, 64, 8, 0.25, None)),
        (None, {"mpp": 2.0, "slide_mpp": 0.25, "least": 0.5}, TileOptions(2.0, 64, 0, 0.5, 0.25)),
    ],
)
def test_tiles_are_read_as_the_run_was_trained_unless_something_else_is_said(
    scale: Scale | None,
    given: dict[str, float],
    wanted: TileOptions,
    tmp_path: Path,
    make_record: Make,
) -> None:
    run = write_run(tmp_path / "run", make_record(scale=scale))
    assert tile_options(run, SlideOptions(**given)) == wanted  # type: ignore[arg-type]


def test_a_slide_that_was_a_patient_in_training_is_known_again(
    tmp_path: Path, make_record: Make
) -> None:
    seen = {"train_patients": ("S1", "S2.svs"), "val_patients": ("7",), "dataset": "slides"}
    run = write_run(tmp_path / "run", make_record(**seen))
    names = ("S1.svs", "S2.svs", "S2.tiff", "S3.svs")
    found = [patient_of(run, Path("/lab") / name) for name in names]
    assert found == ["S1", "S2.svs", None, None]
    named = write_run(tmp_path / "named", make_record(**seen, patient_pattern=r"-(\d+)-"))
    assert patient_of(named, Path("/lab/T-7-B.svs")) == "7"
    assert patient_of(named, Path("/lab/S1.svs")) == "S1"
