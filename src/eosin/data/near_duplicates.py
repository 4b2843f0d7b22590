"""Finding pictures that are the same picture: copied, re-encoded, rescaled, turned or taken again.

Each picture is reduced to its lowest cosine waves. Two searches propose pairs: a k-d tree over
values that no turn changes finds copies in all eight orientations in near-linear time; a blocked
product of unit vectors finds the same field in another light. A pair whose waves agree almost
perfectly is accepted; any other is accepted only if the two files, read again and aligned, agree
in their fine detail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from eosin.data.field_overlap import FieldOverlap, close_up, field_overlap
from eosin.data.fingerprints import Fingerprint, frequency
from eosin.machine import reading_threads
from eosin.pixels.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eosin.arrays import Floats, Floats32, Ints
    from eosin.pixels.reading import UInt8Image

# All calibrated on 422 BreakHis fields and 6,953 IDC patches; benchmarks/audit.py shows it.
SURE = 0.95  # correlation of waves that needs no second look; other pictures reach 0.84
_WORTH_A_LOOK_TURNED = 0.70
_WORTH_A_LOOK = 0.45
SAME_DETAIL = 0.70  # correlation of detail; other pictures reach 0.52, the same field 0.87
_SAME_FIELD = 0.75  # share in common; less is a neighbouring field
_MEAN_TOLERANCE = 3.0  # grey levels that JPEG and rescaling move a mean
_WAVE_TOLERANCE = 1.5  # grey levels that they move a slow wave
_NEIGHBOURS = 32
_BLOCK = 2048
_REMEMBERED = 8192  # close-ups of at most 25 kB


@dataclass(frozen=True, slots=True)
class Match:
    """Two pictures that are one."""

    first: int  # index of the earlier picture
    second: int  # index of the later one
    orientation: int  # how the first must be laid down to become the second, 0 to 7
    similarity: float  # correlation of their waves or, after a second look, of their detail; 0 to 1
    # what the second look measured, or None where none was needed
    overlap: FieldOverlap | None = None

    @property
    def turned(self) -> str:
        """The orientation in words, e.g. ``"rotated 180°"``; empty where it was not turned."""
        return NAMES[self.orientation]


def equal_pictures(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Index pairs of pictures with equal pixels: each later copy with the first of its kind.

    Flat colours are left out: two of them need not have one origin.
    """
    first_of: dict[bytes, int] = {}
    pairs = []
    for index, item in enumerate(prints):
        first = first_of.setdefault(item.pixels, index)
        if first != index and not item.uniform:
            pairs.append((first, index))
    return pairs


def find_near_duplicates(
    prints: Sequence[Fingerprint],
    read: Callable[[int], UInt8Image],
    *,
    workers: int | None = None,
) -> list[Match]:
    """Matches among pictures with different pixels, best first.

    A group of k pictures that are one gives k - 1 matches, the most similar that join it, so that
    the number of matches never exceeds the number of pictures. Blank pictures are left out.

    Args:
        prints: one fingerprint an image.
        read: gives the RGB image of an index, for the pairs that need a second look.
        workers: threads that look.
    """
    distinct = {item.pixels: index for index, item in reversed(list(enumerate(prints)))}
    chosen = np.array(sorted(i for i in distinct.values() if not prints[i].blank), dtype=np.int64)
    if len(chosen) < 2:
        return []
    groups = _Groups(len(prints))
    found = []
    candidates = sorted(_candidates(prints, chosen), key=lambda item: -item.similarity)
    apart = (item for item in candidates if not groups.joined(item.first, item.second))
    # A picture may be looked at beside many others: it is read once.
    close = lru_cache(_REMEMBERED)(lambda index: close_up(read(index)))
    threads = reading_threads(workers)
    for match in read_ahead(
        lambda item: _confirmed(item, close), apart, workers=threads, ahead=2 * threads
    ):
        if match is not None and not groups.joined(match.first, match.second):
            groups.join(match.first, match.second)
            found.append(match)
    return sorted(found, key=lambda item: -item.similarity)


def unit_waves(prints: Sequence[Fingerprint]) -> Floats32:
    """Waves of each picture, weighted by frequency, with length 1: shape (n, KEPT, KEPT).

    Tissue has less power in faster waves (about 1 / frequency in amplitude): the weight makes all
    waves speak equally, so that a shared light or edge is not mistaken for a shared picture.
    """
    waves = np.stack([item.waves for item in prints]) * frequency()
    lengths = np.sqrt(np.square(waves).sum(axis=(1, 2), keepdims=True))
    return np.asarray(waves / np.maximum(lengths, 1e-6), np.float32)


def turned_pairs(prints: Sequence[Fingerprint]) -> Ints:
    """Index pairs (m, 2) whose means and slow waves agree in some orientation; near-linear."""
    from scipy.spatial import cKDTree

    still = _unturnable(prints)
    tree = cKDTree(still)
    count = min(_NEIGHBOURS, len(prints))
    _, near = tree.query(still, k=count, p=np.inf, distance_upper_bound=1.0)
    near = np.asarray(near).reshape(len(prints), count)
    rows = np.repeat(np.arange(len(prints)), count)
    pairs = np.stack([rows, near.ravel()], axis=1)
    pairs = np.sort(pairs[(pairs[:, 1] < len(prints)) & (pairs[:, 0] != pairs[:, 1])], axis=1)
    return np.unique(pairs, axis=0)


