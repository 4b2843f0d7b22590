"""What the site does: figures by site, and whether likeness follows the class or the site.

The robustness index (de Jong et al. 2025; PathoROB, Kömen et al. 2025) looks at the nearest images
of other patients. Those of the same class from another site speak for the class, those of another
class from the same site speak for the site; it is the share of the first among both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.estimate import ALL, Estimate
from eosin.data.pseudo_patients import nearest
from eosin.errors import DataError, first_ten
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.sentences import about_interval
from eosin.evaluation.weights import ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.arrays import Bools, Floats, Ints
    from eosin.artefacts.predictions import Predictions

NEIGHBOURHOODS = (5, 11, 21)


@dataclass(frozen=True)
class SiteImages:
    """Images whose site is known, n of them."""

    labels: Ints  # class index of each, shape (n,)
    sites: tuple[str, ...]  # of each
    patients: tuple[str, ...]  # the distinct patients, sorted
    patient: Ints  # the index of each image's patient, shape (n,)


def site_images(predictions: Predictions, sites: Mapping[str, str], *, by: str) -> SiteImages:
    """The images of a labelled table with their sites.

    Args:
        predictions: the table.
        sites: the site of each path.
        by: what a site is called here: the column that it comes from.

    Raises:
        DataError: an image has no label or no site, or there is one site only.
    """
    frame = predictions.frame
    lost = [path for path in frame["path"] if not sites.get(path)]
    if lost:
        raise DataError(f"{len(lost)} images have no {by} in the manifest: {first_ten(lost)}")
    found = tuple(sites[path] for path in frame["path"])
    if len(set(found)) < 2:
        raise DataError(f"every image is of the {by} {found[0]!r}: there is nothing to compare")
    patients, patient = patient_columns(list(frame["patient"]), list(frame["path"]))
    return SiteImages(predictions.label_index, found, patients, patient)


def figures_by_site(
    predictions: Predictions, images: SiteImages, *, resamples: int = 2000, seed: int = 0
) -> list[tuple[str, Estimate]]:
    """Headline figures of each site, with patient-clustered intervals."""
    area = "roc_auc" if predictions.task.binary else "macro_roc_auc"
    rows, own = [], np.array(images.sites)
    for site in sorted(set(images.sites)):
        part = predictions.where(own == site)
        evaluation = evaluate_predictions(part, resamples=resamples, seed=seed)
        rows += [
            (site, each)
            for each in evaluation.estimates
            if each.metric in ("accuracy", area, "ece") and each.scope == ALL
        ]
    return rows


def robustness_index(
    values: Floats, images: SiteImages, *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The robustness index of features or probabilities, 0 to 1; its note has the one by chance.

    Neighbours are the nearest by cosine among images of other patients. How many count is chosen
    as PathoROB does: of 5, 11 and 21, the number that tells classes best by majority.

    Args:
        values: shape (n, channels).
        images: the same n.
        resamples: draws of patients; neighbours stay those among all images.
        seed: of the draws.
    """
    units = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    near = nearest(units, max(NEIGHBOURHOODS), apart=images.patient)
    usable = images.patient[near] != images.patient[:, None]
    _, site = np.unique(np.array(images.sites), return_inverse=True)
    fits = [n for n in NEIGHBOURHOODS if n <= near.shape[1]] or [near.shape[1]]
    count = max(fits, key=lambda n: _recall(images.labels, near[:, :n], usable[:, :n]))
    near, usable = near[:, :count], usable[:, :count]
    same_class = images.labels[near] == images.labels[:, None]
    same_site = site[near] == site[:, None]
    of_class = (usable & same_class & ~same_site).sum(axis=1)
    of_site = (usable & ~same_class & same_site).sum(axis=1)
    bootstrap = Bootstrap(resamples, seed)
    people = len(images.patients)
    rows = bootstrap.rows(images.patients)
    good, bad = (rows @ np.bincount(images.patient, n, people) for n in (of_class, of_site))
    shares = ratio(good, good + bad)
    counting = int(((of_class + of_site) > 0).sum())
    interval = bootstrap.interval(shares[1:])
    value = float(shares[0]) if counting else None
    notes = [
        f"{count} neighbours; {counting} of {len(site)} images have one that counts",
        f"neighbours drawn at random give {_by_chance(images, site):.3f}",
    ]
    if value is not None:
        notes += about_interval(interval, value)
    ends = (interval.low, interval.high) if value is not None else (None, None)
    return Estimate(value, *ends, len(site), people, "robustness_index", note="; ".join(notes))


def _by_chance(images: SiteImages, site: Ints) -> float:
    """The index where each image of another patient is as likely a neighbour as any other."""
    keys = {"class": images.labels, "site": site, "patient": images.patient}
    inside = {name: np.unique(key, return_inverse=True)[1] for name, key in keys.items()}

    def pairs(*names: str) -> float:
        _, sizes = np.unique(np.stack([inside[n] for n in names]), axis=1, return_counts=True)
        return float(np.square(sizes).sum())

    both = pairs("class", "site") - pairs("class", "site", "patient")
    of_class = pairs("class") - pairs("class", "patient") - both
    of_site = pairs("site") - pairs("site", "patient") - both
    return of_class / (of_class + of_site) if of_class + of_site else float("nan")


def _recall(labels: Ints, near: Ints, usable: Bools) -> float:
    """Mean over classes of the share that a majority of the neighbours names right."""
    classes = labels.max() + 1
    votes = np.stack([((labels[near] == k) & usable).sum(axis=1) for k in range(classes)], axis=1)
    right = votes.argmax(axis=1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))
