"""A study in miniature: the plan, the cells, resuming, failing, and the leakage meter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.errors import ConfigError
from eosin.networks.torch_engine import TorchEngine
from eosin.study.cells import StudyResult
from eosin.study.config import read_study
from eosin.study.plan import plan, trainings
from eosin.study.study import run_study
from eosin.study.table import write_study

LEAKY = "image-level (leaky), 3-fold"
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, miniature: str) -> Path:
    path = tmp_path_factory.mktemp("study") / "miniature.toml"
    path.write_text(miniature)
    return path


@pytest.fixture(scope="module")
def whole(
    file: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyResult, Path]:
    """The miniature study, done once without interruption, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    found = run_study(read_study(file, root=images), folder)
    write_study(found, folder)
    return found, folder


def table_of(folder: Path) -> pd.DataFrame:
    """The study's table without what may differ from run to run: the seconds."""
    return pd.read_csv(folder / "study.csv").drop(columns="seconds")


def test_the_plan_has_every_model_and_every_ensemble_under_every_protocol(
    file: Path, images: Path
) -> None:
    cells = plan(read_study(file, root=images))
    assert [cell.model for cell in cells[:4]] == [
        "test_efficientnet",
        "test_resnet",
        "all soft",
        "all weighted",
    ]
    assert len(cells) == 2 * 4
    assert trainings(cells) == 2 * 2 * 3


def test_the_shipped_study_has_ten_networks_three_protocols_and_the_ensembles_of_each_family() -> (
    None
):
    cells = plan(read_study(CONFIGS / "study-breakhis.toml", root=Path()))
    singles = [cell for cell in cells if cell.vote is None]
    assert len(singles) == 10 * 3 * 2
    ensembles = {cell.model for cell in cells if cell.vote == "soft"}
    assert ensembles == {"EfficientNetV1 soft", "EfficientNetV2 soft", "all soft"}
    families = {c.model: len(c.backbones) for c in cells if c.vote == "soft"}
    assert families == {"EfficientNetV1 soft": 5, "EfficientNetV2 soft": 5, "all soft": 10}


def test_the_shipped_her2_study_scores_the_published_and_the_official_test_images() -> None:
    designs = read_study(CONFIGS / "study-her2.toml", root=Path()).config.designs
    assert [(d.drop_test, d.keep_test) for d in designs] == [(True, False), (False, True)]


def test_every_cell_is_done_and_both_levels_are_in_the_table(
    whole: tuple[StudyResult, Path],
) -> None:
    found, folder = whole
    assert found.failures == ()
    table = table_of(folder)
    assert len(table) == 8 * 2
    assert set(table["level"]) == {"image", "patient"}
    assert set(table["protocol"]) == {"image-level (leaky), 3-fold", "patient-level, 3-fold"}
    assert table["accuracy"].between(table["accuracy low"], table["accuracy high"]).all()


def test_the_meter_stands_each_leaky_figure_beside_its_patient_level_twin(
    whole: tuple[StudyResult, Path],
) -> None:
    found, folder = whole
    page = (folder / "study.html").read_text(encoding="utf-8")
    section = page.split('<section id="meter"')[1].split("</section>")[0]
    assert "image-level (leaky), 3-fold against patient-level, 3-fold" in section
    assert section.count("<svg") == 2  # one figure of accuracy and one of AUC, for all four models
    table = table_of(folder).query("level == 'image'").set_index(["model", "protocol"])["accuracy"]
    for model in dict.fromkeys(result.cell.model for result in found.results):
        apart, leaky = table[model, "patient-level, 3-fold"], table[model, LEAKY]
        assert section.count(f">{model}<") >= 3  # in both figures and in the table below
        assert f"{apart:.3f} → {leaky:.3f}" in section


