"""Scoring stands behind a guard: patients that a Run has seen are refused, or said so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.splits import split_by_fractions
from eosin.errors import DataError, LeakageError, ModelError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.run import Run, read_run
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def run(
    divided: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(divided, tmp_path_factory.mktemp("runs") / "probe", small_probe).run


def test_the_test_split_is_scored_by_default(run: Run, divided: Manifest) -> None:
    scored = predict(run, divided)
    assert set(scored.predictions.frame["path"]) == set(divided.in_split("test").frame["path"])
    assert scored.predictions.provenance.split == "test"
    np.testing.assert_allclose(scored.predictions.probabilities.sum(axis=1), 1.0)


@pytest.mark.parametrize("split", ["train", "val"])
def test_patients_that_the_run_has_seen_are_refused_by_name(
    run: Run, divided: Manifest, split: str
) -> None:
    seen = divided.in_split(split).patients[0]
    with pytest.raises(LeakageError, match=f"{seen}.*--allow-seen"):
        predict(run, divided, PredictOptions(split=split))


def test_a_leaky_table_moved_over_an_honest_one_is_not_scored_under_its_name(
    divided: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    leaky = split_by_fractions(divided, (0.5, 0.25, 0.25), by="image", seed=0)
    run = train(leaky, tmp_path / "run", small_probe).run
    leaky.write(tmp_path / "leaky.csv")
    divided.write(tmp_path / "honest.csv")
    (tmp_path / "leaky.csv").replace(tmp_path / "honest.csv")
    moved = read_manifest(tmp_path / "honest.csv")
    assert moved.fingerprint == run.record.fingerprint
    with pytest.raises(LeakageError, match=r"stand in more than one split .* 'patient-level"):
        predict(run, moved)


def test_seen_patients_scored_on_request_are_written_on_the_result(
    run: Run, divided: Manifest
) -> None:
    scored = predict(run, divided, PredictOptions(split="train", allow_seen=True))
    provenance = scored.predictions.provenance
    rows = divided.in_split("train")
    met = f"on {len(rows.patients)} of these {len(rows.patients)} patients ({len(rows)} of"
    assert provenance.seen_allowed
    assert met in provenance.notes[0]
    assert provenance.notes[0] in evaluate_predictions(scored.predictions, resamples=100).notes


@pytest.fixture(scope="module")
def blocks(drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two blocks of every accession number."""
    folder = tmp_path_factory.mktemp("blocks")
    for number, path in enumerate(drawn_breakhis.paths):
        name = re.sub(r"(14-\d+)[A-Z]*", rf"\1{('AB', 'CD')[number % 2]}", path.name)
        (folder / name).write_bytes(path.read_bytes())
    return folder


