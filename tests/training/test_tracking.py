"""Epochs reach TensorBoard, MLflow and the progress bar when asked, and only then."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from eosin.errors import ConfigError
from eosin.progress import Shown
from eosin.training.finetune import finetune
from eosin.training.tracking import open_tracker


def test_tensorboard_receives_every_epoch_under_the_names_of_the_history(
    tiny_manifest, tiny_config, tmp_path
):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_config.with_overrides({"epochs": 2, "track": "tensorboard"})
    run = finetune(tiny_manifest, tmp_path / "run", config).run
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val_loss")] == [1, 2]


def test_mlflow_receives_settings_and_epochs_in_one_run(
    tiny_manifest, tiny_config, tmp_path, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    server = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    config = tiny_config.with_overrides({"epochs": 2, "track": "mlflow"})
    run = finetune(tiny_manifest, tmp_path / "run", config).run
    client = mlflow.MlflowClient(tracking_uri=server)
    (logged,) = client.search_runs([client.get_experiment_by_name("eosin").experiment_id])
    assert logged.info.run_name == run.folder.name
    assert logged.info.status == "FINISHED"
    assert logged.data.params["backbone"] == "test_efficientnet"
    history = client.get_metric_history(logged.info.run_id, "val_accuracy")
    assert [metric.step for metric in history] == [1, 2]


@pytest.mark.parametrize(
    ("track", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")]
)
def test_a_tracker_that_is_not_installed_is_answered_with_the_command_that_installs_it(
    track, module, tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    config = tiny_config.with_overrides({"track": track})
    with pytest.raises(ConfigError, match=r'pip install "eosin\[track\]"'):
        open_tracker(tmp_path, config, done=0)


def test_mlflow_without_a_server_says_which_setting_names_it(tiny_config, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        open_tracker(tmp_path, tiny_config.with_overrides({"track": "mlflow"}), done=0)


def test_the_progress_bar_prints_a_line_an_epoch_and_marks_the_best(
    tiny_manifest, tiny_config, tmp_path
):
    screen = io.StringIO()
    console = Console(file=screen, width=160, force_terminal=False)
    config = tiny_config.with_overrides({"epochs": 2})
    finetune(tiny_manifest, tmp_path / "run", config, progress=Shown(console))
    lines = [line for line in screen.getvalue().splitlines() if "validation loss" in line]
    assert len(lines) == 2
    assert lines[0].startswith("epoch   1/2  train loss ")
    assert lines[0].endswith("best so far")


def test_the_python_api_is_silent(tiny_manifest, tiny_config, tmp_path, capsys):
    finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides({"epochs": 1}))
    assert capsys.readouterr() == ("", "")