def test_the_page_leads_to_every_report_comparison_and_folder_of_heatmaps(
    whole: tuple[StudyResult, Path],
) -> None:
    found, folder = whole
    page = (folder / "study.html").read_text(encoding="utf-8")
    links = {unquote(link) for link in re.findall(r'href="([^"#]+)"', page)}
    reports = {f"cells/{result.cell.name}/report.html" for result in found.results}
    assert reports <= links
    assert {link.split("/")[0] for link in links} == {"cells", "comparisons", "heatmaps"}
    assert len(links) == 8 + 2 + 2
    for link in links:
        assert (folder / link).exists()
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page
    assert LEAKY in page.split("<main>")[0]  # each protocol is in the table of contents
    report = (folder / "cells" / found.results[0].cell.name / "report.html").read_text("utf-8")
    assert f"{found.results[0].image.value('accuracy').value:.3f}" in report


def test_each_protocol_has_panels_of_images_that_no_network_of_it_was_trained_on(
    whole: tuple[StudyResult, Path],
) -> None:
    found, _ = whole
    assert [home.parent.name for home in found.heatmaps] == ["image_3-fold", "patient_3-fold"]
    for home in found.heatmaps:
        assert len(list((home / "panels").glob("*.png"))) == 2
    index = pd.read_csv(found.heatmaps[1] / "explanations.csv")
    assert set(index["model"]) >= {"test_efficientnet/run/fold-1", "test_resnet/run/fold-1"}
    assert "yes" not in set(index["seen"])


def test_the_models_of_each_protocol_are_compared_on_the_same_images(
    whole: tuple[StudyResult, Path],
) -> None:
    found, folder = whole
    names = [home.relative_to(folder).as_posix() for home in found.comparisons]
    assert names == ["comparisons/image_3-fold/seed-7", "comparisons/patient_3-fold/seed-7"]
    for home, protocol in zip(
        found.comparisons, ("image-level (leaky)", "patient-level"), strict=True
    ):
        page = (home / "comparison.html").read_text(encoding="utf-8")
        assert f"{protocol}, 3-fold" in page
        models = pd.read_csv(home / "models.csv")
        assert set(models["model"]) == {
            "test_efficientnet",
            "test_resnet",
            "all soft",
            "all weighted",
        }
    differences = pd.read_csv(found.comparisons[1] / "differences.csv")
    overall = differences[(differences["metric"] == "accuracy") & (differences["scope"] == "all")]
    table = table_of(folder).query("level == 'image' and protocol == 'patient-level, 3-fold'")
    accuracy = table.set_index("model")["accuracy"]
    for row in overall.itertuples():
        assert row.difference == pytest.approx(accuracy[row.first] - accuracy[row.second])


def test_heatmaps_and_comparisons_are_made_again_where_what_they_show_has_changed(
    file: Path, images: Path, tmp_path: Path, miniature: str
) -> None:
    text = miniature.replace('"image 3-fold", ', "").replace('"soft", "weighted"', "")
    file = tmp_path / "small.toml"
    file.write_text(text)
    first = run_study(read_study(file, root=images), tmp_path / "out")
    stamps = [home / "made-from.json" for home in (*first.heatmaps, *first.comparisons)]
    before = [stamp.stat().st_mtime_ns for stamp in stamps]
    file.write_text(text.replace("heatmaps = 2", "heatmaps = 3"))
    second = run_study(read_study(file, root=images), tmp_path / "out")
    after = [stamp.stat().st_mtime_ns for stamp in stamps]
    assert (after[0] != before[0], after[1] != before[1]) == (True, False)
    assert len(list((second.heatmaps[0] / "panels").glob("*.png"))) == 3
    file.write_text(text.replace("test_resnet", "test_efficientnet@stride8"))
    run_study(read_study(file, root=images), tmp_path / "out")
    models = pd.read_csv(second.comparisons[0] / "models.csv")["model"]
    assert set(models) == {"test_efficientnet", "test_efficientnet@stride8"}


