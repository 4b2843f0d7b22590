"""What each fold's Run says of the fold that it never met, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.codec import with_changes
from eosin.artefacts.predictions import Predictions, Provenance, unscored_note
from eosin.inference.context import said_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.reference import Trust
    from eosin.networks.run import Run


def out_of_fold(
    folder: Path, manifest: Manifest, runs: Sequence[Run], parts: Sequence[Predictions]
) -> Predictions:
    """The predictions of all folds, in the manifest's order.

    Args:
        folder: of the Run that the folds belong to.
        manifest: with the folds; a row a slide where the Runs answer for slides.
        runs: one a fold.
        parts: the predictions of each for its held-out fold.
    """
    import pandas as pd

    frame = _in_order(parts, manifest)
    provenance = Provenance(
        runs=(str(folder),),
        dataset=manifest.dataset,
        protocol=manifest.protocol,
        split="out-of-fold",
        model=runs[0].record.backbone,
        notes=(
            *manifest.notes,
            *said_of(runs, manifest.frame),
            *unscored_note(len(manifest) - len(frame)),
        ),
    )
    tiles = [part.attention for part in parts if part.attention is not None]
    attention = pd.concat(tiles, ignore_index=True) if tiles else None
    return Predictions(frame, manifest.task, provenance, _trust(parts), attention)


def _trust(parts: Sequence[Predictions]) -> Trust | None:
    """How the columns of trust were made: of numbers of patients the fewest."""
    first = parts[0].trust
    if first is None:
        return None
    told = [part.trust for part in parts if part.trust is not None]
    return with_changes(
        first,
        calibration_patients=min(each.calibration_patients for each in told),
        familiar_patients=min(each.familiar_patients or 0 for each in told) or None,
    )


def _in_order(parts: Sequence[Predictions], manifest: Manifest) -> pd.DataFrame:
    """The rows of all parts, in the manifest's order."""
    import pandas as pd

    frame = pd.concat([part.frame for part in parts])
    order = {path: row for row, path in enumerate(manifest.frame["path"])}
    return frame.sort_values("path", key=lambda paths: paths.map(order), ignore_index=True)
