"""The API answers as the command line does, to the last bit, whoever asks beside."""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions
from eosin.artefacts.run import FoldsRun
from eosin.explanation.explain import explain
from eosin.explanation.heatmap import Explanation
from eosin.inference.predict import predict
from eosin.networks.run import Run, write_run
from eosin.training.config import TrainingConfig
from eosin.training.train import train

Serve = Callable[..., Any]


def rows(predictions: Predictions) -> list[dict[str, object]]:
    """A table as the API says it."""
    found = []
    for row in predictions.frame.to_dict("records"):
        alien = row["familiarity"]
        found.append(
            {
                "name": Path(row["path"]).name,
                "probabilities": {c: row[f"p_{c}"] for c in predictions.task.classes},
                "decision": row["decision"],
                "set": row["set"].split("|"),
                "answer": row["answer"],
                "familiarity": None if math.isnan(alien) else alien,
                "flags": row["flags"].split(),
                "note": row.get("stain_note", ""),
            }
        )
    return found


def test_answers_equal_those_of_predict_of_the_same_image_to_the_last_bit(
    server: Any, exported: Run, trained: Run, new_images: list[Path]
) -> None:
    said = server.predict(*new_images)
    assert said.status_code == 200
    for run, answers in zip((exported, trained), said.json()["runs"], strict=True):
        alone = [rows(predict(run, [path]).predictions)[0] for path in new_images]
        assert answers["images"] == alone
        assert answers["task"]["classes"] == ["benign", "malignant"]


def test_of_an_export_they_equal_those_of_one_predict_of_all_images(
    server: Any, exported: Run, new_images: list[Path]
) -> None:
    (answers,) = server.predict(*new_images, run="onnx").json()["runs"]
    together = rows(predict(exported, new_images).predictions)
    assert [each["probabilities"] for each in answers["images"]] == [
        each["probabilities"] for each in together
    ]
    assert [each["set"] for each in answers["images"]] == [each["set"] for each in together]


def test_answers_do_not_depend_on_who_asks_beside(server: Any, new_images: list[Path]) -> None:
    alone = {path: server.predict(path).json() for path in new_images}
    with ThreadPoolExecutor(8) as pool:
        wanted = new_images * 3
        beside = list(pool.map(lambda path: server.predict(path).json(), wanted))
    assert beside == [alone[path] for path in wanted]


def test_images_that_wait_are_scored_together(server: Any, new_images: list[Path]) -> None:
    before = server.service.metrics.registry.get_sample_value("eosin_batch_images_count")
    server.predict(*new_images)
    after = server.service.metrics.registry.get_sample_value("eosin_batch_images_count")
    assert after - before < len(new_images)


def test_a_graph_shares_a_pass_and_pytorch_does_not(
    server: Any, exported: Run, trained: Run
) -> None:
    sharing = server.service.scoring.networks
    assert sharing[exported.sha256].shares
    assert not sharing[trained.sha256].shares  # its last bits depend on the number of images