def upright_pairs(units: Floats32) -> Iterator[tuple[int, int, float]]:
    """Index pairs that agree as they lie, in any light, with their correlation.

    At most ``_NEIGHBOURS`` a picture. One float32 product: for 8,000 pictures a fraction of a
    second, far below the time to read them.
    """
    flat = units.reshape(len(units), -1)
    for top in range(0, len(flat), _BLOCK):
        likeness = flat[top : top + _BLOCK] @ flat[top:].T
        likeness[np.tril_indices(len(likeness), m=likeness.shape[1])] = 0
        for row in np.flatnonzero(likeness.max(axis=1) > _WORTH_A_LOOK):
            columns = np.flatnonzero(likeness[row] > _WORTH_A_LOOK)
            best = columns[np.argsort(-likeness[row, columns])][:_NEIGHBOURS]
            yield from ((top + int(row), top + int(k), float(likeness[row, k])) for k in best)


def _candidates(prints: Sequence[Fingerprint], chosen: Ints) -> list[Match]:
    kept = [prints[i] for i in chosen]
    units = unit_waves(kept)
    best: dict[tuple[int, int], Match] = {}
    for first, second, similarity in upright_pairs(units):
        a, b = int(chosen[first]), int(chosen[second])
        best[a, b] = Match(a, b, 0, similarity)
    pairs = turned_pairs(kept)
    orientation, likeness = _best_orientation(units, pairs)
    for k in np.flatnonzero(likeness > _WORTH_A_LOOK_TURNED):
        a, b = (int(chosen[i]) for i in pairs[k])
        match = Match(a, b, int(orientation[k]), min(1.0, float(likeness[k])))
        if (a, b) not in best or match.similarity > best[a, b].similarity + 1e-6:
            best[a, b] = match
    return list(best.values())


def _unturnable(prints: Sequence[Fingerprint]) -> Floats:
    """Values that turning and flipping leave alone, in units of their tolerance, shape (n, 15).

    Means; and of each slow wave and its transpose the larger and the smaller amplitude.
    """
    size = np.abs(np.stack([item.waves for item in prints]))
    values = []
    for u, v in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (1, 1), (2, 2)):
        values.append(np.maximum(size[:, u, v], size[:, v, u]))
        if u != v:
            values.append(np.minimum(size[:, u, v], size[:, v, u]))
    means = np.stack([item.means for item in prints]) / _MEAN_TOLERANCE
    return np.hstack([means, np.stack(values, axis=1) / _WAVE_TOLERANCE]).astype(np.float64)


def _best_orientation(units: Floats32, pairs: Ints) -> tuple[Ints, Floats32]:
    """For each pair, the orientation of the first that is most like the second, and how like."""
    orientation = np.zeros(len(pairs), np.int64)
    likeness = np.full(len(pairs), -1.0, np.float32)
    for top in range(0, len(pairs), _BLOCK):
        part = slice(top, top + _BLOCK)
        first, second = units[pairs[part, 0]], units[pairs[part, 1]]
        turns = [(turn_waves(first, k) * second).sum(axis=(1, 2)) for k in range(len(NAMES))]
        orientation[part] = np.argmax(turns, axis=0)
        likeness[part] = np.max(turns, axis=0)
    return orientation, likeness


def _confirmed(candidate: Match, close: Callable[[int], UInt8Image]) -> Match | None:
    """The candidate as a match, after a second look where it is not sure; None: another picture."""
    if candidate.similarity >= SURE:
        return candidate
    first = turn_image(close(candidate.first), candidate.orientation)
    overlap = field_overlap(first, close(candidate.second), least_share=_SAME_FIELD)
    if overlap.agreement < SAME_DETAIL or overlap.share < _SAME_FIELD:
        return None
    return replace(candidate, similarity=overlap.agreement, overlap=overlap)


class _Groups:
    """Which pictures are known to be one (disjoint sets)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def joined(self, first: int, second: int) -> bool:
        return self._root(first) == self._root(second)

    def join(self, first: int, second: int) -> None:
        self._parent[self._root(second)] = self._root(first)

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index


Pixel = TypeVar("Pixel", bound=np.generic)

# An orientation's bits: 1 mirrors left and right, 2 mirrors top and bottom, 4 then transposes.
NAMES = (
    "",
    "flipped horizontally",
    "flipped vertically",
    "rotated 180°",
    "flipped along the diagonal",
    "rotated 90° left",
    "rotated 90° right",
    "flipped along the other diagonal",
)


def turn_image(image: npt.NDArray[Pixel], orientation: int) -> npt.NDArray[Pixel]:
    """An image (height, width, ...) laid down in one of the eight orientations, 0 to 7."""
    if orientation & 1:
        image = image[:, ::-1]
    if orientation & 2:
        image = image[::-1]
    if orientation & 4:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image)


def turn_waves(waves: Floats32, orientation: int) -> Floats32:
    """Cosine coefficients (..., k, k) of the image that ``turn_image`` gives.

    Mirroring an axis changes the sign of its odd cosines; transposing swaps the axes.
    """
    sign = np.where(np.arange(waves.shape[-1]) % 2, -1, 1).astype(np.float32)
    if orientation & 1:
        waves = waves * sign
    if orientation & 2:
        waves = waves * sign[:, None]
    return waves.swapaxes(-1, -2) if orientation & 4 else waves
