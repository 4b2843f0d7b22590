"""Studies whose cells fail: named with their reason, at little cost, and the others are kept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.errors import EosinError
from eosin.study.config import read_study
from eosin.study.study import run_study
from eosin.study.table import write_study


def test_a_cell_that_fails_is_named_and_does_not_lose_the_others(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "failing.toml"
    many = miniature.replace(
        '"patient 3-fold"]', '"patient 30-fold"]'
    )  # 12 patients cannot fill 30
    file.write_text(many.replace('votes = ["soft", "weighted"]', "votes = []"))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    assert len(found.results) == 2
    assert len(found.failures) == 2
    assert "12 patients cannot fill 30 splits" in found.failures[0][1]
    page, _ = write_study(found, tmp_path / "out")
    assert "patient_30-fold/seed-7/test_resnet" in page.read_text(encoding="utf-8")


def test_the_terminal_names_each_failure_with_its_reason_once(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "failing.toml"
    many = miniature.replace('"patient 3-fold"]', '"patient 30-fold"]').replace("heatmaps = 2", "")
    file.write_text(many.replace('"soft", "weighted"', '"soft"'))
    words = ["study", str(file), "-o", str(tmp_path / "out"), "--data", str(images)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "3 failed: 12 patients cannot fill 30 splits" in result.output
    models = ("test_efficientnet", "test_resnet", "all_soft")
    named = ", ".join(f"patient_30-fold/seed-7/{model}" for model in models)
    assert f"  {named}\n" in result.output
    assert "page: " in result.output


def test_a_study_whose_every_cell_fails_ends_in_a_sentence(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "failing.toml"
    file.write_text(miniature.replace('"image 3-fold", "patient 3-fold"', '"patient 30-fold"'))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    with pytest.raises(EosinError, match=r"^none of the 4 cells .* 12 patients cannot fill 30"):
        write_study(found, tmp_path / "out")
    words = [sys.executable, "-m", "eosin", "study", str(file), "-o", str(tmp_path / "out")]
    done = subprocess.run([*words, "--data", str(images)], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: none of the 4 cells of this study could be done")
    assert b"Traceback" not in done.stderr


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that does not answer: what it was asked for, and that nothing else was tried."""
    urls: list[str] = []

    class Silent:
        def head(self, url: str, **options: object) -> None:  # noqa: ARG002
            urls.append(url)
            raise ConnectionError("no answer")

    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_session", Silent)
    return urls


def test_a_missing_weight_costs_one_retry_however_many_cells_want_it(
    images: Path, tmp_path: Path, asked: list[str], miniature: str
) -> None:
    file = tmp_path / "imagenet.toml"
    file.write_text(miniature.replace('"none"', '"imagenet"').replace("heatmaps = 2", ""))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    assert len(found.failures) == 8
    assert len(asked) == 2 * 2  # two networks, each asked for and asked for again
    assert len(set(asked)) == 2
    reasons = [reason for _, reason in found.failures]
    assert sum("no ImageNet weights of 'test_resnet'" in reason for reason in reasons) == 2
    assert all("does not answer, ConnectionError: no answer" in r for r in reasons if "hub" in r)
    undone = "not combined, since test_efficientnet, test_resnet could not be done"
    assert reasons.count(undone) == 4


def test_a_dry_run_names_missing_weights_and_sizes_that_cannot_be(
    images: Path, tmp_path: Path, asked: list[str], miniature: str
) -> None:
    file = tmp_path / "faulty.toml"
    text = miniature.replace('"none"', '"imagenet"').replace('"test_resnet"', '"test_vit"')
    file.write_text(text)
    words = ["study", str(file), "-o", str(tmp_path / "out"), "--data", str(images), "--dry-run"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "test_efficientnet: no ImageNet weights of 'test_efficientnet'" in result.output
    assert "test_vit: backbone 'test_vit' takes images of 160 pixels only, not 64" in result.output
    assert re.search(r"^ test_efficientnet +64 +missing ", result.output, re.MULTILINE)
    assert len(asked) == 2
    assert not (tmp_path / "out" / "cells").exists()


def test_pictures_that_cannot_be_drawn_do_not_lose_the_figures(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "cross-covariance.toml"
    one = miniature.replace('"test_efficientnet", "test_resnet"', '"xcit_nano_12_p16_224"')
    one = one.replace('votes = ["soft", "weighted"]', "votes = []").replace("image_size = 64\n", "")
    file.write_text(one.replace('"image 3-fold", ', ""))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    assert len(found.results) == 1
    (failure,) = found.failures
    assert failure[1].startswith("heatmaps: ")
    assert "backbone 'xcit_nano_12_p16_224' has no spatial feature map" in failure[1]
