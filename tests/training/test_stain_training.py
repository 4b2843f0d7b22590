"""A training's stain step is fitted on its training patients and lives on in its Run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.errors import ConfigError, DataError, LeakageError
from eosin.inference.predict import predict
from eosin.networks.run import read_run
from eosin.pixels.reading import read_image
from eosin.pixels.stain import create_normalizer
from eosin.training.config import TrainingConfig
from eosin.training.frozen import freeze_images
from eosin.training.stain_fitting import fit_stain_step
from eosin.training.train import train

SHARES = (0.5, 0.25, 0.25)


@pytest.fixture
def stained(small_probe: TrainingConfig) -> TrainingConfig:
    return small_probe.with_overrides({"stain": "macenko"})


def recoloured(manifest: Manifest, rows: np.ndarray, folder: Path) -> Manifest:
    """The same rows, those chosen with images of another colour in another folder."""
    folder.mkdir()
    paths = []
    for path, chosen in zip(manifest.paths, rows, strict=True):
        image = read_image(path)
        other = np.rint(255 * (image / 255) ** (2.0, 1.2, 0.7)).astype(np.uint8)
        copy = folder / path.name
        bgr = cv2.cvtColor(other if chosen else image, cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(copy), bgr)
        paths.append(str(copy))
    return replace(manifest, frame=manifest.frame.assign(path=paths))


def test_the_target_is_the_median_of_the_training_images_stains(
    drawn_breakhis: Manifest, stained: TrainingConfig
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    step = fit_stain_step(divided, stained)
    images = [read_image(path) for path in divided.in_split("train").paths]
    assert step is not None
    assert step == create_normalizer("macenko").fit(images).step("image")
    assert fit_stain_step(divided, stained.with_overrides({"stain": "none"})) is None


@pytest.mark.parametrize("per", ["image", "patient"])
def test_a_run_predicts_with_the_very_step_it_was_trained_with(
    per: str, drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    config = stained.with_overrides({"stain_per": per})
    trained = train(divided, tmp_path / "run", config).run
    run = read_run(tmp_path / "run")
    assert run.record == trained.record
    assert run.record.preprocessing.stain == fit_stain_step(divided, config)
    frozen = freeze_images(divided, config)
    assert frozen.computed == 0
    scored = predict(run, divided).predictions
    test = (frozen.manifest.frame["split"] == "test").to_numpy()
    from eosin.evaluation.calibration import apply_temperature
    from eosin.training.heads import read_head

    logits = read_head(run).logits(frozen.features[test])
    expected = apply_temperature(logits, run.record.temperature)
    np.testing.assert_allclose(scored.probabilities, expected, atol=1e-5)
    assert scored.frame["stain_note"].eq("").all()
    scored.write(tmp_path / "p.csv")
    assert read_predictions(tmp_path / "p.csv").frame["stain_note"].eq("").all()


def test_images_that_do_not_train_have_no_part_in_the_target(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    split = divided.frame["split"].to_numpy()
    first = train(divided, tmp_path / "a", stained).run.record.preprocessing
    other = recoloured(divided, split != "train", tmp_path / "others")
    assert train(other, tmp_path / "b", stained).run.record.preprocessing == first
    changed = recoloured(divided, split == "train", tmp_path / "training")
    assert train(changed, tmp_path / "c", stained).run.record.preprocessing != first


@pytest.mark.parametrize("per", ["image", "patient"])
def test_each_fold_has_a_target_of_its_own_that_its_test_images_do_not_move(
    per: str, drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    config = stained.with_overrides({"stain_per": per})
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    other = recoloured(folds, (folds.frame["fold"] == "1").to_numpy(), tmp_path / "others")
    train(folds, tmp_path / "a", config, fold="all")
    train(other, tmp_path / "b", config, fold="all")
    runs = {
        (name, fold): read_run(tmp_path / name / f"fold-{fold}").record
        for name in "ab"
        for fold in (1, 2, 3)
    }
    assert runs["a", 1].preprocessing == runs["b", 1].preprocessing
    assert runs["a", 1].weights_sha256 == runs["b", 1].weights_sha256
    assert runs["a", 2].preprocessing != runs["b", 2].preprocessing
    assert len({runs["a", fold].preprocessing for fold in (1, 2, 3)}) == 3


def test_out_of_fold_predictions_are_what_each_folds_run_predicts(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    config = stained.with_overrides({"stain_per": "patient"})
    ours = train(folds, tmp_path / "run", config, fold="all").predictions
    assert ours is not None
    scored = predict(read_run(tmp_path / "run" / "fold-2"), folds).predictions
    rows = ours.frame.set_index("path").loc[scored.frame["path"]]
    np.testing.assert_allclose(
        rows[["p_benign", "p_malignant"]].to_numpy(), scored.probabilities, atol=1e-5
    )
    assert rows["stain_note"].eq("").all()


def test_a_patient_on_both_sides_of_a_leaky_split_has_a_stain_on_each(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    leaky = split_by_fractions(drawn_breakhis, SHARES, by="image", seed=0)
    config = stained.with_overrides({"stain_per": "patient"})
    other = recoloured(leaky, (leaky.frame["split"] == "test").to_numpy(), tmp_path / "others")
    first = train(leaky, tmp_path / "a", config).run.record
    second = train(other, tmp_path / "b", config).run.record
    assert first.weights_sha256 == second.weights_sha256
    assert first.threshold == second.threshold


def test_predictions_name_the_images_that_were_scored_in_their_own_stain(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    row = int(np.flatnonzero(divided.frame["split"] == "test")[0])
    blank = tmp_path / "SOB_B_A-14-22549AB-100-001.png"
    assert cv2.imwrite(str(blank), np.full((64, 64, 3), 255, np.uint8))
    paths = [str(blank) if k == row else path for k, path in enumerate(divided.frame["path"])]
    glass = replace(divided, frame=divided.frame.assign(path=paths))
    run = train(glass, tmp_path / "run", stained).run
    notes = predict(run, glass).predictions.frame.set_index("path")["stain_note"]
    assert notes[str(blank)] == "blank"
    assert (notes != "").sum() == 1


def test_a_stain_per_patient_needs_known_patients(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    config = stained.with_overrides({"stain_per": "patient"})
    unknown = replace(divided, protocol=replace(divided.protocol, patients_known=False))
    with pytest.raises(ConfigError, match="patients of these images are not known"):
        train(unknown, tmp_path / "run", config)
    run = train(divided, tmp_path / "known", config).run
    (tmp_path / "holiday.png").write_bytes(divided.paths[0].read_bytes())
    with pytest.raises(ConfigError, match="give a manifest that names them"):
        predict(run, [tmp_path / "holiday.png"])


def test_a_target_image_is_used_as_it_is_and_may_not_be_one_that_is_tested(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    inside, tested = (divided.in_split(name) for name in ("train", "test"))
    config = stained.with_overrides({"stain_target": str(inside.paths[0])})
    step = fit_stain_step(divided, config)
    assert step is not None
    own = create_normalizer("macenko").fit(read_image(inside.paths[0]))
    assert step == own.step()
    leaking = stained.with_overrides({"stain_target": str(tested.paths[0])})
    patient = tested.frame["patient"].iloc[0]
    with pytest.raises(LeakageError, match=f"patient {patient}, who stands in the test split"):
        train(divided, tmp_path / "run", leaking)
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    with pytest.raises(LeakageError, match="held out in its turn"):
        train(folds, tmp_path / "run", config, fold="all")


def test_a_target_without_stain_is_named(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    blank = tmp_path / "blank.png"
    assert cv2.imwrite(str(blank), np.full((64, 64, 3), 255, np.uint8))
    config = stained.with_overrides({"stain_target": str(blank)})
    with pytest.raises(DataError, match=r"blank\.png: cannot be the stain target: .*blank"):
        fit_stain_step(divided, config)


def test_a_fixed_target_freezes_once_for_all_folds(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path, told
) -> None:
    target = tmp_path / "target.png"
    target.write_bytes(drawn_breakhis.paths[0].read_bytes())
    config = stained.with_overrides({"stain_target": str(target)})
    folds = split_into_folds(drawn_breakhis, 3, seed=0)
    train(folds, tmp_path / "once", config, fold="all", progress=told)
    assert told.works == [("features", len(folds), 0)]
    train(folds, tmp_path / "anew", stained, fold="all", progress=told)
    assert len(told.works) == 1 + 3
    assert {(work, total) for work, total, _ in told.works} == {("features", len(folds))}


def test_settings_that_contradict_each_other_are_refused(small_probe: TrainingConfig) -> None:
    for settings, message in (
        ({"stain_target": "a.png"}, "does nothing with stain = 'none'"),
        ({"freeze": False, "stain": "macenko", "stain_exchange": 0.5}, "takes away the stains"),
        ({"stain_jitter": 0.2}, "sees each image once"),
        ({"stain": "ruifrok"}, "stain = 'ruifrok'"),
        ({"freeze": False, "stain_jitter": 1.0}, "stain_jitter = 1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            small_probe.with_overrides(settings)


def test_the_cache_keeps_images_of_other_sources_apart(
    drawn_breakhis: Manifest, stained: TrainingConfig, tmp_path: Path
) -> None:
    target = tmp_path / "target.png"
    target.write_bytes(drawn_breakhis.paths[0].read_bytes())
    config = stained.with_overrides({"stain_target": str(target), "stain_per": "patient"})
    divided = split_by_fractions(drawn_breakhis, SHARES, seed=0)
    whole = freeze_images(divided, config)
    few = (divided.frame.groupby("patient").cumcount() < 2).to_numpy()
    part = freeze_images(divided.where(few), config)
    assert part.preprocessing == whole.preprocessing
    assert part.computed == few.sum()
    assert not np.array_equal(part.features, whole.features[few])
