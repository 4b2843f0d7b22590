"""Deletion and insertion: the probability as highlighted tissue is removed, and as it is shown.

After Petsiuk et al. (RISE, BMVC 2018), with three changes: what is removed is filled with the
tissue's own colour instead of black, which no slide shows; whole cells of a grid are removed, as
coarse as the maps are; and random maps as smooth as the one in question say what chance alone
would reach. Nothing here knows a network: it is a function from images to a probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt

from eosin.arrays import Floats, Ints, MapValues
from eosin.errors import ConfigError, DataError
from eosin.pixels.foreign import foreign_pixels
from eosin.pixels.optical_density import LIGHT, TISSUE_DENSITY, as_bytes, optical_density
from eosin.pixels.reading import UInt8Image
from eosin.settings import checked_options

Fill = Literal["tissue", "blur"]
Chance: TypeAlias = Callable[[Sequence[UInt8Image]], Floats]

_BLUR: Final = 0.1  # standard deviation, of the shorter side: no nucleus survives


@checked_options
@dataclass(frozen=True, slots=True)
class PerturbationOptions:
    """How finely tissue is removed.

    Attributes:
        cells: side of the grid of removable cells.
        steps: removals a curve; the same share of the cells each.
        random_maps: random maps drawn; each stands for itself and for its negative, so n of them
            can show a chance of one in ``2 n + 1``.
        fill: ``"tissue"``, the mean colour of the image's tissue, or ``"blur"``.
        batch_size: images a call of the network.
        seed: of the random maps.

    Raises:
        ConfigError: a number is out of range, or the fill is unknown.
    """

    cells: int = 14
    steps: int = 10
    random_maps: int = 5
    fill: Fill = "tissue"
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.cells <= 128:
            raise ConfigError(f"a grid of {self.cells} cells a side is outside 2 to 128")
        if not 2 <= self.steps <= self.cells**2:
            raise ConfigError(
                f"{self.steps} steps do not suit {self.cells**2} cells: want 2 to {self.cells**2}"
            )
        if self.random_maps < 1:
            raise ConfigError(f"{self.random_maps} random maps: want at least 1 to compare with")
        if self.fill not in get_args(Fill):
            raise ConfigError(f"fill {self.fill!r} is unknown; want one of {list(get_args(Fill))}")
        if self.batch_size < 1:
            raise ConfigError(f"batch size {self.batch_size} must be at least 1")


@dataclass(frozen=True, slots=True)
class Curves:
    """A map's two curves: the class probability as its cells go, and as they come."""

    share: Floats  # of the cells removed or shown so far, (steps + 1,), 0 to 1
    deletion: Floats  # probability with the highest-ranked share removed, (steps + 1,)
    insertion: Floats  # probability with only that share shown, (steps + 1,)

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, in [0, 1]; low where the map is right."""
        return _area(self.share, self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, in [0, 1]; high where the map is right."""
        return _area(self.share, self.insertion)

    @property
    def gap(self) -> float:
        """Insertion less deletion area, in [-1, 1]: 0 for a map that knows nothing.

        A map's negative has the two curves swapped and reversed, so exactly the opposite gap.
        """
        return self.insertion_auc - self.deletion_auc


@dataclass(frozen=True, slots=True)
class PerturbationResult:
    """What removing tissue did, by one map and by blind ones."""

    heatmap: Curves  # curves of the map in question
    centre: Curves  # curves of a blob in the middle
    random: tuple[Curves, ...]  # curves of the random maps
    flat: bool  # whether the map has one value only, and so ranks nothing
    span: float  # largest less smallest probability over every image tried, in [0, 1]

    @property
    def random_auc(self) -> float:
        """Mean area under random maps' curves; deletion and insertion share it by symmetry."""
        return float(np.mean([(c.deletion_auc + c.insertion_auc) / 2 for c in self.random]))

    @property
    def random_gaps(self) -> Floats:
        """Gaps of the random maps and of their negatives, (2 random_maps,)."""
        gaps = np.array([curves.gap for curves in self.random])
        return np.concatenate([gaps, -gaps])

    @property
    def random_as_good(self) -> float:
        """Share of the random maps, negatives included, whose gap is at least the map's."""
        return float(np.mean(self.random_gaps >= self.heatmap.gap))


