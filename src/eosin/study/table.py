"""What a study found: table and page, what leakage adds, and what each stain step changes."""

from __future__ import annotations

from dataclasses import replace
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from eosin.artefacts.tables import write_csv
from eosin.errors import EosinError
from eosin.evaluation.draws import score_draws
from eosin.evaluation.effects import measure_effects
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.leakage import MeterRow, measure_leakage
from eosin.reporting.comparison_page import PAGE_NAME
from eosin.reporting.draws_section import DrawsRow, draws_frame
from eosin.reporting.stain_effects import StainRow, stain_frame
from eosin.reporting.study_page import ResultRow, StudyFacts, headline_figures, write_study_page
from eosin.study.stains import BASELINE, Staining

REPORT_NAME = "report.html"  # of a cell, beside its Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.files import StrPath
    from eosin.study.cells import Result, StudyResult
    from eosin.study.plan import Cell


def result_frame(results: Sequence[Result]) -> pd.DataFrame:
    """One row a model, protocol and level: every headline figure with its interval and n.

    Columns: model, vote, stain, protocol, leaky, seed, level, images, patients, seconds, then
    for each metric its value, ``<metric> low`` and ``<metric> high``.
    """
    import pandas as pd

    return pd.DataFrame(
        _fields(result, evaluation) for result in results for evaluation in result.evaluations
    )


def result_rows(results: Sequence[Result], folder: Path) -> list[ResultRow]:
    """The same rows for the page of the study in ``folder``."""
    return [
        ResultRow(
            _lines(result.cell),
            evaluation,
            result.seconds,
            _link(result.run.folder.with_name(REPORT_NAME), folder),
        )
        for result in results
        for evaluation in result.evaluations
    ]


def _link(page: Path, folder: Path) -> str:
    """The way from a page in ``folder`` to another one; empty where there is none."""
    return quote(Path(relpath(page, folder)).as_posix()) if page.exists() else ""


def _pages(found: StudyResult, folder: Path) -> tuple[tuple[str, str], ...]:
    """Title and link of every comparison, then of every folder of heatmaps."""
    pages = [("Comparison", path, path / PAGE_NAME) for path in found.comparisons]
    pages += [("Heatmaps", path, path / "index.html") for path in found.heatmaps]
    return tuple(
        (
            f"{kind}: {' '.join(path.relative_to(folder).parts[1:])}",
            _link(page, folder) or _link(path, folder),
        )
        for kind, path, page in pages
    )


def leakage_rows(results: Sequence[Result], *, resamples: int = 2000) -> tuple[MeterRow, ...]:
    """What leakage adds: each model under each leaky protocol against its patient-level figure.

    That is of the study's first patient-level protocol. eva's split is measured once more on its
    own images alone, all of which its twin holds out too. Models without a patient-level result
    with the same seed and stain are left out.
    """
    honest = {
        (r.cell.model, r.cell.seed, r.cell.stain): r
        for r in reversed(results)
        if r.predictions.provenance.protocol.unit == "patient"
    }
    rows, several = [], len({result.cell.seed for result in results}) > 1
    for result in results:
        cell, own = result.cell, result.predictions
        twin = honest.get((cell.model, cell.seed, cell.stain))
        if not own.provenance.protocol.leaky or twin is None:
            continue
        model = title_of(result) + (f", seed {cell.seed}" if several else "")
        rows.append(_meter_row(model, result, twin.predictions, twin.image, resamples=resamples))
        shared = twin.predictions.frame["path"].isin(own.frame["path"])
        if cell.design.eva and shared.sum() == len(own):
            same = twin.predictions.where(shared)
            evaluation = evaluate_predictions(same, resamples=resamples)
            row = _meter_row(model, result, same, evaluation, resamples=resamples)
            where = f"{row.honest_protocol}, on the images of the leaky split"
            rows.append(replace(row, honest_protocol=where))
    return tuple(rows)


def _meter_row(
    model: str, leaky: Result, honest: Predictions, evaluation: Evaluation, *, resamples: int
) -> MeterRow:
    """One model under two protocols; ``evaluation`` is of ``honest``, by image."""
    leaks = measure_leakage(leaky.predictions, honest, resamples=resamples)
    metrics = [leak.added.metric for leak in leaks]
    return MeterRow(
        model=model,
        leaky_protocol=leaky.predictions.provenance.protocol.name,
        honest_protocol=honest.provenance.protocol.name,
        leaks=leaks,
        figures=tuple((leaky.image.value(m), evaluation.value(m)) for m in metrics),
    )


