"""Score heatmaps of a Run: every check of faithfulness, one row a map, one image in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from eosin.arrays import Bools, Floats, MapValues
from eosin.data.synthetic import mask_path
from eosin.errors import ConfigError, DataError
from eosin.evaluation.calibration import Around
from eosin.explanation.faithfulness import DEFAULT_THRESHOLDS, Thresholds, judge
from eosin.explanation.faithfulness_table import FaithfulnessRow, summarise, write_faithfulness
from eosin.explanation.localisation import Localisation, localisation
from eosin.explanation.perturbation import (
    PerturbationOptions,
    PerturbationResult,
    half_removed,
    perturb,
)
from eosin.explanation.randomisation import (
    Randomised,
    RandomTwins,
    Stability,
    random_twins,
    stability,
    surviving,
)
from eosin.networks.torch_engine import TorchEngine
from eosin.pixels.preprocessing import normalise, resize, view
from eosin.pixels.reading import UInt8Image, read_image
from eosin.settings import checked_options

if TYPE_CHECKING:
    from eosin.networks.classifier import Classifier
    from eosin.networks.run import Network, Run
    from eosin.pixels.stain_normalizer import Source

__all__ = [
    "FaithfulnessRow",
    "MapToScore",
    "Remap",
    "ScoreOptions",
    "score_maps",
    "summarise",
    "write_faithfulness",
]

# A network, images and the class of each, to one map (h, w) an image.
Remap: TypeAlias = Callable[
    ["Classifier", Sequence[UInt8Image], Sequence[int]], Sequence[MapValues]
]


@checked_options
@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What to check, and how thoroughly.

    Attributes:
        perturbation: how tissue is removed.
        randomisations: random heads and random networks drawn; 0 leaves out what needs them.
        stability: whether to map mirrored and restained copies.
        thresholds: where the verdict turns.
        seed: of the random networks.

    Raises:
        ConfigError: the count is negative.
    """

    perturbation: PerturbationOptions = field(default_factory=PerturbationOptions)
    randomisations: int = 2
    stability: bool = True
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.randomisations < 0:
            raise ConfigError(f"{self.randomisations} randomisations: want 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class MapToScore:
    """A heatmap and what it claims to explain."""

    path: Path  # the image's file; its true region is looked up beside synthetic ones
    image: UInt8Image  # its RGB bytes (H, W, 3)
    # (h, w), any size, laid over what the preprocessing keeps of the image: all of it, or with the
    # fit ``"crop"`` its middle square. Higher matters more
    heatmap: MapValues
    target: int  # index of the class explained
    method: str = "gradcam"  # how the map was made
    # the stain of the image's patient, for a stain step that goes by patient
    source: Source | None = None
    # how logits become probabilities, where neighbours on the slide count, which stay as they are
    around: Around | None = None


def score_maps(
    network: Network,
    items: Iterable[MapToScore],
    options: ScoreOptions | None = None,
    *,
    remap: Remap | None = None,
) -> Iterator[FaithfulnessRow]:
    """Score maps of a network, one at a time.

    Images are perturbed as the network sees them: brought to its stain and size once, then filled,
    so that what is removed is removed from the very pixels that the network meets.

    Args:
        network: in PyTorch: the checks draw random twins of it.
        items: the maps, read as they are needed; all of the method that ``remap`` uses.
        options: what to check.
        remap: draws maps for other networks and images; without it randomisation and stability
            are left out, and the verdict says so.

    Raises:
        ConfigError: at once, where the network is a graph.
        DataError: a map is not a finite matrix, or names a class that the Run does not have.
    """
    classifier, options = require_weights(network), options or ScoreOptions()
    judged = _Judged(network.run, classifier, options, remap)
    return (_score(judged, item, network.name) for item in items)


def require_weights(network: Network) -> Classifier:
    """The network in PyTorch; ConfigError where it is a graph, which cannot be scored."""
    if not isinstance(network.engine, TorchEngine):
        raise ConfigError(
            f"{network.run.folder}: the checks of faithfulness need PyTorch and the original Run; "
            "leave out --score, or give the Run that it was exported from"
        )
    return network.engine.classifier


class _Judged:
    """A network and its random twins, made once for all images."""

    def __init__(
        self, run: Run, classifier: Classifier, options: ScoreOptions, remap: Remap | None
    ) -> None:
        self.record, self.classifier = run.record, classifier
        self.options, self.remap = options, remap
        self.twins: RandomTwins = random_twins(
            classifier,
            classes=len(run.record.task.classes),
            draws=options.randomisations,
            seed=options.seed,
        )

    def chances(
        self, images: Sequence[UInt8Image], *, item: MapToScore, network: Classifier | None = None
    ) -> Floats:
        """Calibrated probability of a class in n images, (n,), here or in a twin."""
        import torch

        network = network or self.classifier
        device = next(network.parameters()).device
        spec, around = self.record.preprocessing, item.around or Around(self.record.temperature)
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack([normalise(image, spec) for image in images]))
            logits = network(pixels.to(device).contiguous(memory_format=torch.channels_last))
            answer: Floats = around.chances(logits.cpu().double().numpy())[:, item.target]
        return answer

    def untrained_span(self, image: UInt8Image, item: MapToScore) -> float | None:
        """How far removing half or all of an image moves the class in untrained networks."""
        images = half_removed(image, self.options.perturbation.fill)
        spans = [
            float(np.ptp(self.chances(images, item=item, network=twin)))
            for twin in self.twins.whole
        ]
        return max(spans, default=None)

    def survival(self, image: UInt8Image, item: MapToScore) -> Randomised | None:
        """What is left of a map in the twins."""
        remap = self.remap
        if remap is None or not self.twins.whole:
            return None
        heads, whole = (
            [remap(twin, [image], [item.target])[0] for twin in twins]
            for twins in (self.twins.heads, self.twins.whole)
        )
        cells = self.options.perturbation.cells
        return surviving(item.heatmap, head_maps=heads, whole_maps=whole, cells=cells)

    def steadiness(self, image: UInt8Image, item: MapToScore) -> Stability | None:
        """How a map holds in altered images."""
        remap = self.remap
        if remap is None or not self.options.stability:
            return None

        def again(images: Sequence[UInt8Image]) -> Sequence[MapValues]:
            return remap(self.classifier, images, [item.target] * len(images))

        return stability(image, item.heatmap, again, cells=self.options.perturbation.cells)


