"""Heatmaps of a study: every network of one protocol side by side on a few test images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.explanation.explain import ExplainOptions, explain
from eosin.inference.images import select_split
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.study.cells import divide
from eosin.study.kept import make_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run
    from eosin.study.cells import Result
    from eosin.study.plan import Cell

    Group = tuple[str, int, str]


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
