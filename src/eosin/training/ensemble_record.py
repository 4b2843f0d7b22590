"""What an ensemble's record says of its members together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from eosin.artefacts.run import EnsembleRun
from eosin.machine import software_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import JsonValue

    from eosin.artefacts.reference import Reference
    from eosin.artefacts.run import Member, RunRecord, Scale, Vote
    from eosin.networks.run import Run
    from eosin.protocol import Protocol
    from eosin.training.voting import FittedVote

T = TypeVar("T")
_NAMED = 3  # as many members stand in the ensemble's name; more are counted


@dataclass(frozen=True, slots=True)
class Division:
    """How the images of an ensemble's members were divided."""

    # of the images that trained the members; a leaky one where any was leaky, else one of
    # pseudo-patients where any was, else one of unknown patients
    protocol: Protocol
    fingerprint: str  # of the manifest that all members were trained on; empty where they differ
    fold: int | None  # the fold that all held out, or None


def common_division(runs: Sequence[Run]) -> Division:
    """The division that Runs of any origin share."""
    records = [run.record for run in runs]
    return Division(
        protocol=min(
            (record.protocol for record in records),
            key=lambda each: (not each.leaky, not each.pseudo, each.patients_known),
        ),
        fingerprint=_common((record.fingerprint for record in records), ""),
        fold=_common((record.fold for record in records), None),
    )


def ensemble_record(
    runs: Sequence[Run],
    vote: Vote,
    fitted: FittedVote,
    *,
    division: Division,
    members: tuple[Member, ...],
    validated_on: Iterable[str],
    training: dict[str, JsonValue],
    weights_sha256: str | None,
    known: Reference | None,
) -> EnsembleRun:
    """The record of an ensemble.

    Its preprocessing is the first member's, for those who want to know roughly what it sees; each
    member uses its own, and the choices say so where their input sizes differ.

    Args:
        runs: the members.
        vote: how they are combined.
        fitted: what the vote learnt.
        division: of the images.
        members: the Runs as the ensemble's folder names them.
        validated_on: the patients that the vote learnt from.
        training: how a fusion head was fitted, or the settings of all members.
        weights_sha256: of the fusion head's file; None for every other vote.
        known: what calibrates its sets, where it was validated.
    """
    records = [run.record for run in runs]
    sizes = [record.preprocessing.size for record in records]
    differing: dict[str, JsonValue] = {"input_sizes": [*sizes]} if len(set(sizes)) > 1 else {}
    val_patients = {*validated_on, *_union(record.val_patients for record in records)}
    return EnsembleRun(
        task=records[0].task,
        dataset=" + ".join(dict.fromkeys(record.dataset for record in records)),
        backbone=ensemble_name(vote, [record.backbone for record in records]),
        preprocessing=records[0].preprocessing,
        protocol=division.protocol,
        fingerprint=division.fingerprint,
        fold=division.fold,
        train_patients=_union(record.train_patients for record in records),
        val_patients=tuple(sorted(val_patients)),
        patient_pattern=_common((record.patient_pattern for record in records), ""),
        temperature=fitted.temperature,
        threshold=fitted.threshold,
        seed=seed if isinstance(seed := training.get("seed"), int) else 0,
        training=training,
        choices={**fitted.choices, **differing},
        initial_weights="",
        versions=software_versions(),
        notes=tuple(dict.fromkeys(note for record in records for note in record.notes)),
        weights_sha256=weights_sha256,
        context=None,
        scale=shared_scale(records),
        bag=None,
        reference=known,
        vote=vote,
        weights=fitted.weights,
        members=members,
    )


def ensemble_name(vote: str, backbones: Sequence[str]) -> str:
    """The name to print: ``"soft vote of resnet50 + vgg16"``, ``"fusion of 10 networks"``."""
    title = "fusion of" if vote == "fusion" else f"{vote} vote of"
    if len(backbones) > _NAMED:
        return f"{title} {len(backbones)} networks"
    return f"{title} {' + '.join(backbones)}"


def shared_scale(records: Iterable[RunRecord]) -> Scale | None:
    """The scale that all were trained at, or none."""
    return _common((record.scale for record in records), None)


def _common(values: Iterable[T], otherwise: T) -> T:
    """The one value of all, or ``otherwise``."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else otherwise


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({patient for group in groups for patient in group}))
