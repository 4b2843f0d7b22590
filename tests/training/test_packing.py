"""Training from decoded images learns what training from files does, and decodes each file once."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from eosin.networks.run import HISTORY_NAME
from eosin.pixels import views as views_module
from eosin.progress import Shown, Silent
from eosin.training.finetune import finetune


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded so far."""
    paths: list[Path] = []
    reading = views_module.image_in_turn
    monkeypatch.setattr(
        views_module, "image_in_turn", lambda path: paths.append(path) or reading(path)
    )
    return paths


def learned(folder: Path) -> tuple[pd.DataFrame, dict[str, torch.Tensor]]:
    history = pd.read_csv(folder / HISTORY_NAME).drop(columns="seconds")
    return history, load_file(folder / "model.safetensors")


def require_same(first: Path, second: Path) -> None:
    (rows, weights), (other_rows, other_weights) = learned(first), learned(second)
    pd.testing.assert_frame_equal(rows, other_rows, check_exact=True)
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


@pytest.mark.parametrize(
    "settings", [{}, {"stain": "reinhard", "stain_per": "patient", "stain_jitter": 0.2}]
)
def test_the_same_is_learned_with_and_without_the_cache(
    settings, tiny_manifest, tiny_config, tmp_path
):
    config = tiny_config.with_overrides({"epochs": 2, **settings})
    finetune(tiny_manifest, tmp_path / "cached", config)
    finetune(tiny_manifest, tmp_path / "bare", config.with_overrides({"cache": False}))
    finetune(tiny_manifest, tmp_path / "again", config)
    require_same(tmp_path / "cached", tmp_path / "bare")
    require_same(tmp_path / "cached", tmp_path / "again")


def test_each_file_is_decoded_once_and_by_later_trainings_never(
    tiny_manifest, tiny_config, tmp_path, decoded, told
):
    finetune(tiny_manifest, tmp_path / "run", tiny_config, progress=told)
    train_and_val = [p for s in ("train", "val") for p in tiny_manifest.in_split(s).paths]
    assert sorted(decoded) == sorted(train_and_val)
    assert told.works[0] == ("decoding, once", 36, 0)
    assert told.steps["decoding, once"] == 36
    finetune(tiny_manifest, tmp_path / "other", tiny_config.with_overrides({"seed": 5}))
    assert len(decoded) == 36


def test_without_the_cache_nothing_is_written_and_each_epoch_decodes(
    tiny_manifest, tiny_config, tmp_path, decoded, empty_cache
):
    config = tiny_config.with_overrides({"cache": False, "epochs": 2, "warmup_epochs": 0})
    finetune(tiny_manifest, tmp_path / "run", config)
    assert len(decoded) == 2 * 36 + 12  # and the validation images once more, to calibrate
    assert not empty_cache.exists()


def test_a_full_disk_costs_time_and_a_sentence_and_changes_nothing(
    tiny_manifest, tiny_config, tmp_path, monkeypatch, empty_cache, told
):
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        finetune(tiny_manifest, tmp_path / "full", tiny_config, progress=told)
    (note,) = [sentence for sentence in told.notes if not sentence.startswith("epoch")]
    assert note.startswith("no cache, images are decoded in every epoch")
    assert str(empty_cache) in note
    assert "24 decoded images take" in note
    finetune(tiny_manifest, tmp_path / "roomy", tiny_config)
    require_same(tmp_path / "full", tmp_path / "roomy")


def test_a_training_begun_with_the_cache_resumes_without_it(tiny_manifest, tiny_config, tmp_path):
    class Interrupt(Silent):
        def note(self, sentence):  # noqa: ARG002 - of the first epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_manifest, tmp_path / "run", tiny_config, progress=Interrupt())
    without = tiny_config.with_overrides({"cache": False})
    finetune(tiny_manifest, tmp_path / "run", without, resume=True)
    finetune(tiny_manifest, tmp_path / "whole", tiny_config)
    require_same(tmp_path / "run", tmp_path / "whole")


def test_the_bar_shows_decoding_before_the_epochs(tiny_manifest, tiny_config, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True)
    config = tiny_config.with_overrides({"epochs": 1})
    progress = Shown(console)
    progress.begin("decoding, once", total=36)
    progress.advance(30)
    progress.end()
    assert "decoding, once" in screen.getvalue()
    assert "30/36" in screen.getvalue()
    finetune(tiny_manifest, tmp_path / "run", config, progress=Shown(console))
    assert "epoch 1/1" in screen.getvalue()
    assert os.environ["EOSIN_CACHE"] not in screen.getvalue()
