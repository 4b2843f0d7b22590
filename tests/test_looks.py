"""Results are objects to look at: a short text, HTML without markup of the user's, frames, axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes

import eosin
from eosin.errors import ConfigError, ModelError

Results = dict[str, object]
KINDS = ("manifest", "predictions", "evaluation", "comparison", "run", "folds", "explanation")


@pytest.fixture(autouse=True)
def no_windows() -> None:
    mpl.use("Agg")


@pytest.fixture(scope="module")
def results(
    drawn_breakhis: eosin.Manifest,
    small_probe: eosin.TrainingConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Results:
    """One of each, of the same 48 images of 12 patients."""
    folder, config = (
        tmp_path_factory.mktemp("looks"),
        small_probe.with_overrides({"image_size": 64}),
    )
    divided = eosin.split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=1)
    trained = eosin.train(divided, folder / "run", config)
    folds = eosin.split_into_folds(drawn_breakhis, 3, seed=1)
    other = eosin.train(divided, folder / "other", config.with_overrides({"seed": 1}))
    assert trained.predictions is not None
    assert other.predictions is not None
    tables = {"first": trained.predictions, "other": other.predictions}
    return {
        "manifest": divided,
        "predictions": trained.predictions,
        "evaluation": eosin.evaluate_predictions(trained.predictions, resamples=100),
        "comparison": eosin.compare_predictions(tables, resamples=100),
        "run": trained.run,
        "folds": eosin.train(folds, folder / "folds", config, fold="all").run,
        "explanation": next(eosin.explain([trained.run], divided.paths[0])),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_has_a_short_text_html_a_frame_and_axes(results: Results, kind: str) -> None:
    result = results[kind]
    assert len(str(result)) < 250
    assert "\n" not in str(result)
    assert "<table" in result._repr_html_()  # type: ignore[attr-defined]
    assert isinstance(result.frame(), pd.DataFrame)  # type: ignore[attr-defined]
    axes = result.plot()  # type: ignore[attr-defined]
    assert isinstance(axes, Axes)
    assert axes.get_title()
    given = plt.subplots()[1]
    assert result.plot(ax=given) is given  # type: ignore[attr-defined]
    plt.close("all")


def test_an_interval_is_called_by_its_own_confidence(results: Results) -> None:
    table = results["predictions"]
    found = eosin.evaluate_predictions(table, resamples=100, confidence=0.9)  # type: ignore[arg-type]
    assert "90 % interval" in found._repr_html_()
    assert found.plot().get_xlabel() == "value, 90 % interval"
    assert "95 % interval" in results["comparison"]._repr_html_()  # type: ignore[attr-defined]
    plt.close("all")


def test_a_manifest_counts_its_images_by_class_and_split(results: Results) -> None:
    manifest = results["manifest"]
    assert (
        str(manifest) == "Manifest of breakhis: 48 images of 12 patients; patient-level, 50/25/25"
    )
    counts = manifest.counts()  # type: ignore[attr-defined]
    assert list(counts.columns) == ["train", "val", "test"]
    assert list(counts.index) == ["benign", "malignant"]
    assert counts.to_numpy().sum() == 48
    bars = manifest.plot().patches  # type: ignore[attr-defined]
    assert sum(bar.get_height() for bar in bars) == 48
    plt.close("all")


def test_a_name_is_text_in_html_and_no_mathematics_in_a_figure(results: Results) -> None:
    manifest = replace(results["manifest"], dataset="<b>$x_1$ & $y$")  # type: ignore[type-var]
    assert "&lt;b&gt;$x_1$ &amp; $y$" in manifest._repr_html_()
    axes = manifest.plot()
    axes.figure.canvas.draw()
    assert axes.get_title().startswith(r"Manifest of <b>\$x_1\$ & \$y\$")
    plt.close("all")


def test_an_estimate_prints_its_value_interval_and_n(results: Results) -> None:
    found = results["evaluation"].value("accuracy")  # type: ignore[attr-defined]
    assert str(found) == (
        f"Accuracy {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] (12 images, 3 patients)"
    )


def test_intervals_are_named_by_the_confidence_that_they_were_drawn_with(results: Results) -> None:
    evaluation = eosin.evaluate_predictions(
        results["predictions"],  # type: ignore[arg-type]
        resamples=100,
        confidence=0.9,
    )
    assert "90 % interval" in evaluation._repr_html_()
    assert evaluation.plot().get_xlabel() == "value, 90 % interval"
    assert results["comparison"].plot().get_xlabel() == "value, 95 % interval"  # type: ignore[attr-defined]
    plt.close("all")


def test_a_run_draws_what_it_tried_and_says_so_where_it_kept_nothing(results: Results) -> None:
    run = results["run"]
    tried = run.record.choices["inner_log_loss"]  # type: ignore[attr-defined]
    (line,) = run.plot().lines  # type: ignore[attr-defined]
    assert line.get_ydata().tolist() == list(tried.values())
    folds = results["folds"]
    assert folds.frame()["model"].tolist() == [f"folds/fold-{k}" for k in (1, 2, 3)]  # type: ignore[attr-defined]
    assert len(folds.plot().lines) == 3  # type: ignore[attr-defined]
    bare = replace(run, record=run.record.model_copy(update={"choices": {}}))  # type: ignore[type-var]
    with pytest.raises(ModelError, match="kept neither epochs nor strengths"):
        bare.plot()
    plt.close("all")


def test_an_explanation_shows_the_picture_and_knows_its_networks(results: Results) -> None:
    explanation = results["explanation"]
    assert "data:image/png;base64," in explanation._repr_html_()  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="model 'walk' has no map here; want one of \\['run'\\]"):
        explanation.plot(model="walk")  # type: ignore[attr-defined]


def test_a_fine_tuned_run_draws_the_loss_of_its_epochs(
    drawn_breakhis: eosin.Manifest, small_probe: eosin.TrainingConfig, tmp_path: Path
) -> None:
    divided = eosin.split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=1)
    fine = small_probe.with_overrides({"freeze": False, "epochs": 2, "cache": False})
    run = eosin.train(divided, tmp_path / "run", fine).run
    (line,) = run.plot().lines
    assert line.get_xdata().tolist() == [1, 2]
    assert (
        line.get_ydata().tolist()
        == pd.read_csv(tmp_path / "run" / "history.csv")["val_loss"].tolist()
    )
    plt.close("all")
