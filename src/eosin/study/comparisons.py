"""Comparisons of a study: every model of one protocol on the same images, a folder each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.evaluation.compare import compare_predictions
from eosin.files import sha256_of
from eosin.networks.run import PREDICTIONS_NAME
from eosin.reporting.comparison_page import write_comparison
from eosin.study.kept import make_once
from eosin.study.table import title_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.study.cells import Result


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
