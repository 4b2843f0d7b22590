"""Explanations come one by one, name their class, and say whom the network has met."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.run import TrainedRun
from eosin.data.splits import split_into_folds
from eosin.errors import ConfigError, DataError
from eosin.explanation.examples import explain_examples
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation
from eosin.explanation.mapping import open_to_explain
from eosin.explanation.perturbation import PerturbationOptions
from eosin.inference.predict import predict
from eosin.networks.classifier import build_classifier, save_classifier
from eosin.networks.run import PREDICTIONS_NAME, WEIGHTS_NAME, Run, weights_digest, write_run
from eosin.pixels.batches import read_batches
from eosin.pixels.reading import SkippedFile, image_in_turn, read_image
from eosin.pixels.stain import create_normalizer
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def run(trained: Run) -> Run:
    return trained


@pytest.fixture(scope="module")
def folds(drawn_breakhis: Manifest) -> Manifest:
    return split_into_folds(drawn_breakhis, 2, seed=0)


@pytest.fixture(scope="module")
def run_of_folds(
    folds: Manifest, probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(folds, tmp_path_factory.mktemp("runs") / "bh", probe, fold="all").run


def explanations(stream: Iterator[Explanation | SkippedFile]) -> list[Explanation]:
    return [item for item in stream if isinstance(item, Explanation)]


def test_a_map_stands_on_the_images_own_grid_and_the_probability_is_the_calibrated_one(
    run: Run, divided: Manifest
) -> None:
    sharper = replace(run, record=with_changes(run.record, temperature=0.5))
    scored = predict(sharper, divided).predictions
    found = explanations(explain([sharper], divided, ExplainOptions(batch_size=5)))
    assert [str(item.path) for item in found] == scored.frame["path"].tolist()
    for item, row in zip(found, scored.probabilities, strict=True):
        (heatmap,) = item.members
        assert heatmap.values.shape == item.image.shape[:2] == (64, 64)
        assert heatmap.values.max() in (pytest.approx(1.0), 0.0)
        assert list(heatmap.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert item.target == heatmap.target == heatmap.predicted


def test_the_true_class_a_named_one_and_the_predicted_one_can_be_asked_for(
    run: Run, divided: Manifest
) -> None:
    true = explanations(explain([run], divided, ExplainOptions(target="true")))
    assert [item.target for item in true] == divided.in_split("test").frame["label"].tolist()
    named = explanations(explain([run], divided, ExplainOptions(target="benign")))
    assert {item.target for item in named} == {"benign"}


def test_a_class_that_does_not_exist_is_refused_before_anything_is_read(
    run: Run, divided: Manifest
) -> None:
    with pytest.raises(ConfigError, match=r"'malign' is not a class.*'benign', 'malignant'"):
        explain([run], divided, ExplainOptions(target="malign"))
    with pytest.raises(ConfigError, match="needs labels"):
        explain([run], divided.paths[:1], ExplainOptions(target="true"))


@pytest.fixture
def new_patient(folds: Manifest, tmp_path: Path) -> Path:
    """An image of a patient that no Run has met."""
    path = tmp_path / "SOB_M_DC-14-99999-100-001.png"
    path.write_bytes(folds.paths[0].read_bytes())
    return path


def test_a_run_of_folds_answers_for_a_new_patient_with_all_its_members_merged(
    run_of_folds: Run, new_patient: Path
) -> None:
    (item,) = explanations(explain([run_of_folds], [new_patient]))
    assert [heatmap.model for heatmap in item.members] == ["bh/fold-1", "bh/fold-2"]
    assert item.merged is not None
    assert item.disagreement is not None
    whole = predict(run_of_folds, [new_patient]).predictions
    assert list(item.merged.probabilities.values()) == pytest.approx(
        whole.probabilities[0].tolist(), abs=1e-5
    )


def test_an_image_of_a_fold_is_explained_by_the_network_that_held_it_out(
    run_of_folds: Run, folds: Manifest
) -> None:
    scored = read_predictions(run_of_folds.folder / PREDICTIONS_NAME)
    said = dict(zip(scored.frame["path"], scored.probabilities.tolist(), strict=True))
    found = explanations(explain([run_of_folds], folds))
    assert len(found) == len(folds)
    for item, fold in zip(found, folds.frame["fold"], strict=True):
        (heatmap,) = item.members
        assert (heatmap.model, item.merged, item.seen) == (f"bh/fold-{fold}", None, False)
        assert list(heatmap.probabilities.values()) == pytest.approx(said[str(item.path)], abs=1e-5)


def test_folds_of_images_too_are_explained_by_the_network_that_held_each_image_out(
    drawn_breakhis: Manifest, probe: TrainingConfig, tmp_path: Path
) -> None:
    leaky = split_into_folds(drawn_breakhis, 2, by="image", seed=0)
    run = train(leaky, tmp_path / "leaky", probe, fold="all").run
    found = explanations(explain([run], leaky, ExplainOptions(limit=6)))
    fold_of = dict(zip(leaky.frame["path"], leaky.frame["fold"], strict=True))
    assert len(found) == 6
    for item in found:
        assert [heatmap.model for heatmap in item.members] == [
            f"leaky/fold-{fold_of[str(item.path)]}"
        ]


def test_the_reports_examples_are_explained_with_the_probabilities_it_prints(
    run_of_folds: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = read_predictions(run_of_folds.folder / PREDICTIONS_NAME)
    opened: list[object] = []

    def kept(*given: object, **options: object) -> object:
        opened.append(given)
        return open_to_explain(*given, **options)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr("eosin.explanation.examples.open_to_explain", kept)
    wanted = [
        (Path(path), name) for path in scored.frame["path"][:4] for name in scored.task.classes
    ]
    found = explain_examples(run_of_folds, scored, wanted)
    assert len(opened) == 1
    assert set(found) == set(wanted)
    for row, path in enumerate(scored.frame["path"][:4]):
        (heatmap,) = found[Path(path), "benign"].members
        assert list(heatmap.probabilities.values()) == pytest.approx(
            scored.probabilities[row].tolist(), abs=1e-5
        )


def test_a_limit_takes_images_evenly_and_mistakes_come_most_confident_first(
    run: Run, divided: Manifest
) -> None:
    scored = predict(run, divided).predictions
    paths = scored.frame["path"].tolist()
    few = explanations(explain([run], divided, ExplainOptions(limit=2)))
    assert [str(item.path) for item in few] == [paths[0], paths[-1]]
    wrong = scored.label_index != scored.predicted_index
    frame = scored.frame.assign(confidence=scored.probabilities.max(axis=1))[wrong]
    expected = frame.sort_values("confidence", ascending=False)["path"].tolist()
    assert len(expected) > 1
    found = explanations(explain([run], divided, ExplainOptions(mistakes=True)))
    assert [str(item.path) for item in found] == expected
    first = explanations(explain([run], divided, ExplainOptions(mistakes=True, limit=1)))
    assert [str(item.path) for item in first] == expected[:1]
    with pytest.raises(ConfigError, match="needs labels"):
        explain([run], divided.paths[:1], ExplainOptions(mistakes=True))


def test_runs_side_by_side_explain_one_class_and_merge_when_asked(
    run: Run, run_of_folds: Run, divided: Manifest
) -> None:
    fold = run_of_folds.open_members()[0]
    (apart,) = explanations(explain([run, fold], divided.paths[:1]))
    assert apart.merged is None
    assert len({heatmap.target for heatmap in apart.members}) == 1
    (merged,) = explanations(explain([run, fold], divided.paths[:1], ExplainOptions(merge=True)))
    assert merged.merged is not None


def test_training_images_are_explained_and_said_to_be_such(
    run: Run, run_of_folds: Run, divided: Manifest, folds: Manifest
) -> None:
    trained = explanations(explain([run], divided, ExplainOptions(split="train")))
    tested = explanations(explain([run], divided, ExplainOptions(split="test")))
    assert {item.seen for item in trained} == {True}
    assert {item.seen for item in tested} == {False}
    (item,) = explanations(explain([run_of_folds.open_members()[0]], folds.paths[:1]))
    assert item.seen == (folds.frame["fold"].iloc[0] != "1")


def test_files_of_unknown_name_have_unknown_patients(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "slide 7.png")
    (item,) = explanations(explain([run], [tmp_path]))
    assert item.seen is None


def test_a_pipe_is_named_before_the_images_and_a_name_that_is_not_utf8_is_explained(
    run: Run, tmp_path: Path
) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    Image.new("RGB", (64, 64), "pink").save(strange)
    os.mkfifo(tmp_path / "pipe.png")
    pipe, item = explain([run], [tmp_path])
    assert pipe == SkippedFile(tmp_path / "pipe.png", "is a pipe, not a file; remove it")
    assert isinstance(item, Explanation)
    assert (item.path, item.seen) == (strange, None)


def test_corrupt_and_tiny_images_are_named_and_the_others_explained(
    run: Run, divided: Manifest, tmp_path: Path
) -> None:
    good = divided.in_split("test").paths[0]
    (tmp_path / "a.png").write_bytes(good.read_bytes()[:300])
    Image.new("RGB", (20, 64), "pink").save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(good.read_bytes())
    first, second, third = explain([run], [tmp_path])
    assert isinstance(first, SkippedFile)
    assert isinstance(second, SkippedFile)
    assert second.reason == "is 20 x 64, smaller than the network's stride of 32 pixels"
    assert isinstance(third, Explanation)


def test_explanations_are_handed_over_and_forgotten(
    run: Run, divided: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images there are, no more than two batches of them are alive."""
    alive: list[weakref.ref[np.ndarray]] = []

    @contextmanager
    def read(path: Path) -> Iterator[np.ndarray]:
        with image_in_turn(path) as image:
            alive.append(weakref.ref(image))
            yield image

    monkeypatch.setattr("eosin.explanation.loading.image_in_turn", read)
    paths = divided.paths[:16]
    stream = explain([run], paths, ExplainOptions(batch_size=2, workers=1))
    most = 0
    for _ in stream:
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) == len(paths)
    assert most <= 5  # a batch in use, one read ahead, and the one in our hands


