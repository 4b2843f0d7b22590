"""Two sparse non-negative factors of optical densities: the stains, and how much pixels hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from eosin.arrays import Floats, Floats32
from eosin.pixels.concentration import haematoxylin_first
from eosin.pixels.optical_density import as_floats
from eosin.pixels.tissue_sample import Reason, UnstainedError

# Plain numbers: NumPy would take longer over six of them than over the pixels.
_Vector: TypeAlias = tuple[float, float, float]
_Stains: TypeAlias = tuple[_Vector, _Vector]

_START: Final = ((0.65, 0.70, 0.29), (0.27, 0.90, 0.34))  # blue-purple, pink
_AXES: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_NOWHERE: Final = (0.0, 0.0, 0.0)
_MOST_ROUNDS: Final = 200
_SETTLED: Final = 1e-4  # largest change of a component in a round
_LONGEST_STEP: Final = 0.3  # of a unit vector
_ROUNDING: Final = 1e-6  # relative error of sums over the pixels
_LEAST_APART: Final = 1e-6  # one minus the cosine between two stains
_LEAST_PURE: Final = 1e-3  # of a stain's squares: what counts as held alone where less is


def stain_factors(density: Floats32, *, penalty: float) -> Floats:
    """(2, 3) non-negative unit stain vectors, haematoxylin first, of tissue densities (3, n).

    Minimises ``1/2 |density - codes @ stains|^2 + penalty * |codes|_1`` over non-negative codes
    and non-negative unit stains (Vahadane et al., IEEE TMI 35(8), 2016). Each round finds the codes
    in closed form and takes the Gauss-Newton step of both stains for codes that follow them
    (variable projection: Golub & Pereyra, Inverse Problems 19, 2003), in closed form too; half of
    the step, and half again, where less is explained. Some ten rounds settle. It always starts from
    the same stains, so it ends at the same.

    Raises:
        UnstainedError: there are no two stains in it.
    """
    pixels = _with_ones(density)
    stains = trial = (_unit(_START[0]), _unit(_START[1]))
    most = 0.0
    for _ in range(_MOST_ROUNDS):
        sums = _sums(_codes(pixels, trial, penalty), pixels)
        explained = _explained(trial, sums)
        if explained >= most * (1.0 - _ROUNDING):
            stains, most = trial, explained
            trial = _better_stains(stains, sums)
        else:
            trial = _halfway(stains, trial)
        if max(map(_change, stains, trial)) < _SETTLED:
            break
    return haematoxylin_first(np.array(trial))


def sparse_codes(density: Floats32, stains: Floats, penalty: float) -> Floats32:
    """Non-negative lasso codes, (2, n), of densities (3, n) under unit ``stains`` (2, 3).

    With ``g = w1 . w2 >= 0``, ``alone = w . density - penalty`` and ``together`` the solution of
    the two normal equations, the minimum is ``max(0, min(alone, together))``.
    """
    first, second = stains.tolist()
    return _codes(_with_ones(density), (first, second), penalty)


def _with_ones(density: Floats32) -> Floats32:
    """The densities over a row of ones, (4, n), so that one product also takes the penalty off."""
    return np.concatenate([density, np.ones((1, density.shape[1]), dtype=np.float32)])


def _codes(pixels: Floats32, stains: _Stains, penalty: float) -> Floats32:
    w1, w2 = stains
    overlap = _dot(w1, w2)
    if 1.0 - overlap < _LEAST_APART:
        raise UnstainedError(Reason.SINGLE_STAIN)
    own = 1.0 / (1.0 - overlap * overlap)
    cross, shared = -overlap * own, -penalty / (1.0 + overlap)
    alone_and_together = (
        (*w1, -penalty),
        (*w2, -penalty),
        (*_mix(own, w1, cross, w2), shared),
        (*_mix(cross, w1, own, w2), shared),
    )
    both = np.array(alone_and_together, dtype=np.float32) @ pixels
    codes = np.minimum(both[:2], both[2:])
    return as_floats(cv2.threshold(codes, 0, 0, cv2.THRESH_TOZERO, dst=codes)[1])


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a round needs to know of all pixels: sums over them, for each stain."""

    held: _Stains  # (2, 3) codes times densities
    squares: tuple[float, float]  # squared codes
    pure: tuple[float, float]  # the same over pixels that hold the one stain alone
    shared: float  # products of the two codes


def _sums(codes: Floats32, pixels: Floats32) -> _Sums:
    # Two vectors at a time: products of more rows wake the threads of the linear algebra library.
    red, green, blue, _ = pixels
    first, second = codes
    return _Sums(
        held=(
            (float(first @ red), float(first @ green), float(first @ blue)),
            (float(second @ red), float(second @ green), float(second @ blue)),
        ),
        squares=(float(first @ first), float(second @ second)),
        pure=(float((first * (second <= 0)) @ first), float((second * (first <= 0)) @ second)),
        shared=float(first @ second),
    )


