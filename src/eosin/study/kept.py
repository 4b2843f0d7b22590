"""Reports, comparisons and heatmaps of finished cells, made again only where those changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import write_artefact
from eosin.artefacts.study import MadeFrom, read_made_from
from eosin.evaluation.compare import compare_predictions
from eosin.explanation.explain import ExplainOptions, explain
from eosin.files import sha256_of
from eosin.inference.images import select_split
from eosin.networks.run import PREDICTIONS_NAME
from eosin.reporting.comparison_page import write_comparison
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.reporting.report import write_report
from eosin.study.cells import divide
from eosin.study.table import REPORT_NAME, title_of
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run
    from eosin.study.cells import Result
    from eosin.study.plan import Cell

    Group = tuple[str, int, str]

_STAMP = "made-from.json"


def make_once(folder: Path, facts: Mapping[str, object], make: Callable[[], object]) -> bool:
    """Run ``make``, which fills ``folder``, unless it is full of what ``facts`` give already.

    Whatever stops ``make`` leaves no proof behind, so that the next call makes it again.

    Args:
        folder: where ``make`` writes.
        facts: all that its result depends on, as plain JSON values.
        make: writes into ``folder``.

    Returns:
        whether it had to be made.
    """
    stamp = folder / _STAMP
    made_from = MadeFrom.model_validate({"facts": dict(facts)})
    if read_made_from(stamp) == made_from:
        return False
    stamp.unlink(missing_ok=True)
    make()
    write_artefact(made_from, stamp)
    return True


def report_cell(result: Result, folder: Path) -> Path:
    """Write the report of a finished cell beside its predictions, once; the path of the page.

    ``folder`` is that of the study.
    """
    home = folder / "cells" / result.cell.name
    page, table = home / REPORT_NAME, sha256_of(home / PREDICTIONS_NAME)
    make_once(
        home,
        {"predictions": table, "eosin": __version__},
        lambda: write_report(result.run, result.predictions, page, evaluation=result.image),
    )
    return page


def comparison_groups(results: Sequence[Result]) -> list[list[Result]]:
    """The models and ensembles, of every stain step, that share a protocol and a seed."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.cell.design.text, result.cell.seed), []).append(result)
    return [group for group in groups.values() if len(group) > 1]


def compare_group(group: Sequence[Result], folder: Path, *, resamples: int) -> Path:
    """Compare finished cells of one protocol and seed, once; see ``write_comparison``.

    Args:
        group: as ``comparison_groups`` gives it.
        folder: of the study.
        resamples: bootstrap draws of patients.

    Returns:
        the folder written, ``comparisons/<protocol>/seed-<seed>``.

    Raises:
        DataError: the cells scored no image in common.
    """
    first = group[0].cell
    out = folder / "comparisons" / first.design.slug / f"seed-{first.seed}"
    cells = {title_of(result): folder / "cells" / result.cell.name for result in group}
    tables = {title: sha256_of(cell / PREDICTIONS_NAME) for title, cell in cells.items()}

    def make() -> None:
        found = {title_of(result): result.predictions for result in group}
        runs = {title: [cell / "run"] for title, cell in cells.items()}
        write_comparison(compare_predictions(found, resamples=resamples), out, runs=runs)

    make_once(out, {"predictions": tables, "resamples": resamples}, make)
    return out


def heatmap_groups(results: Sequence[Result]) -> list[list[Result]]:
    """The single networks that share a protocol, a seed and a stain step."""
    groups: dict[Group, list[Result]] = {}
    for result in results:
        cell = result.cell
        if cell.vote is None:
            groups.setdefault((cell.design.text, cell.seed, cell.stain), []).append(result)
    return list(groups.values())


def draw_heatmaps(
    group: Sequence[Result], manifest: Manifest, folder: Path, *, images: int
) -> Path:
    """Write panels of ``images`` test images, the group's networks side by side, and merged maps.

    What is drawn already is kept, unless a network or the number of images has changed.

    Where the protocol has folds, the networks that held out the first fold are drawn, on images of
    that fold: none of them was trained on these images.

    Args:
        group: finished cells of one protocol, seed and stain step.
        manifest: the study's images, undivided.
        folder: where the pictures go, in a folder of the protocol's own.
        images: how many, evenly taken from the test split.

    Returns:
        The folder written.
    """
    runs, cell = [_first(result.run) for result in group], group[0].cell
    out = (folder / cell.name).parent
    records = {result.cell.name: result.run.sha256 for result in group}
    make_once(
        out,
        {"runs": records, "images": images},
        lambda: _draw(runs, cell, manifest, out, images=images),
    )
    return out


def _draw(runs: Sequence[Run], cell: Cell, manifest: Manifest, out: Path, *, images: int) -> None:
    divided = divide(manifest, cell.design, cell.seed)
    chosen, _, _ = select_split(runs[0], divided, "test")
    rows = np.linspace(0, len(chosen) - 1, min(images, len(chosen))).astype(int)
    wanted = chosen.where(np.isin(np.arange(len(chosen)), rows))
    wanted = replace(wanted, frame=wanted.frame.assign(fold=""))  # their split is settled
    write_heatmaps(explain(runs, wanted, ExplainOptions(merge=len(runs) > 1, split="test")), out)


def _first(run: Run) -> Run:
    """The Run that held out the first fold, or ``run`` where there are no folds."""
    return (run.open_members() or (run,))[0]