def test_runs_of_different_classes_are_refused(run: Run, divided: Manifest) -> None:
    task = replace(run.record.task, classes=("benign", "malign"), positive="malign")
    other = replace(run, record=with_changes(run.record, task=task))
    with pytest.raises(DataError, match="one at a time"):
        explain([run, other], divided)


def test_asked_to_score_every_map_comes_with_a_verdict(run: Run, divided: Manifest) -> None:
    from eosin.explanation.heatmap_checks import ScoreOptions

    options = ExplainOptions(score=ScoreOptions(randomisations=0, stability=False))
    (item,) = explanations(explain([run], divided.in_split("test").paths[:1], options))
    (score,) = item.scores
    assert score.path == item.path
    assert score.target == item.target
    assert score.verdict.startswith("faithful" if score.faithful else "not faithful")


def test_a_map_is_judged_on_the_image_in_its_patients_stain_as_it_was_made(
    divided: Manifest, make_record: Callable[..., TrainedRun], tmp_path: Path
) -> None:
    from eosin.explanation.heatmap_checks import MapToScore, ScoreOptions, score_maps

    for number, path in enumerate(divided.paths):  # every other image came off another scanner
        image = read_image(path)
        other = np.rint(255 * (image / 255) ** (2.0, 1.2, 0.7)).astype(np.uint8)
        Image.fromarray(other if number % 2 else image).save(tmp_path / path.name)
    paths = [str(tmp_path / path.name) for path in divided.paths]
    images = replace(divided, frame=divided.frame.assign(path=paths)).in_split("test")
    step = create_normalizer("macenko").fit([read_image(images.paths[0])]).step("patient")
    spec = Preprocessing(64, stain=step)
    classifier = build_classifier("test_efficientnet", classes=2)
    batch = next(read_batches(images.paths, spec))
    with torch.no_grad():
        for _ in range(25):  # normalised by these images, so that they differ for the network
            classifier.train()(torch.from_numpy(batch.pixels))
    save_classifier(classifier, tmp_path / WEIGHTS_NAME)
    digest = weights_digest(tmp_path)
    record = make_record(preprocessing=spec, temperature=0.1, weights_sha256=digest)
    run = write_run(tmp_path, record)

    checks = ScoreOptions(PerturbationOptions(steps=2), randomisations=0, stability=False)
    found = explanations(explain([run], images, ExplainOptions(score=checks)))
    said = [item.members[0].probability for item in found]
    assert [item.scores[0].probability for item in found] == pytest.approx(said, abs=1e-5)
    by_itself = [
        MapToScore(item.path, item.image, item.members[0].raw, record.task.index(item.target))
        for item in found
    ]
    rows = score_maps(*run.networks(device="cpu"), by_itself, checks)
    away = [abs(row.probability - chance) for row, chance in zip(rows, said, strict=True)]
    assert max(away) > 0.01  # in the stain of the image alone it is another image