@dataclass(frozen=True, slots=True)
class _Findings:
    """What each check found of one map; None where it was not tried."""

    perturbation: PerturbationResult
    untrained_span: float | None
    survival: Randomised | None
    steadiness: Stability | None
    location: Localisation | None


def _score(judged: _Judged, item: MapToScore, model: str) -> FaithfulnessRow:
    classes = judged.record.task.classes
    if not 0 <= item.target < len(classes):
        raise DataError(f"{item.path}: no class number {item.target} among {list(classes)}")
    image = view(item.image, judged.record.preprocessing, source=item.source)
    try:
        result = perturb(
            image,
            item.heatmap,
            partial(judged.chances, item=item),
            options=judged.options.perturbation,
        )
    except DataError as error:
        raise DataError(f"{item.path}: {error}") from error
    found = _Findings(
        perturbation=result,
        untrained_span=judged.untrained_span(image, item),
        survival=judged.survival(image, item),
        steadiness=judged.steadiness(image, item),
        location=_location(judged, item),
    )
    return _row(judged, item, model, found)


def _location(judged: _Judged, item: MapToScore) -> Localisation | None:
    mask = true_region(item.path)
    if mask is None:
        return None
    if mask.shape != item.image.shape[:2]:
        raise DataError(
            f"{mask_path(item.path)}: {mask.shape} does not fit its image {item.image.shape[:2]}; "
            "draw the synthetic images again"
        )
    as_image = np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, axis=2)
    kept = resize(as_image, judged.record.preprocessing)[:, :, 0] > 127
    return localisation(item.heatmap, kept)


def true_region(path: Path) -> Bools | None:
    """The mask (H, W) that ``eosin data synthetic`` put beside an image; None without one.

    Raises:
        DataError: there is a mask and it cannot be read.
    """
    if path.parent.name != "images" and path.parent.parent.name != "HE":
        return None
    mask = mask_path(path)
    return read_image(mask)[:, :, 0] > 127 if mask.is_file() else None


def _row(judged: _Judged, item: MapToScore, model: str, found: _Findings) -> FaithfulnessRow:
    result, survival = found.perturbation, found.survival
    steadiness, location = found.steadiness, found.location
    verdict = judge(
        result,
        survival,
        untrained_span=found.untrained_span or 0.0,
        thresholds=judged.options.thresholds,
    )
    return FaithfulnessRow(
        path=item.path,
        model=model,
        method=item.method,
        target=judged.record.task.classes[item.target],
        probability=float(result.heatmap.deletion[0]),
        deletion_auc=result.heatmap.deletion_auc,
        deletion_random=result.random_auc,
        deletion_centre=result.centre.deletion_auc,
        insertion_auc=result.heatmap.insertion_auc,
        insertion_random=result.random_auc,
        insertion_centre=result.centre.insertion_auc,
        gap=result.heatmap.gap,
        random_as_good=result.random_as_good,
        span=result.span,
        untrained_span=found.untrained_span,
        randomised_head_similarity=survival.head if survival else None,
        randomised_all_similarity=survival.whole if survival else None,
        flip_stability=steadiness.flips if steadiness else None,
        stain_stability=steadiness.stains if steadiness else None,
        pointing=location.pointing if location else None,
        energy=location.energy if location else None,
        mask_auc=location.auc if location else None,
        mask_area=location.area if location else None,
        faithful=verdict.faithful,
        finding=verdict.finding,
        verdict=verdict.sentence,
    )
