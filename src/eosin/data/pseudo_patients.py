"""Pseudo-patients: groups of images that look as if they shared a slide, where nobody is named.

Two images belong together where they overlap or are copies, or where they have the same nearest
neighbours. Groups grow by average linkage, so that one chance likeness does not join two of them.
Labels and names of files play no part.
"""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.data import bci
from eosin.data.breakhis import PATIENT_NOTES
from eosin.data.field_overlap import field_overlap
from eosin.data.fingerprints import read_each
from eosin.data.folder import NO_PATIENTS
from eosin.data.near_duplicates import SAME_DETAIL, find_near_duplicates
from eosin.data.signatures import Signature, signature, slide_coordinates
from eosin.errors import DataError
from eosin.machine import reading_threads
from eosin.pixels.reading import SkippedFile, read_image
from eosin.progress import SILENT, Progress, working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.manifest import Manifest

NEIGHBOURS = 12
# Least mean likeness inside a group, without features and with them. Chosen on fields stitched of
# IDC patches, as the loosest at which 80 % of joined pairs are of one patient;
# benchmarks/pseudo_patients.py shows it.
LIKENESS, LIKENESS_WITH_FEATURES = 0.20, 0.15
NAMED = "named_patient"  # the column that keeps the patients whom a manifest names
_BLOCK = 1024


@dataclass(frozen=True)
class PseudoPatients:
    """What was found."""

    manifest: Manifest  # the readable images, each with its pseudo-patient as its patient
    overlapping: int  # pairs of neighbouring images that show the same tissue
    skipped: tuple[SkippedFile, ...]  # the files that cannot be read
    # pair precision and recall against the patients whom the manifest names; None without them
    agreement: tuple[float, float] | None = None


