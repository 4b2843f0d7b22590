"""Epochs told to TensorBoard or MLflow, where the settings ask for it."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.training.config import TrainingConfig
    from eosin.training.history import EpochRow

_INSTALL = 'pip install "eosin[track]"'
_EXPERIMENT = "eosin"
_RUN_ID_NAME = "mlflow_run_id.txt"


class Tracker(Protocol):
    """Told of each epoch once."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch ended."""

    def close(self) -> None:
        """Nothing more will come."""


class NoTracker:
    """Tells nobody."""

    def epoch(self, row: EpochRow) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """Tell nobody."""


class TensorBoardTracker:
    """Scalars in ``<folder>/tensorboard``."""

    def __init__(self, folder: Path, *, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(f"track = 'tensorboard' needs TensorBoard: {_INSTALL}") from error
        # What a killed epoch wrote is hidden, since that epoch is trained again.
        self._writer = SummaryWriter(folder / "tensorboard", purge_step=done + 1)

    def epoch(self, row: EpochRow) -> None:
        """Write every column as a scalar."""
        for name, value in _metrics(row).items():
            self._writer.add_scalar(name, value, row.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class MlflowTracker:
    """A run of the experiment ``eosin`` on the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ConfigError(f"track = 'mlflow' needs MLflow: {_INSTALL}") from error
        server = os.environ.get("MLFLOW_TRACKING_URI")
        if not server:
            raise ConfigError(
                "track = 'mlflow' needs MLFLOW_TRACKING_URI, e.g. http://127.0.0.1:5000 for a "
                "server that `mlflow server` starts"
            )
        self._client = MlflowClient(tracking_uri=server)
        self._run = self._open(folder, config)

    def epoch(self, row: EpochRow) -> None:
        """Log every column as a metric."""
        for name, value in _metrics(row).items():
            self._client.log_metric(self._run, name, value, step=row.epoch)

    def close(self) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self._run)

    def _open(self, folder: Path, config: TrainingConfig) -> str:
        """The run begun before the interruption, or a new one."""
        note = folder / _RUN_ID_NAME
        if note.is_file():
            return note.read_text(encoding="utf-8").strip()
        known = self._client.get_experiment_by_name(_EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(_EXPERIMENT)
        run = str(self._client.create_run(experiment, run_name=folder.name).info.run_id)
        for name, value in config.model_dump(mode="json").items():
            self._client.log_param(run, name, value)
        note.write_text(run + "\n", encoding="utf-8")
        return run


def open_tracker(folder: Path, config: TrainingConfig, *, done: int) -> Tracker:
    """The tracker that ``config.track`` names; ``done`` epochs were told before.

    Raises:
        ConfigError: its package is not installed, or MLflow has no server to tell.
    """
    if config.track == "tensorboard":
        return TensorBoardTracker(folder, done=done)
    if config.track == "mlflow":
        return MlflowTracker(folder, config)
    return NoTracker()


def _metrics(row: EpochRow) -> dict[str, float]:
    return {name: value for name, value in asdict(row).items() if name != "epoch"}
