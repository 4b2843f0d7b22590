"""Familiarity: how strange an image is, calibrated on patients left out of the fit.

Features are brought to unit length; their strangeness is the log of the squared Mahalanobis
distance to the mean of all patients, under a covariance that is shrunk towards a round one, so that
what leaves the space of the known patients counts most (Lee et al. 2018; Wang et al. 2022). To it
is added the same of stain and sharpness, which a network may have learnt to overlook. Each patient
has one weight. Distances to nearest neighbours were tried and tell less.
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
_LOOKED_AT: Final = slice(4, 16)  # of the measures: sharpness, stain vectors, how much of each
_LOGS: Final = slice(7, None)  # of these: amounts


@dataclass(frozen=True)
class Appearance:
    """How the images of known patients look in pixels: sharpness and stain.

    Attributes:
        mean, scale: of each measure, shape (names,).
        precision: the inverse of their shrunk correlation, shape (names, names).
    """

    mean: Floats
    scale: Floats
    precision: Floats

    def strangeness(self, measures: Floats) -> Floats:
        """Log squared Mahalanobis distance over the names, shape (n,)."""
        away = (_looked_at(measures) - self.mean) / self.scale
        away = np.where(np.isfinite(away), away, 0.0)  # pale tissue has no stain to tell
        distance = np.einsum("ni,ij,nj->n", away, self.precision, away)
        return np.asarray(np.log(distance / len(self.mean) + 1e-9))


@dataclass(frozen=True)
class Space:
    """The space of familiar features.

    Attributes:
        mean: of features of unit length, shape (channels,).
        axes: the directions in which they vary most, orthonormal, shape (axes, channels).
        variances: along these, shrunk, shape (axes,).
        rest: the variance in every other direction.
        appearance: what is familiar in pixels.
    """

    mean: Floats
    axes: Floats
    variances: Floats
    rest: float
    appearance: Appearance

    def strangeness(self, features: Floats, measures: Floats) -> Floats:
        """Of features (n, channels) and measures (n, names), shape (n,)."""
        away = _unit(features) - self.mean
        along = away @ self.axes.T
        off = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distance = (along**2 / self.variances).sum(axis=1) + off / self.rest
        own = np.asarray(np.log(distance / len(self.mean) + 1e-12))
        return np.asarray(own + self.appearance.strangeness(measures))


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


def fit_space(features: Floats, measures: Floats, patient: Ints) -> Space:
    """Of features (n, channels), measures (n, names), and the number of each image's patient."""
    kept = _thinned(patient)
    known, weights = _unit(features[kept]), patient_weights(patient[kept])
    mean = weights @ known
    spread = (known - mean) * np.sqrt(weights)[:, None]
    total = float((spread**2).sum()) / known.shape[1] + 1e-12
    count = min(_MOST_AXES, _MOST_VALUES // known.shape[1], *(side - 1 for side in spread.shape))
    values, axes = _principal(spread, max(count, 1))
    shrunk = (1 - _SHRINK) * values + _SHRINK * total
    return Space(mean, axes, shrunk, _SHRINK * total, _fit_appearance(measures, patient))


def left_out_strangeness(features: Floats, measures: Floats, patient: Ints, asked: Bools) -> Floats:
    """The strangeness of the ``asked`` images, each patient scored against the others alone."""
    found = np.full(len(features), np.nan)
    names = np.random.default_rng(0).permutation(np.unique(patient[asked]))
    for part in np.array_split(names, min(len(names), _PARTS)):
        held = np.isin(patient, part)
        space, own = fit_space(features[~held], measures[~held], patient[~held]), held & asked
        found[own] = space.strangeness(features[own], measures[own])
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
    _, inverse, images = np.unique(patient, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(images) * images[inverse]))


def numbered(patients: Texts) -> Ints:
    """A number for each distinct patient, shape (n,)."""
    return np.unique(patients, return_inverse=True)[1].astype(np.int64)


def _fit_appearance(measures: Floats, patient: Ints) -> Appearance:
    values, weights = _looked_at(measures), patient_weights(patient)
    known = np.isfinite(values)
    share = weights[:, None] * known
    total = np.maximum(share.sum(axis=0), 1e-12)
    filled = np.where(known, values, 0.0)
    mean = (share * filled).sum(axis=0) / total
    scale = np.sqrt((share * (filled - mean) ** 2).sum(axis=0) / total) + 1e-6
    away = np.where(known, (filled - mean) / scale, 0.0)
    spread = (away * weights[:, None]).T @ away
    precision = np.linalg.inv((1 - _SHRINK) * spread + _SHRINK * np.eye(len(mean)))
    return Appearance(mean, scale, np.asarray(precision, np.float64))


def _looked_at(measures: Floats) -> Floats:
    values = measures[:, _LOOKED_AT].copy()
    values[:, _LOGS] = np.log(np.maximum(values[:, _LOGS], 0.01))
    return values


def _thinned(patient: Ints) -> Ints:
    """Rows of as many images of each patient as may enter a fit, spread over its own."""
    rows = np.arange(len(patient))
    if len(rows) <= _MOST_IMAGES:
        return rows
    each = max(_MOST_IMAGES // len(np.unique(patient)), 1)
    own = [rows[patient == one] for one in np.unique(patient)]
    picked = [part[np.unique(np.linspace(0, len(part) - 1, each).astype(np.int64))] for part in own]
    every = np.concatenate(picked)
    step = len(every) // _MOST_IMAGES if len(every) > 2 * _MOST_IMAGES else 1
    return np.sort(every[::step])


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