def test_no_network_of_a_study_meets_an_image_twice_however_many_votes_share_it(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: str
) -> None:
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path / "cache"))
    met: list[int] = []
    forward = TorchEngine.features

    def counting(engine: TorchEngine, pixels: np.ndarray) -> np.ndarray:
        met.append(len(pixels))
        return forward(engine, pixels)

    def refused(engine: TorchEngine, pixels: np.ndarray) -> np.ndarray:
        raise AssertionError("an image went through a network without its features being kept")

    monkeypatch.setattr(TorchEngine, "features", counting)
    monkeypatch.setattr(TorchEngine, "answers", refused)
    file = tmp_path / "votes.toml"
    text = miniature.replace('"image 3-fold", "patient 3-fold"', '"patient 50/25/25"')
    text = text.replace('"soft", "weighted"', '"soft", "hard", "weighted"')
    file.write_text(text.replace("heatmaps = 2", ""))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    assert (len(found.results), found.failures) == (2 + 3, ())
    assert sum(met) == 2 * 48


def test_a_second_run_does_nothing_again(
    whole: tuple[StudyResult, Path], file: Path, images: Path
) -> None:
    _, folder = whole
    table = (folder / "study.csv").read_bytes()
    states = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    began = time.monotonic()
    found = run_study(read_study(file, root=images), folder)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == states  # no cell, no heatmap and no comparison is made again
    assert time.monotonic() - began < 5
    write_study(found, folder)
    assert (folder / "study.csv").read_bytes() == table  # its seconds too


def test_a_changed_setting_redoes_the_cells_it_changes_and_no_other(
    file: Path, images: Path, tmp_path: Path, miniature: str
) -> None:
    small = tmp_path / "small.toml"
    one = miniature.replace('votes = ["soft", "weighted"]', "votes = []")
    small.write_text(one.replace('"test_efficientnet", "test_resnet"', '"test_efficientnet"'))
    run_study(read_study(small, root=images), tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("cell.json")}
    small.write_text(one)  # one more backbone
    run_study(read_study(small, root=images), tmp_path / "out")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    small.write_text(one.replace("resamples = 200", "resamples = 300"))
    run_study(read_study(small, root=images), tmp_path / "out")
    assert all(path.stat().st_mtime_ns != stamp for path, stamp in before.items())


def test_swapped_weights_redo_the_cells_that_start_from_them_and_no_other(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: str
) -> None:
    def write_weights(name: str, seed: int) -> None:
        torch.manual_seed(seed)
        save_file(timm.create_model(name).state_dict(), tmp_path / f"{name}.safetensors")

    def redone() -> set[str]:
        """The models whose cells the next run of the study writes anew."""
        paths = [tmp_path / "out" / "cells" / cell.name / "cell.json" for cell in plan(study)]
        before = [path.stat().st_mtime_ns if path.is_file() else 0 for path in paths]
        assert run_study(study, tmp_path / "out").failures == ()
        return {
            path.parent.name
            for path, stamp in zip(paths, before, strict=True)
            if path.stat().st_mtime_ns != stamp
        }

    file = tmp_path / "weights.toml"
    text = miniature.replace('"image 3-fold", ', "").replace(', "weighted"', "")
    file.write_text(text.replace('"none"', '"imagenet"').replace("heatmaps = 2", ""))
    study = read_study(file, root=images)
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    for name in ("test_efficientnet", "test_resnet"):
        write_weights(name, seed=1)
    assert redone() == {"test_efficientnet", "test_resnet", "all_soft"}
    assert redone() == set()
    write_weights("test_resnet", seed=2)
    assert redone() == {"test_resnet", "all_soft"}
    monkeypatch.delenv("EOSIN_WEIGHTS")  # forgotten: what is finished is read all the same
    assert redone() == set()


