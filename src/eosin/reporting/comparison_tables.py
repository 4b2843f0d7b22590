"""The tables of a Comparison: ranks, measures, pairs of models, mistakes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, counted, per_cent

if TYPE_CHECKING:
    from eosin.artefacts.comparison import Comparison, PairTest
    from eosin.artefacts.estimate import Level


def ranking_table(comparison: Comparison, metric: str) -> Table:
    """The models by rank, each with its figure and its difference to the first of all."""
    ranking = comparison.ranking(metric)
    best = ranking[0].model
    several = len({p.protocol.name for p in comparison.provenance.values()}) > 1
    rows = []
    for ranked in ranking:
        behind = (
            "–"
            if ranked.model == best
            else cell(comparison.difference(ranked.model, best, metric), signed=True)
        )
        row = [ranked.model, str(ranked.rank), cell(comparison.value(ranked.model, metric)), behind]
        if several:
            row.append(comparison.provenance[ranked.model].protocol.name)
        rows.append(tuple(row))
    meaning = GLOSSARY[metric]
    columns = ["Model", "Rank", meaning.title, "Minus the first\nmodel here"]
    columns += ["Protocol"] if several else []
    return Table(f"By {meaning.name}.", tuple(columns), tuple(rows), frozenset({1, 2, 3}))


def model_table(comparison: Comparison) -> Table:
    """What each model is: protocol, Run folder, and images left out."""
    rows = []
    for name, provenance in comparison.provenance.items():
        runs = ", ".join(Path(run).name for run in provenance.runs) or "–"
        left_out = f"{comparison.left_out[name]:,}"
        rows.append((name, provenance.protocol.name, provenance.split, runs, left_out))
    columns = ("Model", "Protocol", "Scored", "Run folder", "Images left out")
    caption = "Images left out are those that not all tables have."
    return Table(caption, columns, tuple(rows), frozenset({4}))


def measure_table(comparison: Comparison) -> Table:
    """Every measure of the whole, a column each; a row a model, the most accurate first."""
    metrics = comparison.metrics
    rows = tuple(
        (ranked.model, *(cell(comparison.value(ranked.model, metric)) for metric in metrics))
        for ranked in comparison.ranking()
    )
    columns = ("Model", *(_heading(metric) for metric in metrics))
    caption = "All measures, each with its own 95 % interval. To compare two models, see Pairs."
    return Table(caption, columns, rows, frozenset(range(1, len(columns))))


def pair_table(comparison: Comparison, *, best_only: bool = False) -> Table:
    """The tests of every pair, or of those with the most accurate model; that one comes first."""
    tests = {(test.first, test.second, test.unit): test for test in comparison.tests}
    rows = []
    units: tuple[Level, ...] = ("patient", "image") if comparison.patients_known else ("image",)
    pairs = _pairs(comparison)
    if best_only:
        pairs = [pair for pair in pairs if pair[0] == pairs[0][0]]
    for first, second in pairs:
        row = [
            f"{first}\nagainst {second}",
            cell(comparison.difference(first, second), signed=True),
        ]
        for unit in units:
            row += _tested(tests, first, second, unit)
        rows.append(tuple(row))
    columns = ["Pair", GLOSSARY["accuracy"].title]
    if comparison.patients_known:
        columns += ["Patients\nof whom one gets more right", "p by patient\nsign flips"]
    columns += ["Images\nthat one alone gets right", "p by image\nMcNemar"]
    caption = (
        "First minus second, and exact tests; in small print p corrected for all pairs (Holm). "
        "Where p by patient and p by image disagree, believe the patients: the images of one are "
        "not independent."
        if comparison.patients_known
        else "First minus second, and McNemar's exact test; in small print p corrected for all "
        "pairs (Holm)."
    )
    return Table(caption, tuple(columns), tuple(rows), frozenset(range(1, len(columns))))


def difference_table(comparison: Comparison) -> Table:
    """The difference of every measure for every pair, the more accurate model first."""
    metrics = comparison.metrics
    rows = []
    for first, second in _pairs(comparison):
        changes = [comparison.difference(first, second, metric) for metric in metrics]
        cells = [cell(change, signed=True, starred=True) for change in changes]
        rows.append((f"{first}\nminus {second}", *cells))
    columns = ("Pair", *(_heading(metric) for metric in metrics))
    caption = "Every difference with its paired 95 % interval; a star where that excludes zero."
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def mistake_table(comparison: Comparison) -> Table:
    """How many images each model gets wrong, and how many of these no other model does."""
    mistakes, images = comparison.mistakes, comparison.images
    rows = tuple(
        (name, f"{wrong:,}", per_cent(wrong / images), f"{alone:,}")
        for name, wrong, alone in zip(
            comparison.models, mistakes.wrong, mistakes.wrong_alone, strict=True
        )
    )
    columns = ("Model", "Wrong", "Share", "Wrong alone")
    caption = f"Of {counted(images, 'image')}; wrong alone: all other models get these right."
    return Table(caption, columns, rows, frozenset({1, 2, 3}))


def p_value(p: float) -> str:
    """Three decimals, and ``<0.001`` below that."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _pairs(comparison: Comparison) -> list[tuple[str, str]]:
    return list(combinations((ranked.model for ranked in comparison.ranking()), 2))


def _tested(
    tests: dict[tuple[str, str, Level], PairTest], first: str, second: str, unit: Level
) -> list[str]:
    if (first, second, unit) in tests:
        test = tests[first, second, unit]
        ahead, behind = test.first_better, test.second_better
    else:
        test = tests[second, first, unit]
        ahead, behind = test.second_better, test.first_better
    return [f"{ahead:,} : {behind:,}", f"{p_value(test.p)}\ncorrected {p_value(test.p_holm)}"]


def _heading(metric: str) -> str:
    meaning = GLOSSARY[metric]
    return meaning.title + ("\nlower is better" if meaning.better == "lower" else "")