def stain_rows(results: Sequence[Result], *, resamples: int = 2000) -> tuple[StainRow, ...]:
    """What each stain step changes for its model, against no step on the same split.

    Models without a result for no step under the same protocol and seed are left out.
    """
    plain = {_twins(result): result for result in results if result.cell.stain == BASELINE}
    rows = []
    for result in results:
        cell, twin = result.cell, plain.get(_twins(result))
        if cell.stain == BASELINE or twin is None:
            continue
        protocol = result.predictions.provenance.protocol
        rows.append(
            StainRow(
                model=cell.model,
                stain=cell.stain,
                step=Staining.parse(cell.stain).step,
                drawn=Staining.parse(cell.stain).method == BASELINE,
                protocol=protocol.name,
                leaky=protocol.leaky,
                seed=cell.seed,
                effects=measure_effects(result.predictions, twin.predictions, resamples=resamples),
            )
        )
    return tuple(rows)


def draws_rows(results: Sequence[Result], *, resamples: int = 2000) -> tuple[DrawsRow, ...]:
    """Each model under each protocol over all seeds of the split, and against the first model.

    Protocols with folds only, and models that have every seed: each image is then scored once a
    seed. Empty where the study has one seed.
    """
    drawn: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.cell.design.folds is not None:
            drawn.setdefault((result.cell.design.text, title_of(result)), []).append(result)
    most = max((len(own) for own in drawn.values()), default=0)
    whole = {key: own for key, own in drawn.items() if len(own) == most > 1}
    scored = {
        key: score_draws([result.predictions for result in own], resamples=resamples)
        for key, own in whole.items()
    }
    firsts: dict[str, str] = {}
    for design, title in whole:
        firsts.setdefault(design, title)
    rows = []
    for (design, title), own in whole.items():
        protocol = own[0].predictions.provenance.protocol
        against, figures = firsts[design], scored[design, title]
        row = DrawsRow(title, protocol.name, protocol.leaky, figures.figures)
        if title != against:
            gains = figures.less(scored[design, against]).figures
            row = replace(row, against=against, gains=gains)
        rows.append(row)
    return tuple(rows)


def _twins(result: Result) -> tuple[str, str, int]:
    """What a model with a stain step shares with the same model without."""
    cell = result.cell
    return cell.model, cell.design.text, cell.seed


def title_of(result: Result) -> str:
    """The model's name as a reader should see it."""
    cell = result.cell
    stain = "" if cell.stain == BASELINE else f", {cell.stain}"
    return f"{cell.model}{stain}"


def _lines(cell: Cell) -> str:
    """A model over its stain step, where it has one, and its seed."""
    stain = "" if cell.stain == BASELINE else f"{cell.stain}, "
    return f"{cell.model}\n{stain}seed {cell.seed}"


def _fields(result: Result, evaluation: Evaluation) -> dict[str, object]:
    cell, protocol = result.cell, result.predictions.provenance.protocol
    row: dict[str, object] = {
        "model": cell.model,
        "vote": cell.vote or "",
        "stain": cell.stain,
        "protocol": protocol.name,
        "leaky": protocol.leaky,
        "seed": cell.seed,
        "level": evaluation.level,
        "images": evaluation.images,
        "patients": evaluation.patients,
        "seconds": result.seconds,
    }
    for each in headline_figures(evaluation):
        row |= {each.metric: each.value, f"{each.metric} low": each.low}
        row[f"{each.metric} high"] = each.high
    return row


def write_study(found: StudyResult, folder: StrPath) -> tuple[Path, Path]:
    """Write ``study.html`` and ``study.csv`` into ``folder``; their paths.

    A study of stain steps has a ``stain-effects.csv`` beside them, one of several seeds a
    ``draws.csv``.

    Raises:
        EosinError: no cell could be done; the sentence has the first reason.
    """
    meter = leakage_rows(found.results, resamples=found.study.config.resamples)
    return write_measured_study(found, meter, folder)


def write_measured_study(
    found: StudyResult, meter: Sequence[MeterRow], folder: StrPath
) -> tuple[Path, Path]:
    """``write_study`` where ``leakage_rows`` has measured already what leakage adds."""
    folder, config = Path(folder), found.study.config
    if not found.results:
        raise EosinError(
            f"none of the {len(found.failures)} cells of this study could be done: "
            f"{found.failures[0][1]}; correct that and run the same command again"
        )
    table = folder / "study.csv"
    write_csv(result_frame(found.results), table)
    stains = stain_rows(found.results, resamples=config.resamples)
    if stains:
        write_csv(stain_frame(stains), folder / "stain-effects.csv")
    draws = draws_rows(found.results, resamples=config.resamples)
    if draws:
        write_csv(draws_frame(draws), folder / "draws.csv")
    settings = config.model_dump(mode="json", exclude={"root"})
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
        pages=_pages(found, folder),
    )
    rows, page = result_rows(found.results, folder), folder / "study.html"
    return write_study_page(facts, meter, rows, page, stains=stains, draws=draws), table
