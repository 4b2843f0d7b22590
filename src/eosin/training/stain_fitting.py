"""From the settings to the stain step of a training, fitted on its training patients alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eosin.artefacts.preprocessing import StainStep
from eosin.errors import LeakageError, first_ten
from eosin.pixels.stain import StainEstimate, create_normalizer
from eosin.pixels.stain_sources import (
    ImageStains,
    Sources,
    fit_to_file,
    fit_to_median,
    patient_sources,
    patient_stains,
)
from eosin.pixels.stain_step import normalizer_of, step_of
from eosin.training.augmentation import StainAugmentation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.training.config import TrainingConfig

TRAIN_MEDIAN: Final = "train-median"


def depends_on_split(config: TrainingConfig) -> bool:
    """Whether images look otherwise to a network when other images train it or stand beside it."""
    by_median = config.stain_target == TRAIN_MEDIAN
    return config.stain != "none" and (by_median or config.stain_per == "patient")


def image_stains(config: TrainingConfig) -> ImageStains | None:
    """What several folds may share when each fits its step; None where nothing is estimated."""
    if config.stain == "none" or config.stain_target != TRAIN_MEDIAN:
        return None
    return ImageStains(create_normalizer(config.stain), workers=config.workers)


def fit_stain_step(
    manifest: Manifest, config: TrainingConfig, *, stains: ImageStains | None = None
) -> StainStep | None:
    """The stain step that the settings ask for; None for ``stain = "none"``.

    Args:
        manifest: in splits; of its images only those that train are looked at.
        config: the settings.
        stains: of images met before, from ``image_stains``, where several folds share them.

    Raises:
        DataError: no training image shows stained tissue, or the target image cannot be used.
        LeakageError: the target is an image of the manifest that does not train.
    """
    if config.stain == "none":
        return None
    normalizer = create_normalizer(config.stain)
    if config.stain_target != TRAIN_MEDIAN:
        _require_unseen(manifest, Path(config.stain_target))
        return step_of(fit_to_file(normalizer, Path(config.stain_target)), config.stain_per)
    stains = stains or ImageStains(normalizer, workers=config.workers)
    paths = manifest.in_split("train").paths
    return step_of(fit_to_median(normalizer, paths, stains), config.stain_per)


def split_sources(manifest: Manifest, spec: Preprocessing) -> Sources | None:
    """The stain of each image's patient, as far as the patient's images stand in the same split.

    So a training image never starts from a stain that test images had a part in, even where a
    patient stands in both. None where the preprocessing goes by image; ConfigError where
    patients are not known.
    """
    known = manifest.known_patients
    splits = manifest.frame["split"]
    groups = known and [f"{patient}\t{split}" for patient, split in zip(known, splits, strict=True)]
    return patient_sources(manifest.paths, groups, spec)


def fallback_notes(manifest: Manifest, sources: Sources | None) -> Iterator[str]:
    """A sentence on the patients whose stain could not be estimated, where there are any."""
    pairs = zip(manifest.frame["patient"], sources or (), strict=sources is not None)
    without = sorted({patient for patient, source in pairs if source is None})
    if without:
        yield (
            f"The stain of {len(without)} patients could not be estimated "
            f"({first_ten(without)}): their images go by their own."
        )


@dataclass(frozen=True)
class TrainingStains:
    """What fine-tuning does about stains beside the step in its preprocessing.

    Attributes:
        train: the stain of each training image's patient, where the step goes by patient.
        val: the same of the validation images.
        augmentation: what is drawn anew for each image and epoch, where anything is.
    """

    train: Sources | None = None
    val: Sources | None = None
    augmentation: StainAugmentation | None = None


def training_stains(
    train: Manifest, val: Manifest | None, spec: Preprocessing, config: TrainingConfig
) -> TrainingStains:
    """What fine-tuning needs to know of its images' stains, estimated once.

    Raises:
        ConfigError: the step goes by patient and patients are not known, or stains are to be
            exchanged among fewer than two patients that show any.
    """
    return TrainingStains(
        train=split_sources(train, spec),
        val=split_sources(val, spec) if val else None,
        augmentation=_augmentation(train, spec, config),
    )


def _augmentation(
    train: Manifest, spec: Preprocessing, config: TrainingConfig
) -> StainAugmentation | None:
    if not config.stain_jitter and not config.stain_exchange:
        return None
    target = normalizer_of(spec.stain).target_ if spec.stain else None
    patients = tuple(train.frame["patient"])
    exchanged = config.stain_exchange > 0
    stains = patient_stains(train.paths, patients, workers=config.workers) if exchanged else {}
    return StainAugmentation(
        jitter=config.stain_jitter,
        exchange=config.stain_exchange,
        patients=patients,
        stains=stains,
        target=target if isinstance(target, StainEstimate) else None,
    )


def _require_unseen(manifest: Manifest, target: Path) -> None:
    """LeakageError where the target is among the images that the training must not look at."""
    if manifest.protocol.leaky:  # its name says so already
        return
    resolved = target.resolve()
    met = [path.resolve() == resolved for path in manifest.paths]
    rows = manifest.frame[met]
    for patient, split in zip(rows["patient"], rows["split"], strict=True):
        if split != "train":
            where = f"in the {split} split" if split else "in a fold that is held out in its turn"
            raise LeakageError(
                f"{target}: the stain target shows patient {patient}, who stands {where}; name an "
                "image that trains or one outside the manifest, or leave stain_target at "
                f"{TRAIN_MEDIAN!r}"
            )
