"""A transformer's export gives its exact maps; explain and report work from both."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from eosin.evaluation.evaluate import evaluate_predictions
from eosin.explanation.examples import explain_examples
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation
from eosin.explanation.heatmap_checks import ScoreOptions
from eosin.export.export import ExportOptions, export_run
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.weights import load_classifier
from eosin.pixels.preprocessing import prepare
from eosin.pixels.reading import read_image
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.training.train import train


@pytest.fixture(scope="module")
def vit(divided, small_probe, tmp_path_factory):
    probe = small_probe.with_overrides({"backbone": "test_vit", "image_size": 160})
    return train(divided, tmp_path_factory.mktemp("vit") / "run", probe).run


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def exported(request, vit, divided, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / request.param
    return export_run(vit, folder, ExportOptions(format=request.param, check=divided))


def test_an_exported_map_sums_to_pytorchs_logit_to_a_hundred_thousandth(vit, exported, divided):
    assert exported.graph.outputs == ("logits", "features", "maps", "rest")
    spec = vit.record.preprocessing
    batch = np.stack([prepare(read_image(path), spec) for path in divided.paths[:3]])
    maps = exported.networks()[0].maps(batch)
    with torch.inference_mode():
        wanted = load_classifier(vit)(torch.from_numpy(batch)).numpy()
    total = maps.split.patches.sum(axis=(2, 3)) + maps.split.rest
    np.testing.assert_allclose(total, wanted, atol=1e-5, rtol=0)
    np.testing.assert_allclose(maps.logits, wanted, atol=1e-5, rtol=0)
    assert exported.graph.parity.maps < 1e-3


def test_explain_says_how_much_comes_from_no_patch_and_keeps_terms_that_sum_to_the_logit(
    vit, exported, divided, tmp_path
):
    written = write_heatmaps(explain([exported], divided), tmp_path)
    rows = list(csv.DictReader((tmp_path / "explanations.csv").read_text().splitlines()))
    assert len(rows) == written.explained > 0
    assert {row["method"] for row in rows} == {"exact"}
    row = rows[0]
    with np.load(tmp_path / row["maps"]) as stored:
        terms, rest = stored[f"{row['key']}.terms"], float(stored[f"{row['key']}.rest"])
        np.testing.assert_array_equal(stored[row["key"]], np.maximum(terms, 0))
    share = abs(rest) / (abs(rest) + np.abs(terms).sum())
    assert float(row["unexplained"]) == pytest.approx(share, abs=1e-3)
    pixels = prepare(read_image(tmp_path / row["path"]), vit.record.preprocessing)
    with torch.inference_mode():
        logits = load_classifier(vit)(torch.from_numpy(pixels[None]))[0].numpy()
    target = vit.record.task.classes.index(row["target"])
    assert terms.sum() + rest == pytest.approx(logits[target], abs=1e-5)


def test_an_exact_map_gets_a_verdict_and_two_networks_of_both_kinds_are_merged(
    vit, trained, divided
):
    found = next(explain([vit], divided, ExplainOptions(score=ScoreOptions(randomisations=1))))
    assert isinstance(found, Explanation)
    (score,) = found.scores
    assert score.verdict
    assert score.method == "exact"
    both = next(explain([trained, vit], divided, ExplainOptions(merge=True)))
    assert [member.method for member in both.members] == ["gradcam", "exact"]
    assert both.merged.values.shape == both.image.shape[:2]
    assert "comes from no patch" in both.members[1].beside


def test_examples_of_a_report_are_explained_from_a_transformer(vit, exported, divided):
    predictions = predict(vit, divided, PredictOptions(split="test")).predictions
    assert evaluate_predictions(predictions).value("roc_auc") is not None
    path, target = Path(predictions.frame["path"].iloc[0]), vit.record.task.classes[0]
    for run in (vit, exported):
        found = explain_examples(run, predictions, [(path, target)])
        assert found[path, target].members[0].exact is not None