def test_a_damaged_image_is_an_entry_beside_the_others(
    server: Any, new_images: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(new_images[0].read_bytes()[:500])
    said = server.predict(new_images[0], bad, new_images[1])
    assert said.status_code == 200
    for run in said.json()["runs"]:
        assert [("error" in each, each["name"]) for each in run["images"]] == [
            (False, new_images[0].name),
            (True, "bad.png"),
            (False, new_images[1].name),
        ]
        assert "copy or download it again" in run["images"][1]["error"]
        assert "/tmp" not in run["images"][1]["error"]
    alone = server.predict(bad)
    assert alone.status_code == 422
    assert "error" in alone.json()["runs"][0]["images"][0]


def test_patients_of_the_training_are_refused_and_not_named(
    server: Any, met_images: list[Path], new_images: list[Path], serve: Serve, exported: Run
) -> None:
    said = server.predict(met_images[0], new_images[0]).json()["runs"][0]["images"]
    assert "--allow-seen" in said[0]["error"]
    assert "14-" not in said[0]["error"]
    assert "probabilities" in said[1]
    refused = server.client.post(
        "/explain", files={"images": (met_images[0].name, met_images[0].read_bytes())}
    )
    assert refused.status_code == 422
    allowed = serve(exported, allow_seen=True).predict(met_images[0])
    assert "probabilities" in allowed.json()["runs"][0]["images"][0]


def test_a_name_that_says_no_patient_is_no_patient(server: Any, met_images: list[Path]) -> None:
    files = {"images": ("../../etc/passwd\r\n\u202e.png", met_images[0].read_bytes())}
    (said, _) = server.client.post("/predict", files=files).json()["runs"]
    assert "probabilities" in said["images"][0]
    assert said["images"][0]["name"].startswith("passwd")
    assert said["images"][0]["name"].isprintable()


def test_explain_draws_what_the_command_draws(
    server: Any, exported: Run, new_images: list[Path]
) -> None:
    files = {"images": (new_images[0].name, new_images[0].read_bytes())}
    said = server.client.post("/explain", files=files, params={"run": "onnx"}).json()
    (wanted,) = [e for e in explain([exported], new_images[:1]) if isinstance(e, Explanation)]
    raw = wanted.members[0].raw
    assert said["map"]["shape"] == list(raw.shape)
    np.testing.assert_array_equal(np.array(said["map"]["values"], np.float32), raw.ravel())
    assert said["probability"] == wanted.members[0].probability
    assert said["target"] == wanted.target
    assert said["verdict"] is None
    for name in ("overlay", "original"):
        data = base64.b64decode(said[name].removeprefix("data:image/png;base64,"))
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (512, 512, 3)


def test_a_verdict_needs_the_run_with_weights(server: Any, new_images: list[Path]) -> None:
    files = {"images": (new_images[0].name, new_images[0].read_bytes())}
    params = {"run": "probe", "score": "true", "target": "malignant"}
    said = server.client.post("/explain", files=files, params=params)
    assert said.status_code == 200
    assert said.json()["verdict"]["sentence"]
    refused = server.client.post("/explain", files=files, params={**params, "run": "onnx"})
    assert refused.status_code == 422
    assert "PyTorch" in refused.json()["error"]


def test_what_is_unknown_is_a_sentence(server: Any, new_images: list[Path]) -> None:
    assert server.predict(new_images[0], run="nobody").status_code == 404
    files = {"images": (new_images[0].name, new_images[0].read_bytes())}
    assert server.client.post("/explain", files=files, params={"target": "no"}).status_code == 422
    for other in ({"data": {"images": "x"}}, {"files": {"other": b"x"}}, {"content": b"x"}):
        said = server.client.post("/predict", **other)
        assert said.status_code in (400, 422)
        assert "images" in said.json()["error"]


def test_a_full_queue_says_when_to_come_again(
    serve: Serve, exported: Run, new_images: list[Path]
) -> None:
    from eosin.server.settings import Limits

    small = serve(exported, limits=Limits(queued_images=2))
    said = small.predict(*new_images[:3])
    assert said.status_code == 429
    assert said.headers["retry-after"] == "1"
    assert small.predict(*new_images[:2]).status_code == 200  # what was refused holds no room
    assert small.predict(*new_images[:2]).status_code == 200


def test_no_byte_of_an_upload_stays_on_disk(
    serve: Serve,
    exported: Run,
    new_images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = serve(exported)
    large = tmp_path / "large.bmp"
    large.write_bytes(new_images[0].read_bytes() + bytes(3 << 20))
    own.predict(large, *new_images)
    own.client.post("/explain", files={"images": ("a.png", new_images[0].read_bytes())})
    assert [path.name for path in tmp_path.iterdir()] == ["large.bmp"]


def test_state_runs_and_metrics_are_told(server: Any, new_images: list[Path]) -> None:
    server.predict(new_images[0])
    assert server.client.get("/health").json()["status"] == "alive"
    assert server.client.get("/ready").status_code == 200
    told = server.client.get("/runs")
    assert [each["run"] for each in told.json()] == ["onnx", "probe"]
    assert "/" not in "".join(each["run"] for each in told.json())
    assert "14-" not in told.text  # patients are counted
    text = server.client.get("/metrics").text
    assert 'eosin_requests_total{path="/predict",status="200"}' in text
    assert 'eosin_images_total{result="answer",run="onnx"}' in text
    assert new_images[0].name not in text


def test_it_is_not_ready_before_its_networks_are(
    exported: Run, new_images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi.testclient import TestClient

    from eosin.server import batching
    from eosin.server.app import create_app
    from eosin.server.settings import ServeOptions

    go = threading.Event()
    opened = batching.open_networks
    monkeypatch.setattr(batching, "open_networks", lambda *a, **k: go.wait(10) and opened(*a, **k))
    app = create_app(ServeOptions(runs=(exported.folder,)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        files = {"images": (new_images[0].name, new_images[0].read_bytes())}
        assert client.post("/predict", files=files).status_code == 503
        go.set()
        assert app.state.service.scoring.ready.wait(10)
        assert client.post("/predict", files=files).status_code == 200


def test_a_run_of_folds_answers_with_its_mean_and_one_merged_map(
    serve: Serve,
    trained: Run,
    divided: Manifest,
    small_probe: TrainingConfig,
    folds_of: Callable[..., FoldsRun],
    new_images: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("folds")
    config = small_probe.with_overrides({"image_size": 64, "seed": 5})
    other = train(divided, home / "other", config).run
    folds = write_run(home / "folds", folds_of(home / "folds", [trained, other]))
    both = serve(folds, trained)
    said = both.predict(*new_images[:4]).json()["runs"]
    for run, answers in zip((folds, trained), said, strict=True):
        alone = [predict(run, [path]).predictions.frame.iloc[0] for path in new_images[:4]]
        assert [each["probabilities"]["malignant"] for each in answers["images"]] == [
            row["p_malignant"] for row in alone
        ]
    files = {"images": (new_images[0].name, new_images[0].read_bytes())}
    drawn = both.client.post("/explain", files=files).json()
    (wanted,) = [e for e in explain([folds], new_images[:1]) if isinstance(e, Explanation)]
    assert wanted.merged is not None
    assert drawn["probability"] == wanted.probabilities[wanted.target]
    assert max(drawn["map"]["shape"]) <= 64
