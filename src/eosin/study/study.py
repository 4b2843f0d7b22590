"""Running a study: every cell once, whatever interrupts it, then one table and one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.manifest import read_manifest
from eosin.artefacts.outputs import PAGE, Output, require_output_folder, table
from eosin.data.bci import read_bci
from eosin.data.breakhis import read_breakhis
from eosin.data.folder import read_folder
from eosin.data.scan import ReadDataset
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.errors import ConfigError
from eosin.locks import one_writer
from eosin.progress import SILENT, Progress, shown
from eosin.reporting.wording import figure
from eosin.spread import Here
from eosin.study.cells import FAULTS, Result, StudyResult, Workshop, cells_work, reason_of
from eosin.study.kept import (
    compare_group,
    comparison_groups,
    draw_heatmaps,
    heatmap_groups,
    report_cell,
)
from eosin.study.plan import Cell, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eosin.artefacts.manifest import Manifest
    from eosin.files import StrPath
    from eosin.spread import Spread
    from eosin.study.config import StudyFile


STUDY_FILES: dict[str, Output | None] = {
    "study.html": PAGE,
    "study.csv": table("table of a study", "model", "vote", "protocol"),
    "stain-effects.csv": table("table of a study", "model", "stain", "protocol"),
    "draws.csv": table("table of a study", "model", "protocol", "against"),
    **dict.fromkeys(("images", "cells", "heatmaps", "comparisons")),
}


def read_images(study: StudyFile, folder: Path) -> ReadDataset:
    """The study's images, by the reader that its file names; synthetic ones are drawn once.

    Raises:
        DataError: the images cannot be read.
        ConfigError: so many of each patient are asked for, and patients are not known.
    """
    found = _read(study, folder)
    most = study.config.images_per_patient
    return replace(found, manifest=some_of_each(found.manifest, most)) if most else found


def some_of_each(manifest: Manifest, most: int, *, seed: int = 0) -> Manifest:
    """At most ``most`` images of each patient, drawn without replacement; a note says so.

    The draw depends on the images and ``seed`` alone, so that every cell of a study has the same.

    Raises:
        ConfigError: patients are not known.
    """
    patients = manifest.known_patients
    if patients is None:
        raise ConfigError(
            f"images_per_patient = {most}: the patients of these images are not known; give a "
            "patient_pattern or leave it out"
        )
    order = np.random.default_rng(seed).permutation(len(manifest))
    names = np.array(patients, dtype=object)
    keep = np.zeros(len(manifest), dtype=bool)
    for patient in manifest.patients:
        keep[order[names[order] == patient][:most]] = True
    note = f"At most {most} images of each patient, drawn at random: {keep.sum()} of {len(keep)}."
    return replace(manifest.where(keep), notes=(*manifest.notes, note))


def _read(study: StudyFile, folder: Path) -> ReadDataset:
    config = study.config
    if config.dataset == "synthetic":
        write_synthetic(folder / "images", SyntheticOptions())
        return read_breakhis(folder / "images" / "images")
    if config.dataset == "breakhis":
        return read_breakhis(study.root, task=config.task, magnifications=config.magnifications)
    if config.dataset == "manifest":
        return ReadDataset(read_manifest(study.root))
    if config.dataset == "bci":
        return read_bci(study.root)
    return read_folder(
        study.root, patient=config.patient_pattern or None, positive=config.positive or None
    )


def run_study(
    study: StudyFile,
    folder: StrPath,
    *,
    progress: Progress | bool = SILENT,
    spread: Spread | None = None,
) -> StudyResult:
    """Do every cell of a study that is not done yet.

    A study stopped at any moment continues when it is run again; a cell whose
    settings or images changed is redone, and no other. A cell that fails is reported and does
    not lose the others; it is tried again in the next run.

    Args:
        study: what ``read_study`` gave.
        folder: where cells are kept.
        progress: told of every cell in words.
        spread: does the cells; None for this process.

    Raises:
        DataError: the images cannot be read, or another process is writing there.
        ConfigError: ``folder`` holds a Run, images that are read, or other files of these names.
    """
    folder = Path(folder)
    inputs = [] if study.config.dataset == "synthetic" else [study.root]
    require_output_folder(folder, STUDY_FILES, inputs=inputs)
    with one_writer(folder, then="then run the same command again: what is finished is kept"):
        return _run(study, folder, shown(progress), spread or Here())


def _run(study: StudyFile, folder: Path, progress: Progress, spread: Spread) -> StudyResult:
    manifest = read_images(study, folder).manifest
    cells = plan(study)
    work = cells_work(Workshop(study, manifest, folder), cells)
    done = spread.each(work, range(len(cells)))
    results: list[Result] = []
    failures: list[tuple[Cell, str]] = []
    for number, cell in enumerate(cells, start=1):
        begun = f"{number}/{len(cells)} {cell.name}"
        progress.note(begun)
        result = next(done)
        if isinstance(result, str):
            failures.append((cell, result))
            progress.note(f"{begun} failed: {result}")
        else:
            results.append(result)
            progress.note(f"{begun}: {_found(result)}")
    next(done, None)  # whoever does them looks at the end whether all is well
    _, unreported = _for_each(
        [[result] for result in results],
        lambda cell: report_cell(cell[0], folder),
        what="report",
    )
    asked, resamples = study.config.heatmaps, study.config.resamples
    drawn, undrawn = _for_each(
        heatmap_groups(results) if asked else [],
        lambda group: draw_heatmaps(group, manifest, folder / "heatmaps", images=asked),
        what="heatmaps",
    )
    compared, uncompared = _for_each(
        comparison_groups(results),
        lambda group: compare_group(group, folder, resamples=resamples),
        what="comparison",
    )
    failures += [*unreported, *undrawn, *uncompared]
    known = manifest.protocol.patients_known
    patients = len(manifest.patients) if known else 0
    return StudyResult(
        study, len(manifest), patients, tuple(results), tuple(failures), drawn, compared
    )


def _found(result: Result) -> str:
    accuracy, protocol = result.image.value("accuracy"), result.predictions.provenance.protocol
    return f"accuracy {figure(accuracy, space=' ')}  ({protocol.name}), {result.seconds:.0f} s"


def _for_each(
    groups: Sequence[list[Result]], make: Callable[[list[Result]], Path], *, what: str
) -> tuple[tuple[Path, ...], list[tuple[Cell, str]]]:
    """What ``make`` wrote for each group, and the faults of those for which it could not."""
    made: list[Path] = []
    failures: list[tuple[Cell, str]] = []
    for group in groups:
        try:
            made.append(make(group))
        except FAULTS as error:
            failures.append((group[0].cell, f"{what}: {reason_of(error)}"))
    return tuple(made), failures
