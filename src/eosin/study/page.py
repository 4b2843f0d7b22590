"""From a study's result to its table and its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.tables import write_csv
from eosin.reporting.draws_section import draws_frame
from eosin.reporting.stain_effects import stain_frame
from eosin.reporting.study_page import StudyFacts, write_study_page
from eosin.study.table import draws_rows, leakage_rows, result_frame, result_rows, stain_rows

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.study.study import StudyResult


def write_study(found: StudyResult, folder: Path) -> tuple[Path, Path]:
    """Write ``study.html`` and ``study.csv`` into ``folder``; their paths.

    A study of stain steps has a ``stain-effects.csv`` beside them, one of several seeds a
    ``draws.csv``.
    """
    config = found.study.config
    table = folder / "study.csv"
    write_csv(result_frame(found.results), table)
    stains = stain_rows(found.results, resamples=config.resamples)
    if stains:
        write_csv(stain_frame(stains), folder / "stain-effects.csv")
    draws = draws_rows(found.results, resamples=config.resamples)
    if draws:
        write_csv(draws_frame(draws), folder / "draws.csv")
    settings = {**config.model_dump(mode="json", exclude={"root"})}
    settings |= {
        f"training: {k}": v for k, v in found.study.training.model_dump(mode="json").items()
    }
    facts = StudyFacts(
        title=config.title,
        dataset=config.dataset,
        models=len({result.cell.model for result in found.results}),
        images=found.images,
        patients=found.patients,
        settings=tuple((name, str(value)) for name, value in settings.items()),
        failures=tuple((cell.name, reason) for cell, reason in found.failures),
    )
    meter = leakage_rows(found.results, resamples=config.resamples)
    page = write_study_page(
        facts,
        meter,
        result_rows(found.results),
        folder / "study.html",
        stains=stains,
        draws=draws,
    )
    return page, table
