"""Familiarity: how strange an image's features are, calibrated on patients left out of the fit.

Features are brought to unit length; the strangeness of an image is the log of its squared
Mahalanobis distance to the mean of all patients, under a covariance that is shrunk towards a round
one, so that what leaves the space of the known patients counts most (Lee et al. 2018; Wang et al.
2022). Each patient has one weight. Distances to nearest neighbours were tried and tell less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from eosin.arrays import Bools, Floats, Ints, Texts

UNFAMILIAR_BELOW: Final = 0.05  # the share of new patients' images that are flagged by this
FEWEST_PATIENTS: Final = 2
_SHRINK: Final = 0.1  # of the covariance towards a round one
_MOST_AXES: Final = 128
_MOST_VALUES: Final = 600_000  # of the axes: 2.4 MB
_MOST_IMAGES: Final = 1_200  # that a fit takes
_PARTS: Final = 25  # in which patients are left out where there are more
_TAIL: Final = 0.1
_KNOTS: Final = 64


@dataclass(frozen=True)
class Space:
    """The space of familiar features.

    Attributes:
        mean: of features of unit length, shape (channels,).
        axes: the directions in which they vary most, orthonormal, shape (axes, channels).
        variances: along these, shrunk, shape (axes,).
        rest: the variance in every other direction.
    """

    mean: Floats
    axes: Floats
    variances: Floats
    rest: float

    def strangeness(self, features: Floats) -> Floats:
        """Log squared Mahalanobis distance over the channels, shape (n,), of (n, channels)."""
        away = _unit(features) - self.mean
        along = away @ self.axes.T
        off = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distance = (along**2 / self.variances).sum(axis=1) + off / self.rest
        return np.asarray(np.log(distance / len(self.mean) + 1e-12))


@dataclass(frozen=True)
class Shares:
    """What share of new patients' images is at least so strange.

    Attributes:
        knots: strangeness, ascending, shape (k,).
        shares: of patients' images, each patient with one weight, that reach it, shape (k,).
        tail: the strangeness that a tenth reach.
        scale: the mean of what these exceed it by.
        patients: how many the shares come from.
        images: of these.
    """

    knots: Floats
    shares: Floats
    tail: float
    scale: float
    patients: int
    images: int

    def familiarity(self, strangeness: Floats) -> Floats:
        """The share, shape (n,), in (0, 1].

        Beyond the tail it is extrapolated as what an exponential tail predicts from one image of
        each patient, whose scale is known the less the fewer these are.
        """
        beyond = np.maximum(strangeness - self.tail, 0) / self.scale
        predicted = _TAIL * (1 + beyond / self.patients) ** -float(self.patients)
        inside = np.interp(strangeness, self.knots, self.shares)
        return np.where(strangeness > self.tail, predicted, np.maximum(inside, _TAIL))


def fit_space(features: Floats, patient: Ints) -> Space:
    """The space of features (n, channels) of patients numbered by ``patient``, shape (n,)."""
    kept = _thinned(patient)
    known, weights = _unit(features[kept]), patient_weights(patient[kept])
    mean = weights @ known
    spread = (known - mean) * np.sqrt(weights)[:, None]
    total = float((spread**2).sum()) / known.shape[1] + 1e-12
    count = min(_MOST_AXES, _MOST_VALUES // known.shape[1], *(side - 1 for side in spread.shape))
    values, axes = _principal(spread, max(count, 1))
    return Space(mean, axes, (1 - _SHRINK) * values + _SHRINK * total, _SHRINK * total)


def left_out_strangeness(features: Floats, patient: Ints, asked: Bools) -> Floats:
    """The strangeness of the ``asked`` images, each patient scored against the others alone."""
    found = np.full(len(features), np.nan)
    names = np.random.default_rng(0).permutation(np.unique(patient[asked]))
    for part in np.array_split(names, min(len(names), _PARTS)):
        held = np.isin(patient, part)
        space = fit_space(features[~held], patient[~held])
        found[held & asked] = space.strangeness(features[held & asked])
    return found[asked]


def calibrate(strangeness: Floats, patient: Ints) -> Shares:
    """The shares of images of ``patient``, shape (n,), that were left out of the fit."""
    order = np.argsort(strangeness)
    sorted_, weights = strangeness[order], patient_weights(patient)[order]
    reach = np.cumsum(weights[::-1])[::-1]  # of each: itself, and what is stranger
    middle = reach - weights / 2
    tail = float(np.interp(-_TAIL, -middle, sorted_))
    over = np.maximum(sorted_ - tail, 0)
    scale = max(float(weights @ over) / max(float(weights[over > 0].sum()), 1e-12), 1e-6)
    levels = np.linspace(1, _TAIL, _KNOTS)  # few, so that no last digit of a score moves a share
    knots = np.interp(-levels, -middle, sorted_)
    apart = np.diff(knots, prepend=-np.inf) > 0
    return Shares(
        knots[apart], levels[apart], tail, scale, len(np.unique(patient)), len(strangeness)
    )


def patient_weights(patient: Ints) -> Floats:
    """One weight a patient, in even parts to its images, shape (n,), of sum 1."""
    _, place, images = np.unique(patient, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(images) * images[place]))


def numbered(patients: Texts) -> Ints:
    """A number for each distinct patient, shape (n,)."""
    return np.unique(patients, return_inverse=True)[1].astype(np.int64)


def _thinned(patient: Ints) -> Ints:
    """Rows of as many images of each patient as may enter a fit, spread over its own."""
    rows = np.arange(len(patient))
    if len(rows) <= _MOST_IMAGES:
        return rows
    each = max(_MOST_IMAGES // len(np.unique(patient)), 1)
    own = [rows[patient == one] for one in np.unique(patient)]
    picked = [part[np.unique(np.linspace(0, len(part) - 1, each).astype(np.int64))] for part in own]
    every = np.concatenate(picked)
    return np.sort(
        every if len(every) <= 2 * _MOST_IMAGES else every[:: len(every) // _MOST_IMAGES]
    )


def _principal(spread: Floats, count: int) -> tuple[Floats, Floats]:
    """The largest ``count`` variances (descending) and their axes, of weighted rows."""
    from scipy.linalg import eigh

    wide = spread.shape[0] < spread.shape[1]
    matrix = spread @ spread.T if wide else spread.T @ spread
    side = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=(side - count, side - 1))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    if not wide:
        return values, vectors.T
    axes = vectors.T @ spread
    length = np.linalg.norm(axes, axis=1, keepdims=True)
    sound = length[:, 0] > 1e-9 * max(float(length.max()), 1e-12)
    return values[sound], axes[sound] / length[sound]


def _unit(features: Floats) -> Floats:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float64)