def _explained(stains: _Stains, sums: _Sums) -> float:
    """Twice what the cost is below that of no stain at all; exact for the codes of least cost."""
    return sum(sums.squares) + 2.0 * _dot(*stains) * sums.shared


def _better_stains(stains: _Stains, sums: _Sums) -> _Stains:
    """The Gauss-Newton step from ``stains``, whose codes have these sums."""
    if min(sums.squares) <= 0:
        raise UnstainedError(Reason.SINGLE_STAIN)
    normal = _unit(_cross(*stains))
    first, second = (
        _turn(
            stains[k],
            normal,
            left=_mix(1.0, sums.held[k], -sums.shared, stains[1 - k]),
            squares=sums.squares[k],
            pure=max(sums.pure[k], _LEAST_PURE * sums.squares[k]),
        )
        for k in (0, 1)
    )
    steps = _common_steps(first, second, sums.shared)
    return _turned(stains[0], first, steps[0]), _turned(stains[1], second, steps[1])


def _halfway(one: _Stains, other: _Stains) -> _Stains:
    return _unit(_mix(0.5, one[0], 0.5, other[0])), _unit(_mix(0.5, one[1], 0.5, other[1]))


@dataclass(frozen=True, slots=True)
class _Turn:
    """How a stain may turn to explain its pixels better."""

    aside: _Vector  # the step that depends on no other
    way: _Vector  # unit direction of the step that the other stain's step bears on
    pull: float  # minus the slope of the cost along ``way``
    stiffness: float  # its curvature
    share: float  # how much of ``way`` lies off the plane of the two stains


def _turn(stain: _Vector, normal: _Vector, *, left: _Vector, squares: float, pure: float) -> _Turn:
    """Where a stain may go, given what the other stain leaves of the densities that it holds.

    A pixel of both stains can only be explained better off their plane, along its normal: within
    the plane its codes follow. One of a single stain can be so sideways, too, within the plane. A
    component of nought that would fall below stays, and leaves one way to go.

    Args:
        stain: unit vector.
        normal: of the plane of the two stains.
        left: sum over pixels of code times density, less the other stain's part.
        squares: sum of squared codes.
        pure: the same over the pixels that hold this stain alone.
    """
    sideways = _cross(normal, stain)
    stuck = [axis for axis, at, by in zip(_AXES, stain, left, strict=True) if at == 0 and by <= 0]
    if not stuck:
        aside = _scaled(_shortened(_dot(left, sideways) / pure), sideways)
        return _Turn(aside, normal, pull=_dot(left, normal), stiffness=squares, share=1.0)
    if len(stuck) > 1:
        return _Turn(_NOWHERE, _NOWHERE, pull=0.0, stiffness=squares, share=0.0)
    way = _unit(_cross(stuck[0], stain))
    off, along = _dot(way, normal), _dot(way, sideways)
    stiffness = squares * off * off + pure * along * along
    return _Turn(_NOWHERE, way, pull=_dot(left, way), stiffness=stiffness, share=off)


def _common_steps(first: _Turn, second: _Turn, shared: float) -> tuple[float, float]:
    """How far each stain goes its way; ``shared`` is the sum of products of their codes."""
    coupling = shared * first.share * second.share
    determinant = first.stiffness * second.stiffness - coupling * coupling
    if determinant <= 0:
        raise UnstainedError(Reason.SINGLE_STAIN)
    return (
        _shortened((second.stiffness * first.pull - coupling * second.pull) / determinant),
        _shortened((first.stiffness * second.pull - coupling * first.pull) / determinant),
    )


def _turned(stain: _Vector, turn: _Turn, step: float) -> _Vector:
    red, green, blue = _mix(1.0, stain, 1.0, _mix(1.0, turn.aside, step, turn.way))
    return _unit((max(0.0, red), max(0.0, green), max(0.0, blue)))


def _change(before: _Vector, after: _Vector) -> float:
    return max(abs(old - new) for old, new in zip(before, after, strict=True))


def _shortened(step: float) -> float:
    return max(-_LONGEST_STEP, min(step, _LONGEST_STEP))


def _unit(vector: _Vector) -> _Vector:
    length = math.hypot(*vector)
    if length <= 0:
        raise UnstainedError(Reason.SINGLE_STAIN)
    return _scaled(1.0 / length, vector)


def _dot(a: _Vector, b: _Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: _Vector, b: _Vector) -> _Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _scaled(factor: float, a: _Vector) -> _Vector:
    return factor * a[0], factor * a[1], factor * a[2]


def _mix(p: float, a: _Vector, q: float, b: _Vector) -> _Vector:
    return p * a[0] + q * b[0], p * a[1] + q * b[1], p * a[2] + q * b[2]
