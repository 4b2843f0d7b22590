"""The verdict on one map: believe it or not, and why.

A map is faithful when all of this holds, asked in this order:

1. It ranks: not one value everywhere.
2. There is something to explain. Some tissue taken away moves the probability of the class by at
   least 0.05 (``Thresholds.span``), and by more than twice what it moves in the same network
   before any training: a map of a network that learned nothing explains nothing, however well it
   agrees with that network.
3. It beats chance. Its gap (insertion less deletion area) is larger than that of every random map
   as smooth as itself, negatives included. A map drawn blindly passes in about one case of
   ``2 n + 1``: one of eleven with the default of ``n = 5``, somewhat more often when it is a single
   smooth blob. A set of maps is judged more sharply by the interval of its mean gap.
4. It beats a blob in the middle, which is one more map that knows nothing.
5. It depends on what was learned. With the head, then everything, drawn anew, the map's ranks may
   share less than half of their variance with the first one's: correlation under 0.71 on average.

Stability and localisation are reported beside the verdict and do not decide it: a network may
truly look elsewhere in a mirrored image, or in the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from eosin.explanation.faithfulness_table import Finding

if TYPE_CHECKING:
    from eosin.explanation.perturbation import PerturbationResult
    from eosin.explanation.randomisation import Randomised

    Fault = tuple[Finding, str]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the verdict turns."""

    span: float = 0.05  # least movement of the class probability worth a map, in [0, 1]
    span_ratio: float = 2.0  # least movement as a multiple of the largest in untrained networks
    as_good: float = 0.0  # largest share of the random maps that may do as well, in [0, 1)
    # rank correlation at which a randomised network's map counts as the same
    unchanged: float = sqrt(0.5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to believe a map."""

    finding: Finding  # why, or why not
    # the same in words with the figures, e.g. ``"faithful: deletion AUC 0.31 against random 0.55,
    # insertion 0.72; their gap of 0.41 beats all 10 random maps"``
    sentence: str

    @property
    def faithful(self) -> bool:
        """Believe it."""
        return self.finding is Finding.FAITHFUL


DEFAULT_THRESHOLDS = Thresholds()


def judge(
    result: PerturbationResult,
    randomised: Randomised | None = None,
    *,
    untrained_span: float = 0.0,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Verdict:
    """Weigh what removing tissue and re-initialising weights did; see the top of this file.

    Args:
        result: the curves of the map and of blind ones.
        randomised: what is left of the map in randomised networks; None where it was not tried,
            which the sentence says.
        untrained_span: how far untrained networks move when tissue is removed.
        thresholds: where the verdict turns.
    """
    fault = (
        _nothing_to_explain(result, untrained_span, thresholds)
        or _no_better_than_blind(result, thresholds)
        or _unmoved(randomised, thresholds)
    )
    if fault:
        return Verdict(fault[0], f"not faithful: {fault[1]}")
    untried = "" if randomised else "; not tried on a randomised network"
    said = f"faithful: {_figures(result)}; {_lead(result)}{untried}"
    return Verdict(Finding.FAITHFUL, said)


def _nothing_to_explain(
    result: PerturbationResult, untrained_span: float, thresholds: Thresholds
) -> Fault | None:
    if result.flat:
        return Finding.FLAT, "the map has one value everywhere"
    if result.span < thresholds.span:
        return (
            Finding.NOTHING,
            "nothing to explain, the class probability moves by no more than "
            f"{result.span:.2f} whatever is removed",
        )
    if result.span < thresholds.span_ratio * untrained_span:
        return (
            Finding.NOTHING,
            f"nothing learned to explain, the class probability moves by {result.span:.2f}, in "
            f"untrained networks by {untrained_span:.2f}",
        )
    return None


def _no_better_than_blind(result: PerturbationResult, thresholds: Thresholds) -> Fault | None:
    gap = result.heatmap.gap
    if gap <= 0:
        return Finding.RANDOM, f"no better than random ({_figures(result)})"
    if result.random_as_good > thresholds.as_good:
        total = len(result.random_gaps)
        lucky = round(result.random_as_good * total)
        said = f"{lucky} of {total} random maps did as well or better ({_figures(result)})"
        return Finding.RANDOM, said
    if gap <= result.centre.gap:
        return (
            Finding.CENTRE,
            f"no better than a blob in the middle (deletion AUC {result.heatmap.deletion_auc:.2f} "
            f"against {result.centre.deletion_auc:.2f}, insertion "
            f"{result.heatmap.insertion_auc:.2f} against {result.centre.insertion_auc:.2f})",
        )
    return None


def _unmoved(randomised: Randomised | None, thresholds: Thresholds) -> Fault | None:
    if randomised is None:
        return None
    for part, similarity in (("head", randomised.head), ("network", randomised.whole)):
        if similarity >= thresholds.unchanged:
            return (
                Finding.UNCHANGED,
                f"the map does not change when the {part} is randomised "
                f"(rank correlation {similarity:.2f})",
            )
    return None


def _lead(result: PerturbationResult) -> str:
    """Why the map passed; deletion or insertion alone may fall behind random ones."""
    total = len(result.random_gaps)
    beaten = total - round(result.random_as_good * total)
    many = f"all {total}" if beaten == total else f"{beaten} of {total}"
    return f"their gap of {result.heatmap.gap:.2f} beats {many} random maps"


def _figures(result: PerturbationResult) -> str:
    return (
        f"deletion AUC {result.heatmap.deletion_auc:.2f} against random {result.random_auc:.2f}, "
        f"insertion {result.heatmap.insertion_auc:.2f}"
    )
