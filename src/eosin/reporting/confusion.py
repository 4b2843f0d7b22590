"""Confusion matrices as shaded tables: every cell is text, so that it can be read and copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Ints


@dataclass(frozen=True)
class Cell:
    """One cell: its text, how dark it is in per cent, and whether it lies on the diagonal."""

    text: str
    shade: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix ready for the page: true classes down, predicted ones across."""

    title: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def count_matrix(counts: Ints, classes: Sequence[str], *, suffix: str = "") -> Matrix:
    """Images in each (true, predicted) cell, shaded by their share of the fullest cell."""
    fullest = max(int(counts.max()), 1)
    rows = [
        (name, tuple(Cell(f"{n:,}", round(100 * n / fullest), i == j) for j, n in enumerate(row)))
        for i, (name, row) in enumerate(zip(classes, counts.tolist(), strict=True))
    ]
    return Matrix(f"Images{suffix}", tuple(classes), tuple(rows))


def row_matrix(counts: Ints, classes: Sequence[str], *, suffix: str = "") -> Matrix:
    """Share of each true class in each cell: the diagonal is the recall. Empty rows show a dash."""
    rows = []
    for i, (name, row) in enumerate(zip(classes, counts.tolist(), strict=True)):
        total = sum(row)
        cells = [
            Cell(
                f"{n / total:.3f}" if total else "–", round(100 * n / total) if total else 0, i == j
            )
            for j, n in enumerate(row)
        ]
        rows.append((name, tuple(cells)))
    return Matrix(f"Share of each true class{suffix}", tuple(classes), tuple(rows))
