"""How a Run recognises the patients it has seen: by file names, or by accession number or slide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from eosin.artefacts.names import patient_pattern
from eosin.data import breakhis
from eosin.files import valid_text
from eosin.pixels.reading import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from eosin.artefacts.run import RunRecord

_ENDINGS = (*SUFFIXES, *(ending.upper() for ending in SUFFIXES))


@dataclass(frozen=True)
class Identity:
    """The patients that a Run has met, and how its dataset names them.

    An image that was converted to another format is the same image: what a name says comes from
    its stem, whatever the ending and its case.
    """

    dataset: str  # the reader's name
    pattern: str  # that found the patients in the names of files; empty where none did
    patients_known: bool  # whether patients are more than single images
    seen: frozenset[str]  # the patients, as the manifest called them

    @classmethod
    def of(cls, record: RunRecord) -> Identity:
        """The patients that a Run was trained or validated on, and how they are known again."""
        return cls(
            dataset="pseudo-patients" if record.protocol.pseudo else record.dataset,
            pattern=record.patient_pattern,
            patients_known=record.protocol.patients_known,
            seen=record.seen_patients,
        )

    def patient_of(self, file: Path) -> str | None:
        """Whom a file shows, by its name; None where the name does not say.

        Where each image counts as a patient, that is the seen image of this name, or of these
        folders and this name.
        """
        if self.pattern:
            return patient_by_pattern(self.pattern, file.name, seen=self.seen)
        if not self.patients_known:
            return self._image(file)
        if self.dataset == "breakhis":
            return breakhis.patient_of(valid_text(file.name), self.seen)
        return None

    def met(self, patients: Iterable[str]) -> set[str]:
        """Those of ``patients`` that were seen, also where a manifest calls them otherwise."""
        if not self.patients_known:
            return {patient for patient in patients if _stem(patient) in self._images}
        if self.dataset == "breakhis":
            return breakhis.same_people(patients, self.seen)
        return {patient for patient in patients if patient in self.seen}

    def siblings(self, patients: Iterable[str]) -> list[str]:
        """Those of ``patients`` who are new, and have something else of the same person seen."""
        return breakhis.other_slides(patients, self.seen) if self.dataset == "breakhis" else []

    @cached_property
    def _images(self) -> dict[str, str]:
        return {_stem(patient): patient for patient in sorted(self.seen)}

    def _image(self, file: Path) -> str | None:
        parts = [valid_text(part) for part in file.with_suffix("").parts]
        names = [parts[-1], *("/".join(parts[index:]) for index in range(1, len(parts) - 1))]
        return next((self._images[name] for name in names if name in self._images), None)


def patient_by_pattern(pattern: str, name: str, *, seen: Collection[str] = ()) -> str | None:
    """The patient that a pattern finds in a file's name; None where it finds none.

    The name is tried as it is. Where that finds nobody, or takes the ending into the patient, the
    name is tried under each ending that eosin reads, as the image may have been converted: first
    comes a patient in ``seen``, then what the name as it is gives, then the first that was found.
    """
    engine, stem = patient_pattern(pattern), _stem(name)
    found = engine.search(name)
    if found and (found[1] <= len(valid_text(stem)) or found[0] in seen):
        return found[0]
    others = [other[0] for ending in _ENDINGS if (other := engine.search(stem + ending))]
    known = [patient for patient in others if patient in seen]
    return next(iter([*known, *([found[0]] if found else []), *others]), None)


def _stem(name: str) -> str:
    """A name without the ending of an image, whatever its case."""
    ending = next((ending for ending in SUFFIXES if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]
