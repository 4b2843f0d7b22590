"""The reference of a Run: learnt from its training and validation patients, kept beside its record.

It is used without torch: the record says what it is, ``reference.safetensors`` holds its arrays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.reference import (
    MOST_REFERENCE_BYTES,
    REFERENCE_NAME,
    Familiarity,
    Reference,
    SetCalibration,
)
from eosin.errors import ModelError
from eosin.files import replacing, sha256_of
from eosin.trust.acquisition import flags_of, learn_acquisition
from eosin.trust.conformal import Calibration
from eosin.trust.familiarity import (
    FEWEST_PATIENTS,
    Appearance,
    Shares,
    Space,
    calibrate,
    fit_space,
    left_out_strangeness,
    numbered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Literal

    import numpy.typing as npt
    import pandas as pd

    from eosin.arrays import Bools, Floats
    from eosin.artefacts.reference import Acquisition, Flag
    from eosin.networks.run import Run

    Arrays = Mapping[str, npt.NDArray[np.generic]]

_MOST_ANSWERS = 20_000  # images that calibrate sets, evenly spread
_LOOKED_AT = 12  # measures of pixels that familiarity takes in


@dataclass(frozen=True)
class Look:
    """What a Run says of one image beside its probabilities."""

    familiarity: float | None  # the share of new patients' images at least as strange
    flags: tuple[Flag, ...]  # what lies outside of what it knows


@dataclass(frozen=True, eq=False)
class Known:
    """A reference, ready to use; a part is None where it could not be learnt."""

    space: Space | None = None
    shares: Shares | None = None
    acquisition: Acquisition | None = None
    calibration: Calibration | None = None
    source: Literal["validation", "cross-validation", "out-of-fold"] = "validation"

    def familiarity(self, features: Floats, measures: Floats) -> Floats | None:
        """Of pooled features (n, channels) and measures (n, names); None where it cannot tell.

        Raises:
            ModelError: the features are not those of the network that it was learnt with.
        """
        if self.space is None or self.shares is None:
            return None
        if features.shape[1] != len(self.space.mean):
            raise ModelError(
                f"the reference knows {len(self.space.mean)} features and the network gives "
                f"{features.shape[1]}: it is of another network; train the Run again"
            )
        return self.shares.familiarity(self.space.strangeness(features, measures))

    def flags(self, measures: Floats) -> list[tuple[Flag, ...]]:
        """Of each row of ``measures`` (n, names), what of its acquisition is out of the common."""
        known = self.acquisition
        return [() if known is None else flags_of(row, known) for row in measures]


def learn_features(
    features: Floats, measures: Floats, rows: pd.DataFrame, *, unfitted: Bools
) -> Known:
    """What features and pixels of the training and validation images say.

    Args:
        features: pooled, shape (n, channels).
        measures: as ``pixels.acquisition.measure`` gives them, shape (n, names).
        rows: the manifest's rows of the images.
        unfitted: which images' patients set no weight of the backbone, shape (n,): on these,
            each left out, familiarity is calibrated.
    """
    patient = numbered(rows["patient"].to_numpy(dtype=str))
    acquisition = learn_acquisition(measures, patient, rows)
    if len(np.unique(patient)) < FEWEST_PATIENTS or not unfitted.any():
        return Known(acquisition=acquisition)
    found = left_out_strangeness(features, measures, patient, unfitted)
    shares = calibrate(found, patient[unfitted])
    return Known(fit_space(features, measures, patient), shares, acquisition)


def answers(probabilities: Floats, rows: pd.DataFrame, classes: tuple[str, ...]) -> Calibration:
    """What calibrates sets: ``probabilities`` (n, classes) of labelled ``rows``."""
    keep = np.arange(len(rows))[:: max(1, -(-len(rows) // _MOST_ANSWERS))]
    index = {name: number for number, name in enumerate(classes)}
    labels = np.array([index[name] for name in rows["label"]], dtype=np.int64)
    return Calibration(
        probabilities[keep], labels[keep], numbered(rows["patient"].to_numpy(dtype=str))[keep]
    )


def write_reference(folder: Path, known: Known, *, weights_sha256: str | None) -> Reference:
    """Write the arrays and return the record's part; ModelError where they pass 5 MB."""
    from safetensors.numpy import save

    data = save(dict(_arrays(known)))
    if len(data) > MOST_REFERENCE_BYTES:
        raise ModelError(f"the reference takes {len(data):,} bytes: more than 5 MB; report this")
    with replacing(folder / REFERENCE_NAME) as draft:
        draft.write_bytes(data)
    space, shares, told = known.space, known.shares, known.calibration
    familiarity = calibration = None
    if space is not None and shares is not None:
        familiarity = Familiarity(
            channels=len(space.mean),
            patients=shares.patients,
            images=shares.images,
            tail=shares.tail,
            tail_scale=shares.scale,
        )
    if told is not None:
        calibration = SetCalibration(
            patients=told.patients, images=len(told.labels), source=known.source
        )
    return Reference(
        sha256=sha256_of(folder / REFERENCE_NAME),
        weights_sha256=weights_sha256,
        familiarity=familiarity,
        acquisition=known.acquisition,
        calibration=calibration,
    )


