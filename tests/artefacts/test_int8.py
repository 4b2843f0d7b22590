"""The record of a trial in 8-bit integers."""

from __future__ import annotations

import json

import pytest

from eosin.artefacts.graph import Graph, Parity
from eosin.artefacts.int8 import Int8Trial, Quality, Speed

TRIAL = Int8Trial(
    method="NNCF, mixed preset 3.4.0",
    failed=("accuracy falls by 2.2 points, from 0.717 to 0.696 (at most 0.5)",),
    calibrated_on="128 training images of 16 patients",
    judged_on="46 validation images of 4 patients",
    fp32=Quality(0.717, 0.102),
    int8=Quality(0.696, 0.1),
    probabilities_mean=0.011,
    probabilities_most=0.09,
    feature_cosine=0.985,
    speed=Speed("openvino", 2, 16, 15, 88.0, 163.7, 1.86, 1.8, 1.9),
)


def _graph(trial: Int8Trial | None) -> Graph:
    parity = Parity(16, "synthetic tissue", "openvino", 1e-6)
    files = {"model.xml": "aa", "model.bin": "bb"}
    return Graph(
        "openvino", "fp32", files, ("logits",), None, "no", "EfficientNetV2", parity, int8=trial
    )


def test_a_trial_comes_back_from_json_as_it_went() -> None:
    graph = _graph(TRIAL)
    assert Graph.from_dict(json.loads(json.dumps(graph.to_dict()))) == graph
    assert not TRIAL.kept


def test_a_graph_without_a_trial_is_written_as_before() -> None:
    fields = _graph(None).to_dict()
    assert "int8" not in fields
    assert Graph.from_dict(fields).int8 is None


def test_a_trial_without_its_figures_is_no_trial() -> None:
    fields = {name: value for name, value in TRIAL.to_dict().items() if name != "speed"}
    with pytest.raises(KeyError, match="engine"):
        Int8Trial.from_dict(fields)
