"""The learning curve says which epoch to keep."""

import pandas as pd

from eosin.training.history import EpochRow, best_epoch, write_history


def row(epoch: int, *, loss: float, accuracy: float, balanced: float = 0.5) -> EpochRow:
    return EpochRow(epoch, 0.7, 0.5, loss, accuracy, balanced, 1e-3, 12.0)


def test_the_epoch_kept_follows_what_is_monitored_and_the_first_of_equals_wins():
    rows = [
        row(1, loss=0.60, accuracy=0.80, balanced=0.9),
        row(2, loss=0.40, accuracy=0.75),
        row(3, loss=0.55, accuracy=0.80),
        row(4, loss=0.55, accuracy=0.80),
    ]
    assert best_epoch(rows, "val_loss") == 2
    assert best_epoch(rows, "val_accuracy") == 3  # as accurate as 1, with a lower loss
    assert best_epoch(rows, "val_balanced_accuracy") == 1
    assert best_epoch([], "val_loss") == 0


def test_the_curve_on_disk_has_a_row_an_epoch_under_plain_names(tmp_path):
    write_history([row(1, loss=1 / 3, accuracy=0.5)], tmp_path / "history.csv")
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table.columns) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_balanced_accuracy",
        "learning_rate",
        "seconds",
    ]
    assert table["val_loss"].item() == 0.333333
