"""A Run on the same images under shifts: a predictions table for each, kept as it comes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import read_fields, write_artefact
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.run import FoldsRun
from eosin.errors import ConfigError
from eosin.inference.journal_head import head_of, require_same
from eosin.inference.out_of_fold import out_of_fold
from eosin.inference.predict import Chosen, choose
from eosin.inference.table import predict_to_table
from eosin.locks import one_writer
from eosin.pixels.shifts import (
    OTHER_STAINS,
    SEVERITIES,
    SHIFTS,
    apply_shift,
    exchange_stain,
    stain_of_other,
)
from eosin.pixels.stain_sources import patient_stains
from eosin.progress import SILENT, Progress, working
from eosin.spread import Here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import UInt8Image
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.predictions import Predictions
    from eosin.inference.scoring import PredictOptions
    from eosin.networks.run import Run
    from eosin.pixels.batches import Alter
    from eosin.pixels.concentration import StainEstimate
    from eosin.spread import Spread

HEAD_NAME = "stress.json"
TABLES_NAME = "tables"
ALL_SHIFTS = (*SHIFTS, OTHER_STAINS)


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One shift at one severity; severity 0 is the images as they are."""

    shift: str = ""
    severity: int = 0

    @property
    def name(self) -> str:
        """Of its table, e.g. ``"blur-3"``."""
        return f"{self.shift.replace(' ', '-')}-{self.severity}" if self.severity else "unchanged"


UNCHANGED = Condition()


def conditions_of(shifts: Sequence[str] = ALL_SHIFTS) -> tuple[Condition, ...]:
    """The unchanged images, then every severity of each shift; ConfigError for an unknown one."""
    for shift in shifts:
        if shift not in ALL_SHIFTS:
            raise ConfigError(f"shift {shift!r} is unknown; want one of {list(ALL_SHIFTS)}")
    return (UNCHANGED, *(Condition(shift, at) for shift in shifts for at in SEVERITIES))


def stress_tables(
    run: Run,
    manifest: Manifest,
    folder: Path,
    options: PredictOptions,
    *,
    shifts: Sequence[str] = ALL_SHIFTS,
    progress: Progress = SILENT,
    spread: Spread | None = None,
) -> dict[Condition, Predictions]:
    """Score the manifest's test images under every shift and severity.

    A Run of folds scores its own manifest fold by fold, each by the network that did not see it.
    Tables lie in ``folder/tables`` and are kept: the same call continues where it was stopped.

    Args:
        run: a finished Run.
        manifest: of which one split is scored.
        folder: where the tables go.
        options: how to score; a table that is kept has the sets that it was made with.
        shifts: which; names of ``ALL_SHIFTS``.
        progress: told of the conditions done.
        spread: scores; None for this process.

    Raises:
        ConfigError: an unknown shift, or a Run whose stain step goes by patient.
        DataError: the folder holds a stress test of another Run, other images or other options.
        LeakageError, DataError, ModelError: as ``predict``.
    """
    conditions, parts = conditions_of(shifts), _parts(run, manifest, options)
    spread = spread or Here()  # one for all conditions: networks are opened once
    _require_image_stain(run)
    chosen = [part.images for part in parts]
    tables = folder / TABLES_NAME
    tables.mkdir(parents=True, exist_ok=True)
    with one_writer(folder / HEAD_NAME):
        _require_same_test(run, manifest, folder / HEAD_NAME, options)
        stains = _Stains.of_images(chosen, options) if OTHER_STAINS in shifts else None
        found = {}
        with working(progress, "shifts", total=len(conditions)):
            for condition in conditions:
                alter = _alteration(condition, stains)
                scored = [part.scored(tables, condition, alter, spread) for part in parts]
                found[condition] = (
                    out_of_fold(run.folder, manifest, [part.run for part in parts], scored)
                    if parts[0].suffix
                    else scored[0]
                )
                progress.advance(said=condition.name)
    return found


def _require_image_stain(run: Run) -> None:
    steps = [each.record.preprocessing.stain for each in run.leaves()]
    if any(step is not None and step.per == "patient" for step in steps):
        raise ConfigError(
            f"{run.folder}: its stain step estimates one stain a patient, from images as they are; "
            "a stress test changes images one by one. Train with stain_per = 'image' to test it"
        )


def _require_same_test(run: Run, manifest: Manifest, path: Path, options: PredictOptions) -> None:
    """Write what is tested, or refuse a folder in which something else was."""
    head = head_of(run, Chosen(manifest, split=options.split or "test"), options)
    if path.exists():
        fix = "name another folder, or remove this one"
        require_same(head, read_fields(path, fix=fix), path, fix=fix)
    else:
        write_artefact(head, path)


@dataclass(frozen=True)
class _Stains:
    """The stains of patients that show any, and whose each file is."""

    of: Mapping[str, StainEstimate]
    owners: Mapping[Path, str]

    @classmethod
    def of_images(cls, parts: Sequence[Manifest], options: PredictOptions) -> _Stains:
        """Estimated from all images of each patient; without a patient, of each image."""
        owners = {
            path: patient or str(path)
            for part in parts
            for path, patient in zip(part.paths, part.frame["patient"], strict=True)
        }
        names = list(owners.values())
        return cls(patient_stains(list(owners), names, workers=options.workers), owners)


def _alteration(condition: Condition, stains: _Stains | None) -> Alter | None:
    if condition == UNCHANGED:
        return None
    if stains is not None and condition.shift == OTHER_STAINS:
        return partial(_in_other_stain, condition.severity, stains)
    return partial(_shifted, condition)


def _shifted(condition: Condition, _: Path, image: UInt8Image) -> UInt8Image:
    """The image under the shift; what is drawn depends on its pixels alone."""
    random = np.random.default_rng((condition.severity, zlib.crc32(image.tobytes())))
    return apply_shift(image, condition.shift, condition.severity, random)


def _in_other_stain(severity: int, stains: _Stains, path: Path, image: UInt8Image) -> UInt8Image:
    owner = stains.owners[path]
    return exchange_stain(image, stains.of.get(owner), stain_of_other(owner, severity, stains.of))


@dataclass(frozen=True)
class _Part:
    """A Run that scores some of the images."""

    run: Run
    manifest: Manifest
    options: PredictOptions
    suffix: str = ""  # of its tables' names, where there are several

    @cached_property
    def images(self) -> Manifest:
        """Those that it scores."""
        return choose(self.run, self.manifest, self.options).images

    def scored(
        self, folder: Path, condition: Condition, alter: Alter | None, spread: Spread
    ) -> Predictions:
        """The finished table, or what is scored now, continuing what was begun."""
        table = folder / f"{condition.name}{self.suffix}.csv"
        if table.exists():
            return read_predictions(table)
        return predict_to_table(
            self.run,
            self.manifest,
            table,
            self.options,
            resume=True,
            alter=alter,
            spread=spread,
        ).predictions


def _parts(run: Run, manifest: Manifest, options: PredictOptions) -> list[_Part]:
    if isinstance(run.record, FoldsRun) and manifest.fingerprint == run.record.fingerprint:
        members = run.open_members()
        return [_Part(m, manifest, options, f"-fold-{m.record.fold}") for m in members]
    return [_Part(run, manifest, options)]
