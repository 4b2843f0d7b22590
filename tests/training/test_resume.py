"""A training killed at any moment ends in the very weights of one that was let run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from eosin.artefacts.codec import with_changes
from eosin.errors import ConfigError, ModelError
from eosin.networks.run import HISTORY_NAME, RECORD_NAME, write_run
from eosin.progress import Silent
from eosin.training.finetune import finetune
from eosin.training.resume import STATE_NAME, Identity, finished_run

SOURCE = Path(__file__).resolve().parents[2] / "src"
TRAIN = """
import sys, torch
from pathlib import Path
from eosin.artefacts.manifest import read_manifest
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune
manifest, folder, settings, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
finetune(read_manifest(Path(manifest)), Path(folder),
         TrainingConfig.model_validate_json(settings))
"""


class Interrupt(Silent):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epochs_left = epoch

    def note(self, sentence):
        self.epochs_left -= sentence.startswith("epoch")
        if self.epochs_left == 0:
            raise KeyboardInterrupt


def same_tensors(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def curve(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / HISTORY_NAME).drop(columns="seconds")


def test_a_run_killed_in_mid_training_resumes_to_bit_identical_weights(
    tiny_manifest, tiny_config, tmp_path
):
    config = tiny_config.with_overrides({"epochs": 6, "early_stopping_patience": 0})
    tiny_manifest.write(tmp_path / "split.csv")
    folder = tmp_path / "killed"
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            TRAIN,
            str(tmp_path / "split.csv"),
            str(folder),
            config.model_dump_json(),
            str(torch.get_num_threads()),
        ],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    deadline = time.monotonic() + 120
    while not (folder / HISTORY_NAME).exists():
        assert child.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline, "no epoch was finished in two minutes"
        time.sleep(0.005)
    time.sleep(0.05)  # into the next epoch
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = len(curve(folder))
    assert 1 <= done < 6
    assert not (folder / RECORD_NAME).exists()

    resumed = finetune(tiny_manifest, folder, config, resume=True).run
    whole = finetune(tiny_manifest, tmp_path / "whole", config).run
    assert same_tensors(resumed.weights_path, whole.weights_path)
    assert curve(folder).equals(curve(whole.folder))
    assert resumed.record == whole.record
    assert not (folder / STATE_NAME).exists()


def test_a_kill_at_any_write_leaves_a_training_that_resumes_to_the_same_weights(
    tiny_manifest, tiny_config, tmp_path, monkeypatch
):
    config = tiny_config.with_overrides({"epochs": 2})
    whole = finetune(tiny_manifest, tmp_path / "whole", config).run
    writes = 0
    real = Path.replace

    def counted(path, target):
        nonlocal writes
        writes += 1
        if writes == stop_at:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", counted)
    for stop_at in range(1, 12):
        writes, folder = 0, tmp_path / f"stopped-{stop_at}"
        try:
            finetune(tiny_manifest, folder, config)
        except KeyboardInterrupt:
            resumed = finetune(tiny_manifest, folder, config, resume=True).run
            assert same_tensors(resumed.weights_path, whole.weights_path)
            assert resumed.record == whole.record
        else:
            break
    assert stop_at > 7  # state and history of two epochs, best weights, then the Run


@pytest.mark.parametrize("part", [{"train_blocks": 2}, {"adapters": 4}])
def test_a_part_of_a_network_resumes_to_bit_identical_weights(
    part, tiny_manifest, tiny_config, tmp_path
):
    vit = {"backbone": "test_vit", "image_size": 160, "early_stopping_patience": 0}
    config = tiny_config.with_overrides({**vit, **part})
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, tmp_path / "stopped", config, progress=Interrupt(2))
    resumed = finetune(tiny_manifest, tmp_path / "stopped", config, resume=True).run
    whole = finetune(tiny_manifest, tmp_path / "whole", config).run
    assert same_tensors(resumed.weights_path, whole.weights_path)
    assert curve(resumed.folder).equals(curve(whole.folder))
    assert resumed.record == whole.record


def test_ctrl_c_keeps_the_epochs_done_and_a_plain_start_will_not_overwrite_them(
    tiny_manifest, tiny_config, tmp_path
):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, folder, tiny_config, progress=Interrupt(2))
    assert len(curve(folder)) == 2
    with pytest.raises(ConfigError, match="unfinished training; continue it with --resume"):
        finetune(tiny_manifest, folder, tiny_config)
    run = finetune(tiny_manifest, folder, tiny_config, resume=True).run
    assert len(curve(folder)) == 3
    with pytest.raises(ConfigError, match="holds a finished Run"):
        finetune(tiny_manifest, folder, tiny_config)
    before = run.weights_path.stat().st_mtime_ns
    assert finetune(tiny_manifest, folder, tiny_config, resume=True).run.record == run.record
    assert run.weights_path.stat().st_mtime_ns == before


def test_another_training_cannot_be_resumed_into_the_folder(tiny_manifest, tiny_config, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, folder, tiny_config, progress=Interrupt(1))
    faster = tiny_config.with_overrides({"learning_rate": 0.5})
    with pytest.raises(ConfigError, match=r"learning_rate was 0\.002 and is 0\.5"):
        finetune(tiny_manifest, folder, faster, resume=True)
    fewer = tiny_manifest.where([row != 0 for row in range(len(tiny_manifest))])
    with pytest.raises(ConfigError, match="rows have changed"):
        finetune(fewer, folder, tiny_config, resume=True)
    with pytest.raises(ConfigError, match="fold held out was None and is 1"):
        finetune(tiny_manifest, folder, tiny_config, resume=True, fold=1)
    readers = tiny_config.with_overrides({"workers": 1})
    finetune(tiny_manifest, folder, readers, resume=True)
    with pytest.raises(ConfigError, match="epochs was 3 and is 4"):
        finetune(tiny_manifest, folder, tiny_config.with_overrides({"epochs": 4}), resume=True)


def test_findings_that_a_run_keeps_beside_its_settings_do_not_make_it_another_training(
    tiny_manifest, tiny_config, tmp_path
):
    run = finetune(tiny_manifest, tmp_path / "run", tiny_config.with_overrides({"epochs": 1})).run
    noted = {**run.record.training, "probe": {"strength": 0.1}}
    write_run(run.folder, with_changes(run.record, training=noted))
    identity = Identity.of(tiny_manifest, tiny_config.with_overrides({"epochs": 1}), None)
    found = finished_run(run.folder, identity, resume=True)
    assert found is not None
    assert found.record.training == noted


def test_resume_with_nothing_done_starts_from_the_beginning(tiny_manifest, tiny_config, tmp_path):
    config = tiny_config.with_overrides({"epochs": 1})
    plain = finetune(tiny_manifest, tmp_path / "plain", config).run
    resumed = finetune(tiny_manifest, tmp_path / "resumed", config, resume=True).run
    assert same_tensors(plain.weights_path, resumed.weights_path)


def test_a_damaged_state_is_named_and_code_in_it_is_never_run(tiny_manifest, tiny_config, tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / STATE_NAME).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match=r"resume\.pt: not a readable training state"):
        finetune(tiny_manifest, folder, tiny_config, resume=True)
    assert not (tmp_path / "ran").exists()


def test_a_state_that_lost_a_tensor_is_named(tiny_manifest, tiny_config, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, folder, tiny_config, progress=Interrupt(1))
    state = torch.load(folder / STATE_NAME, weights_only=True)
    state["learner"]["network"].pop("head.bias")
    torch.save(state, folder / STATE_NAME)
    with pytest.raises(ModelError, match=r"resume\.pt: not the state of this training \(.*remove"):
        finetune(tiny_manifest, folder, tiny_config, resume=True)


def test_skipped_files_are_remembered_across_an_interruption(tiny_manifest, tiny_config, tmp_path):
    bad = tiny_manifest.in_split("train").paths[3]
    bad.write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, tmp_path / "run", tiny_config, progress=Interrupt(3))
    made = finetune(tiny_manifest, tmp_path / "run", tiny_config, resume=True)
    assert [item.path for item in made.skipped] == [bad]
    assert made.run.record.notes == ("1 file could not be read and was left out of training.",)