def perturb(
    image: UInt8Image, heatmap: MapValues, chance: Chance, *, options: PerturbationOptions
) -> PerturbationResult:
    """Remove and restore an image's tissue in the order of a map, and of blind maps.

    Calls ``chance`` with ``2 + 2 (steps - 1) (random_maps + 2)`` images in all.

    Args:
        image: (H, W, 3) RGB bytes.
        heatmap: (h, w), any size, laid over the whole image; higher matters more.
        chance: probabilities (n,) of the class in n images.
        options: how finely.

    Raises:
        DataError: the map is not a finite matrix, or the image is smaller than the grid.
    """
    if min(image.shape[:2]) < options.cells:
        raise DataError(
            f"image {image.shape[:2]} is smaller than a grid of {options.cells} cells; "
            "ask for fewer cells"
        )
    generator = np.random.default_rng(options.seed)
    values = on_grid(heatmap, options.cells)
    fields = [smooth_random_map(values, generator) for _ in range(options.random_maps)]
    blind = [centre_blob(values.shape), *fields]
    # Cells of one value come in a smooth random order: they are no less smooth than the rest.
    orders = [_order(values, ties=smooth_random_map(values, generator))]
    orders += [_order(field, ties=field) for field in blind]
    responses = _responses(image, orders, chance, options)
    curves = _as_curves(responses, len(orders), options)
    return PerturbationResult(
        heatmap=curves[0],
        centre=curves[1],
        random=tuple(curves[2:]),
        flat=bool(np.ptp(values) == 0),
        span=float(np.ptp(responses)),
    )


def filled(image: UInt8Image, fill: Fill) -> UInt8Image:
    """What stands where tissue is removed, (H, W, 3).

    ``"tissue"``: the mean optical density of what absorbs at least 0.15 and is neither black nor
    ink, so the mean of the dyes and not of the bytes; of all pixels where there is no tissue.
    ``"blur"``: a Gaussian of a tenth of the shorter side, which keeps where the tissue is pale or
    dark and no nucleus.
    """
    if fill == "blur":
        width = _BLUR * min(image.shape[:2])
        return as_bytes(cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REFLECT_101))
    density, foreign = optical_density(image).reshape(-1, 3), foreign_pixels(image)
    dyed = density.mean(axis=1) >= TISSUE_DENSITY
    tissue = density[dyed if foreign is None else dyed & ~foreign.reshape(-1)]
    mean = (tissue if len(tissue) else density).mean(axis=0)
    colour = np.clip(np.rint(LIGHT * np.exp(-mean) - 1), 0, 255).astype(np.uint8)
    return np.broadcast_to(colour, image.shape)


def half_removed(image: UInt8Image, fill: Fill) -> list[UInt8Image]:
    """An image, none of it, and without its left, right, upper and lower half."""
    blank = np.ascontiguousarray(filled(image, fill))
    made = [image, blank]
    for axis in (1, 0):
        first = np.arange(image.shape[axis]) < image.shape[axis] // 2
        first = first[None, :, None] if axis else first[:, None, None]
        made += [np.where(first, blank, image), np.where(first, image, blank)]
    return made


def on_grid(heatmap: MapValues, cells: int) -> Floats:
    """A map (h, w) as (cells, cells): averaged where it shrinks, bilinear where it grows.

    Raises:
        DataError: not a matrix, or not finite.
    """
    if heatmap.ndim != 2 or not heatmap.size or not np.isfinite(heatmap).all():
        raise DataError(
            f"a heatmap is a finite matrix (height, width); got shape {heatmap.shape} with "
            f"{int(np.count_nonzero(~np.isfinite(heatmap)))} values that are not finite"
        )
    method = cv2.INTER_AREA if min(heatmap.shape) >= cells else cv2.INTER_LINEAR
    values = np.asarray(heatmap, dtype=np.float64)
    if np.ptp(values) == 0:  # interpolation would draw rounding errors
        return np.full((cells, cells), values.flat[0])
    return np.asarray(cv2.resize(values, (cells, cells), interpolation=method), dtype=np.float64)