def test_slides_whose_accession_number_is_seen_are_counted_where_slides_are_patients(
    blocks: Path, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    notes = {}
    for patient in ("slide", "accession"):
        manifest = read_breakhis(blocks, patient=patient).manifest
        divided = split_by_fractions(manifest, (0.5, 0.25, 0.25), seed=0)
        run = train(divided, tmp_path / patient, small_probe).run
        notes[patient] = predict(run, divided).predictions.provenance.notes
        if patient == "slide":
            test = divided.in_split("test")
            known = {slide[:-2] for slide in run.record.seen_patients}
            met = [slide for slide in test.patients if slide[:-2] in known]
            images = int(test.frame["patient"].isin(met).sum())
            bare = predict(run, test.paths).predictions.provenance.notes
    assert met
    assert (
        f"other slides of {len(met)} of these {len(test.patients)} patients "
        f"({images} of {len(test)} images)"
    ) in notes["slide"][0]
    assert f"({images} of {len(test)} images)" in bare[0]
    assert not any("other slides" in note for note in notes["accession"])


@pytest.mark.parametrize(("trained", "scored"), [("accession", "slide"), ("slide", "accession")])
def test_a_person_is_known_again_where_the_other_side_counts_slides(
    blocks: Path, small_probe: TrainingConfig, tmp_path: Path, trained: str, scored: str
) -> None:
    divided = split_by_fractions(
        read_breakhis(blocks, patient=trained).manifest, (0.5, 0.25, 0.25), seed=0
    )
    run = train(divided, tmp_path / "run", small_probe).run
    others = read_breakhis(blocks, patient=scored).manifest
    numbers = {patient.rstrip("ABCD") for patient in run.record.seen_patients}
    rows = np.array([patient.rstrip("ABCD") in numbers for patient in others.frame["patient"]])
    with pytest.raises(LeakageError, match=rf"of these patients \({rows.sum()} images\)"):
        predict(run, others)
    if trained == "accession":
        assert len(predict(run, others.where(~rows)).predictions.frame) == (~rows).sum()


def test_a_permission_that_was_not_needed_leaves_no_note(run: Run, divided: Manifest) -> None:
    with_it = predict(run, divided, PredictOptions(allow_seen=True)).predictions.provenance
    assert with_it.notes == predict(run, divided).predictions.provenance.notes


def test_bare_files_of_a_seen_patient_are_recognised_by_their_names(
    run: Run, divided: Manifest
) -> None:
    with pytest.raises(LeakageError):
        predict(run, divided.in_split("train").paths[:1])


@pytest.fixture(scope="module")
def class_folders(divided: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of all splits as ``<class>/<patient>_<number>.png``."""
    top = tmp_path_factory.mktemp("folders") / "tiles"
    for number, (path, label, patient) in enumerate(
        divided.frame[["path", "label", "patient"]].itertuples(index=False, name=None)
    ):
        (top / label).mkdir(parents=True, exist_ok=True)
        (top / label / f"{patient}_{number}.png").write_bytes(Path(path).read_bytes())
    return top


def test_bare_files_of_a_seen_patient_are_recognised_by_the_pattern_of_the_manifest(
    class_folders: Path, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    manifest = read_folder(class_folders, patient=r"^([\d-]+)_").manifest
    split_by_fractions(manifest, (0.5, 0.25, 0.25), seed=0).write(tmp_path / "s.csv")
    divided = read_manifest(tmp_path / "s.csv")
    run = read_run(train(divided, tmp_path / "run", small_probe).run.folder)
    with pytest.raises(LeakageError, match=divided.in_split("train").patients[0]):
        predict(run, [class_folders])
    scored = predict(run, divided.in_split("test").paths).predictions
    assert scored.provenance.protocol.name == "external images"
    assert set(scored.frame["patient"]) == set(divided.in_split("test").patients)


def test_without_known_patients_the_very_images_of_the_training_are_recognised(
    class_folders: Path, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(read_folder(class_folders).manifest, (0.5, 0.25, 0.25), seed=0)
    run = train(divided, tmp_path / "run", small_probe).run
    seen = divided.in_split("val").paths[0]
    with pytest.raises(LeakageError, match=f"1 of these patients .*{seen.name}"):
        predict(run, [seen, *divided.in_split("test").paths])
    scored = predict(run, divided.in_split("test").paths).predictions
    assert "patients unknown" in scored.provenance.protocol.name


@pytest.mark.parametrize("pattern", [r"^([\d-]+)_", None])
def test_converted_images_of_the_training_are_recognised(
    class_folders: Path, small_probe: TrainingConfig, tmp_path: Path, pattern: str | None
) -> None:
    manifest = read_folder(class_folders, patient=pattern).manifest
    divided = split_by_fractions(manifest, (0.5, 0.25, 0.25), seed=0)
    run = train(divided, tmp_path / "run", small_probe).run
    seen = divided.in_split("train").paths[0]
    for parent in (seen.parent.name, "other"):
        converted = tmp_path / parent / f"{seen.stem}.JPEG"
        converted.parent.mkdir()
        converted.write_bytes(seen.read_bytes())
    with pytest.raises(LeakageError, match="1 of these patients"):
        predict(run, [tmp_path / seen.parent.name])
    if pattern is None:  # the same name in another class is another image
        assert len(predict(run, [tmp_path / "other"]).predictions) == 1


def test_a_folder_that_is_scored_holds_what_the_reader_counts_there(
    run: Run, class_folders: Path, tmp_path: Path
) -> None:
    top = tmp_path / "tiles"
    (top / ".old").mkdir(parents=True)
    for folder in class_folders.iterdir():
        (top / folder.name).symlink_to(folder)
    images = sorted(class_folders.rglob("*.png"))
    (top / ".old" / "x.png").write_bytes(images[0].read_bytes())
    (top / "z again.png").symlink_to(images[0])
    os.mkfifo(top / "pipe.png")
    read, scored = read_folder(top), predict(run, [top])
    assert len(scored.predictions) == len(read.manifest) == len(images)
    assert scored.skipped == read.skipped
    assert [item.path.name for item in scored.skipped] == ["pipe.png", "z again.png"]
    assert "Left out beside the images: 2; the error table names each with its reason." in (
        scored.predictions.provenance.notes
    )


def test_bare_files_of_new_patients_are_external_and_have_no_label(
    run: Run, divided: Manifest
) -> None:
    scored = predict(run, divided.in_split("test").paths)
    assert scored.predictions.provenance.protocol.name == "external images"
    assert set(scored.predictions.frame["label"]) == {""}
    with pytest.raises(DataError, match="has no label"):
        _ = scored.predictions.label_index


def test_a_folder_is_walked_and_a_file_of_unknown_name_makes_patients_unknown(
    run: Run, divided: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "slide 7.png").write_bytes(divided.paths[0].read_bytes())
    scored = predict(run, [tmp_path])
    assert len(scored.predictions) == 1
    assert "patients unknown" in scored.predictions.provenance.protocol.name


def test_batches_and_single_images_give_the_same_probabilities(run: Run, divided: Manifest) -> None:
    one = predict(run, divided, PredictOptions(batch_size=1)).predictions.probabilities
    many = predict(run, divided, PredictOptions(batch_size=7)).predictions.probabilities
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_unreadable_files_are_set_aside_with_their_reason(
    run: Run, divided: Manifest, tmp_path: Path
) -> None:
    good = divided.in_split("test").paths[0]
    empty = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    empty.touch()
    scored = predict(run, [good, empty])
    assert len(scored.predictions) == 1
    assert [item.path for item in scored.skipped] == [empty]
    assert "empty" in scored.skipped[0].reason
    assert "1 image could not be read and is not scored." in scored.predictions.provenance.notes


def test_nothing_readable_is_an_error_with_the_first_reason(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "note.png"
    text.write_text("no image")
    with pytest.raises(DataError, match="none of the 1 images could be read"):
        predict(run, [text])


def test_an_empty_folder_and_a_missing_file_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image found"):
        predict(run, [tmp_path])
    with pytest.raises(DataError, match=r"nowhere\.png: no such image"):
        predict(run, [tmp_path / "nowhere.png"])


def test_changed_weights_are_refused(
    divided: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    run = train(divided, tmp_path / "run", small_probe).run
    with run.weights_path.open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    with pytest.raises(ModelError, match="changed since"):
        predict(read_run(tmp_path / "run"), divided)


def test_a_folder_that_is_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="eosin train"):
        read_run(tmp_path)
    with pytest.raises(ModelError, match="no such Run folder"):
        read_run(tmp_path / "nothing")
