"""What the columns of trust say of a whole table, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from eosin.artefacts.prediction_columns import JOIN
from eosin.artefacts.reference import ABSTAIN

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions
    from eosin.artefacts.reference import Flag, Trust

FLAG_WORDS: Final[dict[Flag, str]] = {
    "unfamiliar": "unlike anything this Run was trained on",
    "no-tissue": "no tissue",
    "blurred": "less sharp than the images this Run was trained on",
    "stain": "stained unlike the images this Run was trained on",
    "other-magnification": "another magnification than the Run was trained at",
    "other-size": "of another size than the images this Run was trained on",
}


def trust_lines(predictions: Predictions) -> tuple[str, ...]:
    """How many images have which flag, what sets promise, and how often the answer is none."""
    trust = predictions.trust
    if trust is None:
        return ()
    flags, images = predictions.frame["flags"].str.split(), len(predictions)
    counts = {name: int(flags.map(lambda row, name=name: name in row).sum()) for name in FLAG_WORDS}
    said = [
        f"{n} of {images} images: {FLAG_WORDS[name]} ({name})." for name, n in counts.items() if n
    ]
    if counts["unfamiliar"]:
        usual = f"{100 * trust.unfamiliar_below:g} %"
        said[0] = f"{said[0][:-2]}; of its own kind {usual} of new patients' images are)."
    sizes = predictions.frame["set"].str.split(JOIN, regex=False).map(len)
    abstained = int((predictions.frame["answer"] == ABSTAIN).sum())
    mean = f"; a set holds {sizes.mean():.2f} classes on average"
    return (
        *said,
        f"{promise(trust)}{mean if trust.calibration_patients >= trust.patients_needed else ''}.",
        f"The answer is to abstain for {abstained} of {images} images: flagged, or more than one "
        "class is left.",
    )


def promise(trust: Trust) -> str:
    """What the sets promise and from how many patients, without a full stop."""
    level = f"{100 * trust.coverage:g} %"
    if trust.calibration_patients < trust.patients_needed:
        return (
            f"Sets: {trust.calibration_patients} patients calibrate them and {level} coverage "
            f"needs {trust.patients_needed}, so every set holds every class"
        )
    of = "each class of new patients' images" if trust.by_class else "new patients' images"
    return (
        f"Sets ({trust.sets.upper()}): for {level} of {of} the set holds the truth, calibrated on "
        f"{trust.calibration_patients} patients"
    )


def flagged_lines(predictions: Predictions, *, most: int) -> tuple[str, ...]:
    """The flagged images, the least familiar first, each with its flags; at most ``most`` named."""
    frame = predictions.frame[predictions.flagged]
    if frame.empty:
        return ()
    ranked = frame.sort_values(["familiarity", "path"], kind="stable")
    rows = [
        f"{Path(row.path).name}: {row.flags.replace(' ', ', ')}"
        + ("" if row.familiarity != row.familiarity else f" (familiarity {row.familiarity:.3f})")
        for row in ranked.head(most).itertuples()
    ]
    rest = len(frame) - len(rows)
    return (*rows, f"and {rest} more in the table") if rest else tuple(rows)
