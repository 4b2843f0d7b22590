"""The learning curve: one row an epoch, written as ``history.csv``."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from eosin.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.training.config import Monitor


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What one epoch gave."""

    epoch: int  # from 1
    # mean of the loss that was minimised (augmented images, class weights, label smoothing,
    # dropout), in nats
    train_loss: float
    train_accuracy: float  # on the same augmented images, in [0, 1]
    val_loss: float  # plain log loss on the validation images, in nats; NaN where there are none
    val_accuracy: float  # in [0, 1]
    val_balanced_accuracy: float  # mean recall of the classes present, in [0, 1]
    learning_rate: float  # of the backbone at the last step
    seconds: float  # that the epoch took

    def score(self, monitor: Monitor) -> tuple[float, float]:
        """More is better; of equally accurate epochs the one with the lower loss wins."""
        if monitor == "last":
            return float(self.epoch), 0.0
        if monitor == "val_loss":
            return -self.val_loss, self.val_accuracy
        accuracy = self.val_accuracy if monitor == "val_accuracy" else self.val_balanced_accuracy
        return accuracy, -self.val_loss


def best_epoch(rows: Sequence[EpochRow], monitor: Monitor) -> int:
    """The epoch to keep: the first of the best; 0 where there is none yet."""
    if not rows:
        return 0
    return max(rows, key=lambda row: (row.score(monitor), -row.epoch)).epoch


def epoch_line(row: EpochRow, epochs: int, *, best: bool) -> str:
    """The line that is shown of an epoch."""
    return (
        f"epoch {row.epoch:>3}/{epochs}  "
        f"train loss {row.train_loss:.3f} accuracy {row.train_accuracy:.3f}  "
        f"validation loss {row.val_loss:.3f} accuracy {row.val_accuracy:.3f} "
        f"balanced {row.val_balanced_accuracy:.3f}  {row.seconds:.0f} s"
        + ("  best so far" if best else "")
    )


def write_history(rows: Sequence[EpochRow], path: Path) -> None:
    """Write the whole curve in one step."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [field.name for field in fields(EpochRow)])
        table.writeheader()
        table.writerows(_rounded(row) for row in rows)


def _rounded(row: EpochRow) -> dict[str, float]:
    return {
        name: value if isinstance(value, int) else float(f"{value:.6g}")
        for name, value in asdict(row).items()
    }