def test_a_study_killed_half_way_ends_in_the_table_of_an_uninterrupted_one(
    whole: tuple[StudyResult, Path], file: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "eosin", "study", str(file), "-o", str(out)]
    command += ["--data", str(images)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        done = [p for p in out.rglob("cell.json") if '"done": true' in p.read_text()]
        if len(done) >= 3:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "study.csv").exists()
    write_study(run_study(read_study(file, root=images), out), out)
    pd.testing.assert_frame_equal(table_of(out), table_of(whole[1]))


def test_a_dry_run_prints_the_plan_and_trains_nothing(
    file: Path, images: Path, tmp_path: Path
) -> None:
    words = ["study", str(file), "-o", str(tmp_path / "out"), "--data", str(images), "--dry-run"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "8 cells, 12 trainings, at least under 0.01 hours" in result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert any(row[:5] == ["image", "3-fold", "none", "4", "6"] for row in rows)
    assert sum(row[:1] == ["patient"] for row in rows) == 1  # one row a protocol, not one a cell
    assert any(row[:4] == ["test_resnet", "64", "random", "weights"] for row in rows)
    assert not (tmp_path / "out" / "cells").exists()


def test_a_recipe_trains_parts_of_networks_and_a_dry_run_names_one_that_has_none(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    (tmp_path / "recipe.toml").write_text('adapters = 2\nweights = "none"\n')
    file = tmp_path / "parts.toml"
    text = miniature.replace("freeze = true\nimage_size = 64", 'recipe = "recipe.toml"')
    file.write_text(text.replace('"test_resnet"', '"test_vit"'))
    assert read_study(file, root=images).training.adapters == 2
    words = ["study", str(file), "-o", str(tmp_path / "out"), "--data", str(images), "--dry-run"]
    result = CliRunner().invoke(app, words)
    said = " ".join(result.output.split())
    assert "backbone 'test_efficientnet' has no attention" in said
    assert "'test_vit' has no attention" not in said
    file.write_text(miniature.replace("image_size = 64", 'recipe = "recipe.toml"'))
    with pytest.raises(ConfigError, match=r"adapters = 2 .* freeze = true"):
        read_study(file, root=images)


def test_an_unknown_key_and_a_missing_root_are_errors_that_help(
    tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(miniature.replace("seeds", "seed"))
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        read_study(file, root=tmp_path)
    file.write_text(miniature)
    with pytest.raises(ConfigError, match="--data"):
        read_study(file)


def test_several_seeds_are_averaged_and_counted_from_the_first_model(
    images: Path, tmp_path: Path, miniature: str
) -> None:
    file = tmp_path / "drawn.toml"
    text = miniature.replace("seeds = [7]", "seeds = [1, 2]").replace('"image 3-fold", ', "")
    text = text.replace('"test_resnet"', '"test_efficientnet@stride8"')
    file.write_text(text.replace('"soft", "weighted"', '"soft"').replace("heatmaps = 2", ""))
    found = run_study(read_study(file, root=images), tmp_path / "out")
    write_study(found, tmp_path / "out")
    drawn, table = pd.read_csv(tmp_path / "out" / "draws.csv"), table_of(tmp_path / "out")
    assert list(dict.fromkeys(drawn["model"])) == [
        "test_efficientnet",
        "test_efficientnet@stride8",
        "efficientnet soft",
    ]
    assert set(drawn["against"].fillna("")) == {"", "test_efficientnet"}
    for model in ("test_efficientnet", "efficientnet soft"):
        own = table[(table["model"] == model) & (table["level"] == "image")]
        mean = drawn[(drawn["model"] == model) & drawn["against"].isna()]
        mean = mean[(mean["level"] == "image") & (mean["metric"] == "accuracy")].iloc[0]
        assert mean["value"] == pytest.approx(own["accuracy"].mean(), abs=1e-9)
        assert (mean["draws"], mean["least"]) == (2, pytest.approx(own["accuracy"].min()))
    page = (tmp_path / "out" / "study.html").read_text(encoding="utf-8")
    assert "means over 2 draws of the folds" in page
    assert "each model minus test_efficientnet" in page