def find_pseudo_patients(
    manifest: Manifest,
    *,
    features: Floats | None = None,
    least: float | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PseudoPatients:
    """Group the images of a manifest; each group becomes a patient, named by its content.

    The same images give the same groups and names, in any order and under any names of files.

    Args:
        manifest: any; patients whom it names are kept in a column ``named_patient``.
        features: pooled features of its images under some network, shape (n, channels).
        least: mean likeness inside a group, in (0, 1); None for the one that was chosen.
        workers: threads that decode and compare images.
        progress: told of images read and of pairs looked at.

    Raises:
        DataError: fewer than three images can be read.
    """
    files = manifest.paths
    results = read_each(files, signature, workers=workers, progress=progress)
    skipped = tuple(item for item in results if isinstance(item, SkippedFile))
    found = [(row, item) for row, item in enumerate(results) if isinstance(item, Signature)]
    if len(found) < 3:
        raise DataError(f"{len(found)} of {len(manifest)} images can be read; want 3 or more")
    found.sort(key=lambda pair: pair[1].fingerprint.pixels)
    rows = np.array([row for row, _ in found])
    looks = [item for _, item in found]
    evidence = [slide_coordinates(np.stack([look.quarters for look in looks]))]
    if features is not None:
        evidence.append(_scaled(features[rows]))
    near = [nearest(values, NEIGHBOURS) for values in evidence]
    paths = [files[row] for row in rows]
    links = _same_tissue(looks, paths, near, workers=workers, progress=progress)
    least = least or (LIKENESS if features is None else LIKENESS_WITH_FEATURES)
    groups = group_images([likeness(own) for own in near], links, least=least)
    names = [f"pseudo-{looks[group].fingerprint.pixels.hex()[:10]}" for group in groups]
    named = dict(zip(rows.tolist(), names, strict=True))
    grouped, agreement = _grouped(manifest, [named.get(k, "") for k in range(len(manifest))])
    return PseudoPatients(grouped, len(links), skipped, agreement)


def nearest(values: Floats, count: int, *, apart: Ints | None = None) -> Ints:
    """The nearest rows of each row, nearest first, shape (n, at most count), in blocks.

    Rows with the same number in ``apart`` (shape (n,)) come last; None: each row itself does.
    """
    count = min(count, len(values) - 1)
    apart = np.arange(len(values)) if apart is None else apart
    squares = np.square(values).sum(axis=1)
    found = np.empty((len(values), count), dtype=np.int64)
    for top in range(0, len(values), _BLOCK):
        part = values[top : top + _BLOCK]
        far = squares[top : top + _BLOCK, None] + squares - 2 * part @ values.T
        far[apart[top : top + _BLOCK, None] == apart] = np.inf
        found[top : top + _BLOCK] = np.argsort(far, axis=1, kind="stable")[:, :count]
    return found


def likeness(near: Ints) -> csr_array:
    """How far two images have the same nearest neighbours, (n, n), 0 to 1 (Jarvis & Patrick 1973).

    The cosine of their lists of neighbours, in which nearer ones, and each itself, weigh more.
    """
    from scipy.sparse import csr_array

    images, count = near.shape
    weights = np.append(1.0, 1 - np.arange(count) / count)
    weights /= np.sqrt(np.square(weights).sum())
    columns = np.hstack([np.arange(images)[:, None], near]).ravel()
    starts = np.arange(0, images * (count + 1) + 1, count + 1)
    lists = csr_array((np.tile(weights, images), columns, starts), shape=(images, images))
    return csr_array(lists @ lists.T)


def group_images(
    alike: Sequence[csr_array], links: Sequence[tuple[int, int]], *, least: float
) -> Ints:
    """The first image of each image's group, shape (n,).

    Average linkage that keeps only the pairs which are alike at all, so that memory grows with the
    images and not with their square.

    Args:
        alike: likeness of images by each kind of evidence; their mean counts.
        links: pairs that belong together whatever the likeness.
        least: mean likeness below which two groups stay apart.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    images = alike[0].shape[0]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2).T
    _, start = connected_components(csr_array((np.ones(len(links)), tuple(ends)), (images, images)))
    whole = csr_array((np.ones(images), (start, np.arange(images))))
    sums = csr_array(whole @ sum(alike[1:], start=alike[0]) @ whole.T) / len(alike)
    merged = _merge(sums, np.bincount(start), least)[start]
    _, first = np.unique(merged, return_index=True)
    return np.asarray(first[np.unique(merged, return_inverse=True)[1]], np.int64)


def _merge(between: csr_array, sizes: Ints, least: float) -> Ints:
    """The group that each starting group ends in; ``between`` sums likeness of their images."""
    size, parent = sizes.tolist(), np.arange(len(sizes))
    sums: list[dict[int, float]] = []
    for row in range(len(size)):
        part = slice(between.indptr[row], between.indptr[row + 1])
        own = dict(zip(between.indices[part].tolist(), between.data[part].tolist(), strict=True))
        sums.append({other: own[other] for other in sorted(own) if other != row})

    def entry(one: int, other: int) -> tuple[float, int, int]:
        low, high = sorted((one, other))
        return -sums[one][other] / (size[one] * size[other]), low, high

    heap = [entry(one, other) for one, own in enumerate(sums) for other in own if one < other]
    heapq.heapify(heap)
    while heap:
        best = heapq.heappop(heap)
        _, one, other = best
        if -best[0] < least:
            break
        if other not in sums[one] or entry(one, other) != best:
            continue  # of groups that have grown since
        for third, total in sums[other].items():
            del sums[third][other]
            if third != one:
                sums[one][third] = sums[third][one] = sums[one].get(third, 0.0) + total
        sums[other] = {}
        size[one] += size[other]
        parent[parent == other] = one
        for third in sums[one]:
            heapq.heappush(heap, entry(one, third))
    return parent


def pair_agreement(groups: Sequence[str], truth: Sequence[str]) -> tuple[float, float]:
    """Of the pairs that ``groups`` join, the share that ``truth`` joins; and the other way round.

    1.0 where there is no pair to be wrong.
    """
    tables = [
        np.unique(np.asarray(names, dtype=str), return_inverse=True)[1] for names in (groups, truth)
    ]
    both = np.unique(np.stack(tables), axis=1, return_counts=True)[1]
    joined, true, shared = (
        float((counts * (counts - 1) / 2).sum())
        for counts in (np.bincount(tables[0]), np.bincount(tables[1]), both)
    )
    return (shared / joined if joined else 1.0, shared / true if true else 1.0)


def _scaled(features: Floats) -> Floats:
    values = features.astype(np.float64)
    scaled: Floats = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    return scaled


def _same_tissue(
    looks: Sequence[Signature],
    paths: Sequence[Path],
    near: Sequence[Ints],
    *,
    workers: int | None,
    progress: Progress,
) -> list[tuple[int, int]]:
    """Pairs that show the same tissue: copies, and neighbours whose fields overlap."""
    prints = [look.fingerprint for look in looks]
    copies = find_near_duplicates(prints, lambda k: read_image(paths[k]), workers=workers)
    links = {(match.first, match.second) for match in copies}
    links |= {(k - 1, k) for k in range(1, len(prints)) if prints[k].pixels == prints[k - 1].pixels}
    pairs = sorted(
        {
            (min(one, other), max(one, other))
            for own in near
            for one, others in enumerate(own.tolist())
            for other in others
        }
        - links
    )

    def agreement(pair: tuple[int, int]) -> float:
        one, other = (looks[index].thumbnail for index in pair)
        return field_overlap(one, other).agreement

    work = working(progress, "overlaps", total=len(pairs))
    with work, ThreadPoolExecutor(reading_threads(workers)) as pool:
        for pair, found in zip(pairs, pool.map(agreement, pairs), strict=True):
            progress.advance()
            if found >= SAME_DETAIL:
                links.add(pair)
    return sorted(links)


def _grouped(
    manifest: Manifest, names: Sequence[str]
) -> tuple[Manifest, tuple[float, float] | None]:
    """The manifest with pseudo-patients, and how far they agree with patients whom it names."""
    known = manifest.protocol.patients_known and not manifest.protocol.pseudo
    frame = manifest.frame.assign(patient=names)
    if known:
        frame[NAMED] = manifest.frame["patient"]
    frame = frame[frame["patient"] != ""].reset_index(drop=True)
    groups = frame["patient"].nunique()
    overtaken = {NO_PATIENTS, bci.NO_PATIENTS, *PATIENT_NOTES.values()}
    kept = [note for note in manifest.notes if note not in overtaken]
    kept.append(f"Patients are pseudo-patients: {groups} groups of images that look alike.")
    draft = replace(manifest, frame=frame, notes=tuple(kept), patient_pattern="")
    protocol = replace(
        manifest.protocol, patients_known=True, pseudo=True, leaky=bool(draft.crossing_patients())
    )
    agreement = pair_agreement(frame["patient"], frame[NAMED]) if known else None
    return replace(draft, protocol=protocol), agreement
