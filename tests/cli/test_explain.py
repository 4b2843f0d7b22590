"""`eosin explain` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.errors import ConfigError, ModelError
from eosin.training.config import TrainingConfig
from eosin.training.train import train


@pytest.fixture(scope="module")
def home(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a split manifest and two Runs trained on it."""
    folder = tmp_path_factory.mktemp("home")
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    divided.write(folder / "s.csv")
    for name, size in (("small", 64), ("large", 96)):
        train(divided, folder / name, small_probe.with_overrides({"image_size": size}))
    return folder


def explain(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["explain", *(str(word) for word in words)])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


def refusal(*words: object) -> BaseException:
    result = CliRunner().invoke(app, ["explain", *(str(word) for word in words)])
    assert result.exit_code == 1, result.output
    assert result.exception is not None
    return result.exception


def test_one_run_and_a_manifest_give_overlays_maps_and_an_index(home: Path, tmp_path: Path) -> None:
    said = explain(home / "small", home / "s.csv", "-o", tmp_path / "cams")
    index = pd.read_csv(tmp_path / "cams" / "explanations.csv", dtype=str)
    assert f"{len(index)} images explained" in said
    assert "trained or validated" not in said
    assert len(list((tmp_path / "cams" / "overlays").iterdir())) == len(index)
    assert set(index["seen"]) == {"no"}
    assert not (tmp_path / "cams" / "errors.csv").exists()


def test_training_images_are_drawn_and_the_command_says_so(home: Path, tmp_path: Path) -> None:
    words = ["--split", "train", "--target", "true"]
    said = explain(home / "small", home / "s.csv", "-o", tmp_path / "cams", *words)
    index = pd.read_csv(tmp_path / "cams" / "explanations.csv", dtype=str)
    assert f"{len(index)} of {len(index)} images are of patients" in said
    assert index["target"].tolist() == index["label"].tolist()


def test_two_runs_of_different_input_sizes_stand_side_by_side_and_merge(
    home: Path, drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    image = drawn_breakhis.paths[0]
    explain(home / "small", home / "large", image, "-o", tmp_path / "cams", "--merge")
    for folder in ("panels", "merged"):
        assert [p.name for p in (tmp_path / "cams" / folder).iterdir()] == [image.name]
    index = pd.read_csv(tmp_path / "cams" / "explanations.csv", dtype=str)
    assert index["model"].tolist() == ["small", "large", "merged"]


def test_a_bad_file_is_named_and_the_others_are_drawn(
    home: Path, drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    broken = tmp_path / "SOB_M_DC-14-9999-100-001.png"
    broken.write_bytes(drawn_breakhis.paths[0].read_bytes()[:200])
    words = [broken, drawn_breakhis.paths[1], "-o", tmp_path / "cams"]
    said = explain(home / "small", *words, code=3)
    assert "1 image explained" in said
    assert broken.name in (tmp_path / "cams" / "errors.csv").read_text()
    assert len(list((tmp_path / "cams" / "overlays").iterdir())) == 1


def test_scoring_writes_a_table_of_verdicts(
    home: Path, drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "cams"
    said = explain(home / "small", drawn_breakhis.paths[0], "-o", out, "--score")
    table = pd.read_csv(out / "faithfulness.csv")
    summary = pd.read_csv(out / "faithfulness-summary.csv").set_index("measure")
    assert summary.loc["faithful", "mean"] == pytest.approx(table["faithful"].mean())
    assert summary.loc["faithful", "images"] == len(table)
    assert table["model"].tolist() == ["small"]
    assert f"{int(table['faithful'].sum())} of 1 maps are faithful" in said
    assert "None" not in said  # of one patient there is no interval, and a dash says so


def test_wrong_words_are_refused_with_what_is_right(
    home: Path, drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    image, out = drawn_breakhis.paths[0], ["-o", tmp_path / "cams"]
    error = refusal(home / "small", image, *out, "--target", "tumour")
    assert isinstance(error, ConfigError)
    assert "'tumour' is not a class; want 'predicted', 'true'" in str(error)
    assert "method 'gradkam' is unknown" in str(
        refusal(home / "small", image, *out, "--method", "gradkam")
    )
    assert "not a finished Run folder" in str(refusal(image, *out))
    assert "name the images" in str(refusal(home / "small", *out))
    assert not (tmp_path / "cams").exists()


def test_a_network_without_a_usable_map_is_named(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    train(divided, tmp_path / "blind", small_probe)
    error = refusal(tmp_path / "blind", drawn_breakhis.paths[0], "-o", tmp_path / "cams")
    assert isinstance(error, ModelError)
    assert "'test_efficientnet'" in str(error)


def test_beside_a_network_without_a_map_the_others_are_drawn(
    home: Path, drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    train(divided, tmp_path / "blind", small_probe)
    out, image = tmp_path / "cams", drawn_breakhis.paths[0]
    said = explain(home / "small", tmp_path / "blind", image, "-o", out, "--merge", code=3)
    assert "1 image explained" in said
    index = pd.read_csv(out / "explanations.csv", dtype=str)
    assert index["model"].tolist() == ["small"]
    errors = pd.read_csv(out / "errors.csv")
    assert Path(errors["file"][0]).name == "blind"
    assert "'test_efficientnet' shrinks 32 px input to a single position" in errors["reason"][0]


def test_a_report_shows_heatmaps_when_asked(home: Path, tmp_path: Path) -> None:
    def call(*words: object) -> None:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"

    call("predict", home / "small", home / "s.csv", "-o", tmp_path / "p.csv")
    call("report", home / "small", tmp_path / "p.csv", "-o", tmp_path / "r.html", "--heatmaps")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "What the model looked at" in page
    assert "evidence for malignant" in page


def test_a_limit_and_the_mistakes_a_colour_map_and_an_opacity_can_be_asked_for(
    home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cams"
    said = explain(home / "small", home / "s.csv", "-o", out, "--limit", 2, "--split", "train")
    assert f"2 images explained, written: {out}; open {out / 'index.html'}" in said.replace(
        "\n", ""
    )
    plain = [path.read_bytes() for path in sorted((out / "overlays").iterdir())]
    assert len(plain) == 2
    words = ["--limit", 2, "--split", "train", "--colormap", "viridis", "--opacity", 0.4]
    explain(home / "small", home / "s.csv", "-o", out, *words, "--no-original")
    other = [path.read_bytes() for path in sorted((out / "overlays").iterdir())]
    assert len(other) == 2
    assert not set(plain) & set(other)
    explain(home / "small", home / "s.csv", "-o", tmp_path / "wrong", "--mistakes", "--limit", 1)
    index = pd.read_csv(tmp_path / "wrong" / "explanations.csv", dtype=str)
    assert len(index) == 1
    assert (index["label"] != index["predicted"]).all()


def test_a_colour_map_that_misleads_is_refused_before_anything_is_read(
    home: Path, tmp_path: Path
) -> None:
    problem = refusal(home / "small", home / "s.csv", "-o", tmp_path / "cams", "--colormap", "jet")
    assert isinstance(problem, ConfigError)
    assert "'jet' does not run one way" in str(problem)
    assert not (tmp_path / "cams").exists()