def load_reference(run: Run) -> Known | None:
    """The reference of a Run; None where it has none.

    Raises:
        ModelError: its file is missing, changed, or does not fit the record.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    said = run.record.reference
    if said is None:
        return None
    path = run.folder / REFERENCE_NAME
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != said.sha256:
            raise ModelError(f"{path}: changed since run.json was written; train the Run again")
        known = _known(said, load(data), len(run.record.task.classes))
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path}: not the reference of {run.folder} ({reason}); train the Run again"
        ) from error
    return known


def _arrays(known: Known) -> Arrays:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    if known.space is not None and known.shares is not None:
        space, shares = known.space, known.shares
        arrays |= {
            "familiarity.mean": space.mean.astype(np.float32),
            "familiarity.axes": np.ascontiguousarray(space.axes, np.float32),
            "familiarity.variances": np.append(space.variances, space.rest),
            "familiarity.looks": np.stack([space.appearance.mean, space.appearance.scale]),
            "familiarity.precision": space.appearance.precision,
            "familiarity.knots": shares.knots,
            "familiarity.shares": shares.shares,
        }
    if known.calibration is not None:
        told = known.calibration
        arrays |= {
            "sets.probabilities": np.ascontiguousarray(told.probabilities, np.float32),
            "sets.labels": told.labels.astype(np.int32),
            "sets.patient": told.patient.astype(np.int32),
        }
    return arrays


def _known(said: Reference, arrays: Arrays, classes: int) -> Known:
    """ValueError or KeyError, with the reason, where arrays and record do not go together."""
    if any(not np.isfinite(values).all() for values in arrays.values()):
        raise ValueError("it holds values that are not finite")
    space = shares = calibration = None
    if said.familiarity is not None:
        space, shares = _familiarity(said.familiarity, arrays)
    if said.calibration is not None:
        calibration = Calibration(
            arrays["sets.probabilities"].astype(np.float64),
            arrays["sets.labels"].astype(np.int64),
            arrays["sets.patient"].astype(np.int64),
        )
        shape, labels = calibration.probabilities.shape, calibration.labels
        if shape != (said.calibration.images, classes) or labels.shape != shape[:1]:
            raise ValueError(f"sets.probabilities of shape {shape} for {classes} classes")
        if (
            calibration.patient.shape != labels.shape
            or not 0 <= labels.min() <= labels.max() < classes
        ):
            raise ValueError("sets.labels or sets.patient do not fit sets.probabilities")
    source = said.calibration.source if said.calibration else "validation"
    return Known(space, shares, said.acquisition, calibration, source)


def _familiarity(said: Familiarity, arrays: Arrays) -> tuple[Space, Shares]:
    mean, axes, variances, looks, precision, knots, reach = (
        arrays[f"familiarity.{name}"].astype(np.float64)
        for name in ("mean", "axes", "variances", "looks", "precision", "knots", "shares")
    )
    if mean.shape != (said.channels,) or axes.shape != (len(variances) - 1, said.channels):
        raise ValueError(f"{len(mean)} features and axes {axes.shape}, want {said.channels}")
    if knots.shape != reach.shape or variances.min() <= 0 or (np.diff(knots) < 0).any():
        raise ValueError("familiarity.variances, knots or shares are no such values")
    if looks.shape != (2, len(precision)) or precision.shape != (_LOOKED_AT,) * 2:
        raise ValueError(f"familiarity.looks {looks.shape} and precision {precision.shape}")
    appearance = Appearance(looks[0], looks[1], precision)
    return (
        Space(mean, axes, variances[:-1], float(variances[-1]), appearance),
        Shares(knots, reach, said.tail, said.tail_scale, said.patients, said.images),
    )
