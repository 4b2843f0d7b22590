"""The guard before every score: has this Run met these patients already?"""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from eosin.errors import LeakageError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    if not met:
        return
    shown = ", ".join(met[:10]) + (", ..." if len(met) > 10 else "")
    raise LeakageError(
        f"{run.folder} was trained or validated on {len(met)} of these patients "
        f"({count} images): {shown}. Score the test split, or other patients; "
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
    """A sentence on patients in ``images`` that ``run`` has met under another slide of BreakHis.

    Where slides count as patients, 14-22549AB and 14-22549CD are two, and come from one person.
    """
    seen = run.record.seen_patients
    if run.record.dataset != "breakhis" or not counts_slides(seen):
        return ()
    numbers = {_accession(patient) for patient in seen}
    met = [p for p in images.patients if p not in seen and _accession(p) in numbers]
    if not met:
        return ()
    count = int(images.frame["patient"].isin(met).sum())
    return (
        "Slides count as patients here, not accession numbers: the model was trained or validated "
        f"on other slides of {len(met)} of these {len(images.patients)} patients "
        f"({count} of {len(images)} images), so figures on them do not speak of new people.",
    )


def counts_slides(patients: Iterable[str]) -> bool:
    """Whether patients of BreakHis are slides: an accession number has no block letters."""
    return any(_accession(patient) != patient for patient in patients)


def _accession(patient: str) -> str:
    """``14-22549`` of a slide ``14-22549AB``: without its block letters."""
    return patient.rstrip(ascii_uppercase)


def _met(run: Run, images: Manifest, *, other_units: bool) -> tuple[list[str], int]:
    """The patients of ``images`` that ``run`` has seen, sorted, and how many images they have.

    Args:
        run: the model.
        images: what it would score.
        other_units: whether to know patients of BreakHis again where the one side counts slides
            and the other accession numbers.
    """
    seen = run.record.seen_patients
    known = set(seen)
    if other_units and run.record.dataset == "breakhis":
        known |= {_accession(patient) for patient in seen}
        known |= {patient for patient in images.patients if _accession(patient) in seen}
    met = sorted(known & set(images.patients))
    return met, int(images.frame["patient"].isin(met).sum())
