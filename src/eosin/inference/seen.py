"""The guard before every score: has this Run met these patients already?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.data.identity import Identity
from eosin.errors import LeakageError, first_ten

if TYPE_CHECKING:
    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run


def require_unseen(run: Run, images: Manifest, *, own_test_split: bool) -> None:
    """LeakageError, naming them, where ``run`` trained or validated on patients in ``images``.

    Args:
        run: the model about to score.
        images: what it would score.
        own_test_split: whether ``images`` are the test split of the very manifest that trained
            ``run``. Under a leaky protocol its patients were seen by design; the protocol's
            name already says so, and every artefact carries it.
    """
    if own_test_split and run.record.protocol.leaky:
        return
    met, count = _met(run, images, other_units=not own_test_split)
    if met:
        raise LeakageError(
            f"{run.folder} was trained or validated on {len(met)} of these patients "
            f"({count} images): {first_ten(met)}. Score the test split, or other patients; "
            "--allow-seen scores them all the same and writes so on the result."
        )


def seen_note(run: Run, images: Manifest) -> tuple[str, ...]:
    """A sentence on the patients in ``images`` that ``run`` has met; none where it met none."""
    met, count = _met(run, images, other_units=True)
    if not met:
        return ()
    return (
        f"Scored with --allow-seen: the model was trained or validated on {len(met)} of these "
        f"{len(images.patients)} patients ({count} of {len(images)} images), so figures on them "
        "do not speak of new patients.",
    )


def sibling_note(run: Run, images: Manifest) -> tuple[str, ...]:
    """A sentence on patients in ``images`` of whom ``run`` may have met other images."""
    if run.record.protocol.pseudo and not images.protocol.pseudo:
        return (
            "The model was trained on pseudo-patients: whether it has met these patients cannot "
            "be told, and figures on them may not speak of new ones.",
        )
    met = Identity.of(run.record).siblings(images.patients)
    if not met:
        return ()
    count = int(images.frame["patient"].isin(met).sum())
    return (
        "Slides count as patients here, not accession numbers: the model was trained or validated "
        f"on other slides of {len(met)} of these {len(images.patients)} patients "
        f"({count} of {len(images)} images), so figures on them do not speak of new people.",
    )


def _met(run: Run, images: Manifest, *, other_units: bool) -> tuple[list[str], int]:
    """The patients of ``images`` that ``run`` has seen, sorted, and how many images they have.

    Args:
        run: the model.
        images: what it would score.
        other_units: whether to know patients again that ``images`` call otherwise, as where one
            side counts slides and the other accession numbers.
    """
    identity = Identity.of(run.record)
    met = sorted((identity.met if other_units else identity.seen.intersection)(images.patients))
    return met, int(images.frame["patient"].isin(met).sum())
