"""The columns of a predictions table that say how far to trust a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.artefacts.prediction_columns import JOIN
from eosin.artefacts.reference import ABSTAIN, FLAGS, Flag, Trust
from eosin.trust.acquisition import stated_otherwise
from eosin.trust.conformal import Calibration, conformal_sets
from eosin.trust.familiarity import UNFAMILIAR_BELOW
from eosin.trust.judge import open_judge
from eosin.trust.reference import load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Bools
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run
    from eosin.tasks import Task
    from eosin.trust.conformal import SetOptions
    from eosin.trust.reference import Look

_NOBODY: Final = np.empty(0, np.int64)


def with_trust(
    predictions: Predictions,
    run: Run,
    looks: Sequence[Look],
    options: SetOptions,
    *,
    rows: pd.DataFrame,
    calibrated: bool = True,
) -> Predictions:
    """``predictions`` with the columns ``familiarity, flags, set, answer``.

    The answer is the decision where its set holds nothing else and nothing is flagged.

    Args:
        predictions: of ``run``.
        run: which has a reference, of whatever part.
        looks: one a row, or none where the Run cannot tell the unfamiliar.
        options: level and method of the sets.
        rows: the manifest's rows of the images.
        calibrated: whether they were scored as those that calibrate the sets; else every set is
            full.
    """
    calibration = calibration_of(run) if calibrated else _of_nobody(run)
    judge = open_judge(run) if looks else None
    sets = conformal_sets(
        predictions.probabilities, calibration, options, ordinal=predictions.task.ordinal
    )
    frame = predictions.frame.assign(
        familiarity=[np.nan if look.familiarity is None else look.familiarity for look in looks]
        or np.nan,
        flags=_flags(looks, other_magnifications(run, rows)),
        set=_texts(sets, predictions.task),
    )
    alone = (frame["set"] == frame["decision"]) & (frame["flags"] == "")
    trust = Trust(
        unfamiliar_below=UNFAMILIAR_BELOW,
        familiar_patients=judge.patients if judge else None,
        coverage=options.coverage,
        sets=options.method,
        by_class=options.by_class,
        calibration_patients=calibration.patients,
        patients_needed=options.patients_needed,
    )
    return predictions.with_trust(
        frame.assign(answer=np.where(alone, frame["decision"], ABSTAIN)), trust
    )


def other_magnifications(run: Run, rows: pd.DataFrame) -> list[str]:
    """Of each row, the magnification or um/px that it states where ``run`` was trained at another.

    A Run of several networks knows the magnifications of them all; one without a reference none.
    """
    references = [leaf.record.reference for leaf in run.leaves()]
    known = [each.acquisition for each in references if each and each.acquisition]
    if not known:
        return [""] * len(rows)
    columns = [stated_otherwise(rows, each) for each in known]
    return [cells[0] if all(cells) else "" for cells in zip(*columns, strict=True)]


def _flags(looks: Sequence[Look], stated: Sequence[str]) -> list[str]:
    """The flags of each row in the order of ``FLAGS``, with those of magnifications ``stated``."""
    said = [set(look.flags) for look in looks] or [set[Flag]() for _ in stated]
    for flags, other in zip(said, stated, strict=True):
        flags |= {"other-magnification"} if other else set()
    return [" ".join(sorted(flags, key=FLAGS.index)) for flags in said]


def calibration_of(run: Run) -> Calibration:
    """The answers that calibrate the sets of ``run``; of nobody where it has none."""
    known = load_reference(run)
    return (known and known.calibration) or _of_nobody(run)


def _of_nobody(run: Run) -> Calibration:
    return Calibration(np.empty((0, len(run.record.task.classes))), _NOBODY, _NOBODY)


def _texts(sets: Bools, task: Task) -> list[str]:
    names = np.array(task.classes, dtype=object)
    return [JOIN.join(names[row]) for row in sets]
