"""What a vote learns from validation patients: weights, the fusion head, and the threshold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.data.splits import split_into_folds
from eosin.errors import DataError, LeakageError, first_ten
from eosin.evaluation.calibration import apply_temperature, fit_temperature, lock_threshold
from eosin.inference.context import require_coordinates, uses_neighbours
from eosin.inference.members import cast_votes, member_features, member_probabilities
from eosin.inference.votes import fit_weights
from eosin.training.fusion import FusionOptions, fit_fusion
from eosin.training.probe import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.run import Vote
    from eosin.data.splits import By
    from eosin.evaluation.calibration import LockedThreshold
    from eosin.inference.readings import Readings
    from eosin.networks.fusion import FusionHead
    from eosin.networks.run import Run


INNER_FOLDS = 5


@dataclass(frozen=True)
class FittedVote:
    """A vote, ready to be cast."""

    threshold: float | None  # of the positive class, binary tasks only
    temperature: float = 1.0  # of the fusion head's logits; 1 for every other vote
    # what was chosen, to be read in the Run's record
    choices: dict[str, JsonValue] = field(default_factory=dict)
    weights: tuple[float, ...] = ()  # of each member in a weighted vote; else none
    head: FusionHead | None = None  # the fusion head, for that vote
    # what the vote said of the validation images, and which these are; None without them
    voted: tuple[Floats, Ints] | None = None


@dataclass(frozen=True)
class Validation:
    """The images that a vote may learn from, and what the networks say of them."""

    images: Manifest  # labelled rows of validation patients
    readings: Readings  # of ``images.paths``


def require_honest_validation(members: Sequence[Run], split: Manifest) -> None:
    """LeakageError, naming them, where a member trained on patients of ``split``'s val split.

    Under a leaky protocol patients stand on both sides by design; there it is enough that the
    member was trained with this very split, and so not on these images.
    """
    wanted = set(split.in_split("val").patients)
    for run in members:
        same = run.record.fingerprint == split.fingerprint and bool(run.record.val_patients)
        met = sorted(wanted & set(run.record.train_patients))
        if not met or (same and run.record.protocol.leaky):
            continue
        raise LeakageError(
            f"{run.folder} was trained on {len(met)} of the {len(wanted)} validation patients: "
            f"{first_ten(met)}. A vote must learn from patients that no member was trained on: "
            "train the members on this split; frozen folds keep a validation fold with "
            "`fold_validation = true`"
        )


def fit_vote(
    vote: Vote,
    members: Sequence[Run],
    validation: Validation | None,
    *,
    fusion: FusionOptions | None = None,
) -> FittedVote:
    """Fit ``vote`` on validation images.

    A hard vote decides by majority: its threshold is one half. Any other vote's threshold is
    locked on the validation images, as a training's is; without them it is the mean of the
    members' thresholds.

    Raises:
        DataError: the vote needs validation images and there are none, none is readable, or
            there are too few.
        ModelError: a member is missing or changed, or has no features to fuse.
    """
    if validation is None:
        if vote == "hard":
            return _by_majority(members)
        if vote != "soft":
            raise DataError(
                f"a {vote} vote is fitted on validation patients: name their manifest, --manifest"
            )
        thresholds = [run.record.threshold for run in members if run.record.threshold is not None]
        mean = sum(thresholds) / len(thresholds) if thresholds else None
        return FittedVote(mean, choices={"threshold_from": "the members' mean"})
    if vote == "fusion":
        return _fit_fusion(members, validation, fusion or FusionOptions())
    rows = validation.images.frame
    require_coordinates(members, rows)
    indices, probabilities, _ = member_probabilities(members, validation.readings, rows)
    labels = _labels(validation.images, indices)
    choices: dict[str, JsonValue] = {"threshold_from": "validation patients"}
    weights: tuple[float, ...] = ()
    if vote == "weighted":
        weights = fit_weights(probabilities, labels)
    voted = cast_votes(probabilities, vote, weights)
    if vote == "hard":
        return replace(_by_majority(members), voted=(voted, indices))
    threshold = _threshold(validation.images, indices, voted)
    return FittedVote(
        threshold.value if threshold else None,
        choices=choices | locked(threshold),
        weights=weights,
        voted=(voted, indices),
    )


def _by_majority(members: Sequence[Run]) -> FittedVote:
    binary = members[0].record.task.binary
    return FittedVote(0.5 if binary else None, choices={"threshold_from": "the majority"})


def _fit_fusion(
    members: Sequence[Run], validation: Validation, options: FusionOptions
) -> FittedVote:
    if counting := next((run for run in members if uses_neighbours(run)), None):
        raise DataError(
            f"{counting.folder} counts neighbours on the slide by their logits, and a fusion takes "
            "in features; choose a soft, hard or weighted vote"
        )
    found = member_features(members, validation.readings)
    labels = _labels(validation.images, found.indices)
    readable = np.isin(np.arange(len(validation.images)), found.indices)
    fitted = fit_fusion(
        found.values,
        labels,
        _inner_folds(validation.images.where(readable), seed=options.seed),
        classes=len(members[0].record.task.classes),
        options=options,
    )
    temperature = fit_temperature(fitted.logits, labels)
    chances = apply_temperature(fitted.logits, temperature)
    choices: dict[str, JsonValue] = {
        "threshold_from": "validation patients, cross-validated",
        "epochs": fitted.epochs,
        "epoch_log_loss": list(fitted.losses),
    }
    threshold = _threshold(validation.images, found.indices, chances)
    value, voted = threshold.value if threshold else None, (chances, found.indices)
    choices |= locked(threshold)
    return FittedVote(value, temperature, choices, head=fitted.head, voted=voted)


def _inner_folds(images: Manifest, *, seed: int) -> Ints:
    """The inner fold of each image; what the protocol keeps whole stays whole, else patients."""
    by: By = "patient"
    if images.protocol.unit in ("slide", "image"):
        by = images.protocol.unit
    units = images.frame["path" if by == "image" else by].nunique()
    if units < 2:
        raise DataError(
            f"the validation images come from one {by}; a fusion needs two or more to choose "
            "where it stops"
        )
    folds = split_into_folds(images, min(INNER_FOLDS, units), by=by, seed=seed)
    return np.asarray(folds.frame["fold"], dtype=np.int64)


def _labels(images: Manifest, indices: Ints) -> Ints:
    if not len(indices):
        raise DataError(f"none of the {len(images)} validation images could be read")
    return images.label_index[indices]


def _threshold(images: Manifest, indices: Ints, probabilities: Floats) -> LockedThreshold | None:
    """From the probabilities of the images at ``indices``; None where the task has none."""
    if not images.task.binary:
        return None
    positive, labels = images.task.positive_index, _labels(images, indices)
    groups = images.kept_whole[indices]
    return lock_threshold(probabilities[:, positive], labels == positive, groups)