def _order(values: Floats, *, ties: Floats) -> Ints:
    """The rank of each cell, (cells, cells), 0 for the highest; ties by ``ties``."""
    ordered = np.lexsort((-ties.ravel(), -values.ravel()))
    rank = np.empty(values.size, dtype=np.int64)
    rank[ordered] = np.arange(values.size)
    return rank.reshape(values.shape)


def _counts(options: PerturbationOptions) -> Ints:
    return np.rint(np.linspace(0, options.cells**2, options.steps + 1)).astype(np.int64)


def _responses(
    image: UInt8Image, orders: Sequence[Ints], chance: Chance, options: PerturbationOptions
) -> Floats:
    """Probabilities of the class in the whole image, none of it, then each order's steps."""
    batch: list[UInt8Image] = []
    answers: list[Floats] = []
    for made in _perturbed(image, orders, options):
        batch.append(made)
        if len(batch) == options.batch_size:
            answers.append(chance(batch))
            batch = []
    if batch:
        answers.append(chance(batch))
    return np.concatenate(answers)


def _perturbed(
    image: UInt8Image, orders: Sequence[Ints], options: PerturbationOptions
) -> Iterator[UInt8Image]:
    fill = filled(image, options.fill)
    yield image
    yield np.ascontiguousarray(fill)
    rows, columns = (np.arange(side) * options.cells // side for side in image.shape[:2])
    for order in orders:
        rank = order[rows[:, None], columns[None, :], None]
        for count in _counts(options)[1:-1]:
            yield np.where(rank < count, fill, image)
        for count in _counts(options)[1:-1]:
            yield np.where(rank < count, image, fill)


def _as_curves(responses: Floats, orders: int, options: PerturbationOptions) -> list[Curves]:
    share = _counts(options) / options.cells**2
    whole, none = responses[:2]
    inner = responses[2:].reshape(orders, 2, options.steps - 1)
    return [
        Curves(
            share=share,
            deletion=np.array([whole, *removed, none]),
            insertion=np.array([none, *shown, whole]),
        )
        for removed, shown in inner
    ]


def _area(share: Floats, height: Floats) -> float:
    """By trapezoids."""
    return float(((height[1:] + height[:-1]) / 2) @ np.diff(share))


_BLOB_WIDTH = 0.25  # standard deviation of the blob, of the side


def smooth_random_map(like: Floats, generator: np.random.Generator) -> Floats:
    """A random map (h, w) as smooth as ``like``: the power spectrum of its ranks, random phases.

    A blob removes other tissue than scattered cells do, and hits a large region by luck far more
    often, so a fair random map keeps the other's smoothness: a phase-randomised surrogate (Theiler
    et al., Physica D 58, 1992). Of the ranks, since only the order of cells counts; and of the map
    mirrored at its edges, a quarter of which is kept, so that opposite edges need not match. A map
    of one value has no smoothness: white noise. A random map and its negative are equally likely.
    """
    height, width = like.shape
    if np.ptp(like) == 0:
        return generator.standard_normal(like.shape)
    ranks = average_ranks(like).reshape(like.shape)
    mirrored = np.pad(ranks - ranks.mean(), ((0, height), (0, width)), mode="symmetric")
    amplitude = np.abs(np.fft.rfft2(mirrored))
    phase = np.angle(np.fft.rfft2(generator.standard_normal(mirrored.shape)))
    field: Floats = np.fft.irfft2(amplitude * np.exp(1j * phase), s=mirrored.shape)
    return field[:height, :width]


def centre_blob(shape: tuple[int, int]) -> Floats:
    """A Gaussian in the middle of a map of this shape (h, w), a quarter of the side wide."""
    rows, columns = (np.linspace(-0.5, 0.5, side) / _BLOB_WIDTH for side in shape)
    blob: Floats = np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / 2)
    return blob


def average_ranks(values: npt.ArrayLike) -> Floats:
    """Ranks 1 to n of ``values``, flattened to (n,); equal values share the mean of their ranks."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    _, inverse, count = np.unique(flat, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Floats = (last - (count - 1) / 2)[inverse]
    return ranks


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's correlation of two maps of the same shape, in [-1, 1].

    Ties share their mean rank. A map of one value ranks nothing, so it resembles no other: 0.
    """
    one, other = average_ranks(first), average_ranks(second)
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / lengths if lengths > 0 else 0.0
