"""Stain augmentation: pure draws, other patients' stains, and resuming to the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError
from eosin.pixels.reading import read_image
from eosin.pixels.stain import create_normalizer
from eosin.pixels.stain_jitter import restain, scale_stains
from eosin.pixels.stain_normalizer import source_key
from eosin.progress import Silent
from eosin.training.augmentation import StainAugmentation, draws
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune
from eosin.training.stain_fitting import training_stains


def augmentation(divided: Manifest, config: TrainingConfig) -> StainAugmentation:
    train, val = divided.in_split("train"), divided.in_split("val")
    found = training_stains(train, val, Preprocessing(size=32), config).augmentation
    assert found is not None
    return found


def test_the_same_draw_gives_the_same_bytes_and_another_epoch_others(
    divided: Manifest, tiny_config: TrainingConfig
) -> None:
    config = tiny_config.with_overrides({"stain_jitter": 0.3, "stain_exchange": 0.5})
    change = augmentation(divided, config)
    image = read_image(divided.in_split("train").paths[0])
    before = image.copy()

    def drawn(seed: int, epoch: int, index: int) -> np.ndarray:
        return change(image, 0, draws(4, seed=seed, epoch=epoch, index=index))

    first = drawn(1, 2, 3)
    np.testing.assert_array_equal(drawn(1, 2, 3), first)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(drawn(*other), first)
    np.testing.assert_array_equal(image, before)


def test_jitter_scales_haematoxylin_and_eosin_within_its_bounds(
    divided: Manifest, tiny_config: TrainingConfig
) -> None:
    change = augmentation(divided, tiny_config.with_overrides({"stain_jitter": 0.3}))
    image = read_image(divided.in_split("train").paths[0])
    least, most = (scale_stains(image, (f, f)).mean() for f in (1.3, 0.7))  # more stain is darker
    means = [change(image, 0, np.random.default_rng(k)).mean() for k in range(40)]
    assert least <= min(means) < image.mean() < max(means) <= most
    assert max(means) - min(means) > 0.3 * (most - least)


def test_an_exchanged_image_wears_the_stains_of_another_training_patient(
    divided: Manifest, tiny_config: TrainingConfig
) -> None:
    change = augmentation(divided, tiny_config.with_overrides({"stain_exchange": 1.0}))
    train = divided.in_split("train")
    assert set(change.stains) == set(train.patients)
    own = train.frame["patient"].iloc[0]
    image = read_image(train.paths[0])
    others = [
        restain(image, change.stains[own], stain).tobytes()
        for patient, stain in change.stains.items()
        if patient != own
    ]
    seen = {change(image, 0, np.random.default_rng(k)).tobytes() for k in range(60)}
    assert seen == set(others)


def test_the_stains_to_exchange_are_those_of_all_of_a_patients_training_images(
    divided: Manifest, tiny_config: TrainingConfig
) -> None:
    change = augmentation(divided, tiny_config.with_overrides({"stain_exchange": 1.0}))
    train = divided.in_split("train")
    patient = train.patients[0]
    files = train.where(train.frame["patient"] == patient).paths
    expected = create_normalizer("macenko").estimate(map(read_image, files))
    assert source_key(change.stains[patient]) == source_key(expected)


def test_one_patient_has_nobody_to_exchange_stains_with(
    divided: Manifest, tiny_config: TrainingConfig
) -> None:
    lone = replace(divided, frame=divided.frame.assign(patient="14-22549"))
    with pytest.raises(ConfigError, match="two are needed"):
        augmentation(lone, tiny_config.with_overrides({"stain_exchange": 0.5}))


@pytest.mark.parametrize(
    "settings",
    [
        {"stain_jitter": 0.3, "stain_exchange": 0.5},
        {"stain": "macenko", "stain_per": "patient", "stain_jitter": 0.3},
    ],
    ids=["exchange", "per patient"],
)
def test_an_interrupted_training_with_stains_resumes_to_bit_identical_weights(
    settings: dict[str, object], divided: Manifest, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    class Interrupt(Silent):
        def note(self, sentence: str) -> None:  # noqa: ARG002 - of the first epoch
            raise KeyboardInterrupt

    config = tiny_config.with_overrides({**settings, "epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        finetune(divided, tmp_path / "run", config, progress=Interrupt())
    resumed = finetune(
        divided, tmp_path / "run", config.with_overrides({"workers": 5}), resume=True
    ).run
    whole = finetune(divided, tmp_path / "whole", config).run
    first, second = load_file(resumed.weights_path), load_file(whole.weights_path)
    assert all(torch.equal(first[name], second[name]) for name in second)
    assert resumed.record.preprocessing == whole.record.preprocessing
    plain = {key: value for key, value in settings.items() if "_" not in key}
    bare = finetune(
        divided,
        tmp_path / "bare",
        tiny_config.with_overrides({**plain, "epochs": 3}),
    ).run
    third = load_file(bare.weights_path)
    assert not all(torch.equal(third[name], second[name]) for name in second)


def test_fine_tuning_never_reads_the_test_images_for_its_stains(
    divided: Manifest, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    test = divided.frame["split"] == "test"
    gone = divided.frame["path"].mask(test, divided.frame["path"] + ".gone")
    config = tiny_config.with_overrides({"stain": "vahadane", "stain_jitter": 0.2, "epochs": 1})
    run = finetune(
        replace(divided, frame=divided.frame.assign(path=gone)), tmp_path / "a", config
    ).run
    assert run.record.notes == divided.notes
    assert run.record.preprocessing.stain is not None
