"""Does a slide's answer rest on the tiles that its attention names? Deletion, as for heatmaps.

Tiles are taken out of the slide, the most attended first, and the others answer. The verdict on a
slide follows ``faithfulness``: something moves the probability of the class predicted; the
attention ranks tiles; and the probability falls further, in the mean over the shares removed, than
under every random order. On a set of slides the interval of the mean area between both decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.estimate import Estimate
from eosin.artefacts.run import FoldsRun
from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.weights import Weights
from eosin.explanation.faithfulness import DEFAULT_THRESHOLDS
from eosin.explanation.faithfulness_table import Finding
from eosin.inference.bags import answer_slides, ranks, slide_chances
from eosin.inference.images import select_split
from eosin.inference.readings import gathered
from eosin.inference.scoring import PredictOptions, score_batches

if TYPE_CHECKING:
    import pandas as pd

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile
    from eosin.spread import Spread

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)  # of a slide's tiles, removed; one at least, never all
DRAWS = 10  # random orders: a blind attention beats them all in one case of eleven


@dataclass(frozen=True, eq=False)
class ExplainedSlides:
    """The attention of slides and how far to believe it.

    ``rows`` is a row a slide: its path and patient, its tiles, the class predicted (``target``) and
    its probability; the mean probability without the most attended tiles (``attended``) and without
    random ones (``chance``), their difference (``area``), how far any removal moved it (``span``),
    the share of random orders under which it fell as far (``random_as_good``), and the ``finding``.
    """

    rows: pd.DataFrame
    attention: pd.DataFrame  # a row a tile, as ``answer_slides`` gives it
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def estimates(self) -> tuple[Estimate, Estimate]:
        """Mean area, and share of slides that beat chance, with intervals over patients.

        Of the slides in which there is something to explain.
        """
        told = self.rows[self.rows["finding"] != Finding.NOTHING]
        beat = told["finding"] == Finding.FAITHFUL
        patients = told["patient"].tolist()
        return (
            _mean("attention_area", told["area"].to_numpy(float), patients),
            _mean("attention_beats_random", beat.to_numpy(float), patients),
        )

    @property
    def verdict(self) -> str:
        """The verdict on the set, with its reason and figures."""
        area, beat = self.estimates
        found, total = set(self.rows["finding"]), len(self.rows)
        if area.value is None or beat.value is None:
            return f"not faithful: {Finding.NOTHING} in {total} slides, whatever is removed"
        if found <= {Finding.FLAT, Finding.NOTHING}:
            return "not faithful: all tiles of a slide weigh alike"
        said = (
            f"{area}; {round(beat.value * area.images)} of {area.images} slides beat all {DRAWS} "
            f"random orders, {total - area.images} had nothing to explain"
        )
        if area.low is not None and area.low > 0:
            return f"faithful: {said}"
        return f"not faithful: {Finding.RANDOM}: {said}"


def explain_slides(
    run: Run,
    images: Manifest,
    options: PredictOptions | None = None,
    *,
    seed: int = 0,
    spread: Spread | None = None,
) -> ExplainedSlides:
    """Attention of every slide of a split and what removing tiles does.

    Of a Run of folds on its own manifest each fold answers for the slides that it never met.

    Args:
        run: answers for slides.
        images: tiles, whose column ``slide`` names the slide of each.
        options: split, device, engine and so on.
        seed: of the random orders.
        spread: scores tiles; None for this process.

    Raises:
        DataError, ModelError: as ``predict``.
    """
    import pandas as pd

    options = options or PredictOptions()
    skipped: list[SkippedFile] = []
    rows: list[pd.DataFrame] = []
    tables: list[pd.DataFrame] = []
    own = isinstance(run.record, FoldsRun) and images.fingerprint == run.record.fingerprint
    for each in run.open_members() if own else (run,):
        chosen = select_split(each, images, options.split)[0]
        found = gathered(score_batches(each, chosen, options, spread=spread))
        skipped += found.skipped
        if not len(found.indices):
            why = f"{found.skipped[0].path}: {found.skipped[0].reason}"
            raise DataError(f"none of the {len(chosen)} tiles could be read: {why}")
        slides = answer_slides(each, found, chosen.frame)
        seen = slides.rows["patient"].isin(each.record.seen_patients)
        known = slides.rows[["path", "patient"]].assign(seen=seen)
        rows.append(known.join(score_slides(each, found.values, slides.number, seed=seed)))
        tables.append(slides.attention)
    attention = pd.concat(tables, ignore_index=True)
    return ExplainedSlides(pd.concat(rows, ignore_index=True), attention, tuple(skipped))


def score_slides(run: Run, values: Floats, slide: Ints, *, seed: int = 0) -> pd.DataFrame:
    """The measures of each slide and the verdict on it; arguments as ``slide_chances``."""
    import pandas as pd

    whole, random = slide_chances(run, values, slide), np.random.default_rng(seed)
    target, count = whole.slides.argmax(axis=1), np.bincount(slide)
    orders = [whole.attention, *random.random((DRAWS, len(slide)))]
    ranked = [ranks(order, slide, ties=random.random(len(slide))) for order in orders]
    left = np.empty((len(orders), len(SHARES), len(count)))
    for row, rank in enumerate(ranked):
        for column, share in enumerate(SHARES):
            kept = rank >= np.minimum(np.ceil(share * count - 1e-9), count - 1)[slide]
            chances = slide_chances(run, values[kept], slide[kept]).slides
            left[row, column] = chances[np.arange(len(count)), target]
    begun = whole.slides.max(axis=1)
    most, least = np.maximum(left.max((0, 1)), begun), np.minimum(left.min((0, 1)), begun)
    attended, *chance = left.mean(axis=1)
    heaviest = np.zeros(len(count))
    np.maximum.at(heaviest, slide, whole.attention)
    frame = pd.DataFrame(
        {
            "tiles": count,
            "target": np.array(run.record.task.classes)[target],
            "probability": begun,
            "attended": attended,
            "chance": np.mean(chance, axis=0),
            "area": np.mean(chance, axis=0) - attended,
            "span": most - least,
            "random_as_good": np.mean(np.array(chance) <= attended, axis=0),
        }
    )
    finding = np.where(frame["random_as_good"] > 0, Finding.RANDOM, Finding.FAITHFUL)
    finding = np.where(heaviest < 1 / count + 1e-9, Finding.FLAT, finding)
    nothing = frame["span"] < DEFAULT_THRESHOLDS.span
    return frame.assign(finding=np.where(nothing, Finding.NOTHING, finding))


def _mean(metric: str, values: Floats, patients: list[str]) -> Estimate:
    if not len(values):
        return Estimate(None, None, None, 0, 0, metric, note="no slide with anything to explain")
    names, column = patient_columns(patients, patients)
    value, count = float(np.mean(values)), (len(values), len(names))
    if len(names) < 2:
        return Estimate(value, None, None, *count, metric, note="one patient has no interval")
    drawn = Bootstrap()
    interval = drawn.interval(Weights(column, drawn.weights(names)).mean(values))
    return Estimate(value, interval.low, interval.high, *count, metric)
