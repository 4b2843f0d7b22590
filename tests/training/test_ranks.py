"""Processes that train together end in the weights of one that sees the same images a step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.errors import ConfigError
from eosin.machine import launched, reading_threads
from eosin.networks.run import HISTORY_NAME, read_run
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune
from eosin.training.resume import STATE_NAME, Identity
from eosin.training.train import train

SOURCE = Path(__file__).resolve().parents[2] / "src"
# A network whose BatchNorm keeps its statistics and that drops nothing: what a step of it learns
# does not depend on how its images are divided.
PLAIN = {"freeze_batchnorm": True, "dropout": 0.0, "early_stopping_patience": 0, "cache": False}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **more}


@contextmanager
def together(
    manifest: Manifest, folder: Path, config: TrainingConfig, *options: str, tries: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """Two processes of `eosin train`, as torchrun starts them."""
    table, settings = folder.with_suffix(".csv"), folder.with_suffix(".toml")
    manifest.write(table)
    fields = config.model_dump(mode="json", exclude_defaults=True)
    said = (f"{key} = {json.dumps(value)}" for key, value in fields.items())
    settings.write_text("\n".join(said), encoding="utf-8")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    verb = ("-m", "eosin", "train", table, "-o", folder, "--config", settings, *options)
    with folder.with_suffix(".log").open("w") as log:
        child = subprocess.Popen(
            [*torchrun, f"--max-restarts={tries}", *map(str, verb)],
            env=environment(),
            stdout=log,
            stderr=log,
        )
        try:
            yield child
            child.wait(timeout=240)
        finally:
            child.terminate()  # torchrun ends its processes too
            child.wait()


def said_of(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def difference(first: Path, second: Path) -> float:
    one, other = load_file(first), load_file(second)
    assert one.keys() == other.keys()
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one_with_the_same_images_a_step(
    tiny_manifest, tiny_config, tmp_path
):
    tiny_manifest.in_split("train").paths[5].write_bytes(b"")  # the shares of a step differ
    manifest = tiny_manifest.where([row != 0 for row in range(len(tiny_manifest))])
    # 23 images in steps of 22: for the last one the second process has none
    config = tiny_config.with_overrides({**PLAIN, "batch_size": 11, "epochs": 4})
    with together(manifest, tmp_path / "two", config):
        pass
    said = said_of(tmp_path / "two")
    assert "exitcode  : 3" in said, said  # one file was skipped
    assert said.count("run written") == 1  # the first process speaks, and it alone
    assert said.count("epoch   4/4") == 1
    two = read_run(tmp_path / "two")
    whole = config.with_overrides({"batch_size": 22})
    one = train(manifest, tmp_path / "one", whole).run
    assert difference(two.weights_path, one.weights_path) < 1e-5
    assert two.record.training["ranks"] == 2
    assert any("2 processes trained together" in note for note in two.record.notes)
    assert (two.folder / "errors.csv").read_text() == (one.folder / "errors.csv").read_text()
    tables = [read_predictions(each.folder / "predictions.csv") for each in (one, two)]
    assert abs(tables[0].probabilities - tables[1].probabilities).max() < 1e-4
    assert tables[0].provenance.protocol == tables[1].provenance.protocol


def test_accumulated_batches_end_in_the_weights_of_one_large_batch(
    tiny_manifest, tiny_config, tmp_path
):
    small = tiny_config.with_overrides({**PLAIN, "batch_size": 4, "accumulate": 4})
    large = tiny_config.with_overrides({**PLAIN, "batch_size": 16})
    runs = [
        finetune(tiny_manifest, tmp_path / name, each).run
        for name, each in (("s", small), ("l", large))
    ]
    assert difference(runs[0].weights_path, runs[1].weights_path) < 1e-5
    # ... so that a training may be continued with its images divided in another way
    assert Identity.of(tiny_manifest, small, None) == Identity.of(tiny_manifest, large, None)
    other = tiny_config.with_overrides({**PLAIN, "batch_size": 8})
    with pytest.raises(ConfigError, match="images a step was 8 and is 16"):
        Identity.of(tiny_manifest, large, None).require(
            Identity.of(tiny_manifest, other, None), tmp_path
        )


def ranks_of(parent: int) -> dict[str, int]:
    """The process of each RANK that torchrun started."""
    found = {}
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            fields = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found |= {each[5:].decode(): int(pid) for each in fields if each.startswith(b"RANK=")}
    return found


def wait_for(epochs: int, folder: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    curve = folder / HISTORY_NAME
    while not curve.exists() or len(curve.read_text().splitlines()) <= epochs:
        assert child.poll() is None, said_of(folder)
        assert time.monotonic() < deadline, f"not {epochs} epochs in two minutes"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of torchrun in /proc")
@pytest.mark.parametrize("victims", ["0", pytest.param("10", marks=pytest.mark.weekly)])
def test_killed_processes_are_started_again_and_the_weights_are_those_of_an_unbroken_training(
    victims, tiny_manifest, tiny_config, tmp_path
):
    config = tiny_config.with_overrides({"early_stopping_patience": 0, "epochs": 12})
    folder = tmp_path / "broken"
    with together(tiny_manifest, folder, config, "--resume", tries=len(victims)) as broken:
        for number, victim in enumerate(victims):
            wait_for(1 + 3 * number, folder, broken)
            os.kill(ranks_of(broken.pid)[victim], signal.SIGKILL)
            assert not (folder / "run.json").exists()
    assert broken.returncode == 0, said_of(folder)
    assert said_of(folder).count("run written") == 1
    with together(tiny_manifest, tmp_path / "whole", config) as whole:
        pass
    assert whole.returncode == 0, said_of(tmp_path / "whole")
    runs = [read_run(tmp_path / name) for name in ("broken", "whole")]
    assert difference(runs[0].weights_path, runs[1].weights_path) == 0.0
    assert runs[0].record == runs[1].record
    assert any("BatchNorm saw each process's own images" in note for note in runs[0].record.notes)
    assert not (runs[0].folder / STATE_NAME).exists()


def refused(*verb: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "eosin", *verb],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
def test_verbs_for_one_process_refuse_to_be_several(tiny_manifest, tmp_path):
    tiny_manifest.write(tmp_path / "s.csv")
    several = {"RANK": "0", "WORLD_SIZE": "4"}
    said = refused("evaluate", "p.csv", "-o", str(tmp_path / "e.json"), **several)
    assert "eosin evaluate is for one process, and 4 were started (WORLD_SIZE)" in said
    frozen = ("train", str(tmp_path / "s.csv"), "-o", str(tmp_path / "run"), "--freeze")
    assert "several processes fine-tune one network" in refused(*frozen, **several)
    assert not (tmp_path / "run").exists()
    unmet = ("train", str(tmp_path / "s.csv"), "-o", str(tmp_path / "run"), "--device", "cpu")
    assert "cannot meet" in refused(*unmet, **several)  # nobody said where


def test_what_torchrun_says_is_read_and_a_wrong_word_named(monkeypatch):
    assert launched() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ConfigError, match="RANK = 3 of WORLD_SIZE = 1"):
        launched()
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ConfigError, match="WORLD_SIZE = 'many': want a number"):
        launched()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert reading_threads() == 1
    assert reading_threads(5) == 5


def test_a_weight_that_takes_no_part_in_the_answer_is_found_and_nothing_is_changed():
    from eosin.networks.classifier import build_classifier
    from eosin.training.ranks import _some_unused

    network = build_classifier("test_efficientnet", classes=2, dropout=0.3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert not _some_unused(network, 32)
    network.backbone.idle = torch.nn.Linear(2, 2)
    assert _some_unused(network, 32)
    assert all(torch.equal(network.state_dict()[name], kept) for name, kept in before.items())
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
