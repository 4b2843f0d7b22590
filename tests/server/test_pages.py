"""The pages that people see: what they load, what they tell, and what they keep to themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eosin.artefacts.predictions import read_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.pixels.stain import Macenko
from eosin.reporting.stain_sheet import stain_alone
from eosin.reporting.wording import figure

Serve = Callable[..., Any]
PAGES = ("/", "/models", "/docs", "/login")


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_but_files_of_the_server(server: Any, path: str) -> None:
    page = server.client.get(path)
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    assert all(each.startswith(("/", "#")) for each in loaded)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page.text))
    assert "style=" not in page.text
    for each in {link for link in loaded if link.startswith("/static/")}:
        assert server.client.get(each).status_code == 200, each


def test_scripts_load_nothing_but_each_other(server: Any) -> None:
    for name in ("base.js", "try.js"):
        script = server.client.get(f"/static/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "://" not in script.text
        assert set(re.findall(r'from "([^"]+)"', script.text)) <= {"./base.js"}


def test_there_is_nothing_beside_the_static_files(server: Any) -> None:
    for path in ("/static/", "/static/../app.py", "/static/%2e%2e/app.py", "/static/base.py"):
        assert server.client.get(path).status_code == 404, path


def test_the_endpoints_page_names_every_endpoint(server: Any) -> None:
    page = server.client.get("/docs").text
    paths = server.client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/explain", "/stains", "/runs"} <= paths.keys()
    assert all(path in page for path in paths)


def test_the_models_page_says_whom_the_figures_speak_of(server: Any, trained: Run) -> None:
    page = server.client.get("/models").text
    predictions = read_predictions(trained.folder / "predictions.csv")
    accuracy = evaluate_predictions(predictions).value("accuracy")
    patients = predictions.frame["patient"].nunique()
    assert f"On {patients} patients it has not seen, it gets" in page
    assert f">0 of {patients}<" in page  # patients scored and seen
    assert figure(accuracy, space=" ") in page
    assert "holds no labelled predictions that can be read" in page  # the exported one
    assert trained.sha256 in page


def test_patients_are_named_on_no_page_unless_that_is_asked_for(
    server: Any, serve: Serve, trained: Run
) -> None:
    patients = sorted(trained.record.seen_patients)
    for path in (*PAGES, "/runs", "/models/probe/card"):
        text = server.client.get(path).text
        assert not [patient for patient in patients if patient in text], path
    refused = server.client.get("/models/probe/report")
    assert refused.status_code == 403
    assert "--show-patients" in refused.json()["error"]
    shown = serve(trained, show_patients=True).client.get("/models/probe/report")
    assert shown.status_code == 200
    assert "script" not in shown.headers["content-security-policy"]
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "<h1>" in shown.text


def test_the_card_is_the_one_of_the_command_line(server: Any, trained: Run) -> None:
    from eosin.reporting.model_card import model_card

    card = server.client.get("/models/probe/card")
    predictions = read_predictions(trained.folder / "predictions.csv")
    assert card.text == model_card(trained, predictions)
    assert server.client.get("/models/onnx/card").status_code == 404
    assert server.client.get("/models/nowhere/card").status_code == 404


def sent(path: Path) -> dict[str, Any]:
    return {"images": (path.name, path.read_bytes())}


def test_maps_of_several_runs_are_merged(server: Any, new_images: list[Path]) -> None:
    path, url = new_images[0], "/explain?target=malignant"
    one = server.client.post(f"{url}&run=onnx", files=sent(path)).json()
    two = server.client.post(f"{url}&run=onnx&run=probe", files=sent(path)).json()
    assert one["run"] == "onnx"
    assert two["run"] == "onnx, probe"
    # Both are the same network, so the mean of their maps is either of them.
    assert two["probability"] == pytest.approx(one["probability"], abs=1e-5)
    assert max(two["map"]["shape"]) == 64  # on the grid of the image, reduced


def test_stains_are_those_of_the_image(server: Any, new_images: list[Path]) -> None:
    import base64

    said = server.client.post("/stains", files=sent(new_images[0])).json()
    image = read_image(new_images[0])
    found = Macenko().estimate(image)
    for name in ("haematoxylin", "eosin"):
        data = np.frombuffer(base64.b64decode(said[name].split(",")[1]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(picture, stain_alone(image, found, name))


def test_an_image_without_tissue_has_no_stains(server: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "glass.png"), np.full((64, 64, 3), 255, np.uint8))
    refused = server.client.post("/stains", files=sent(tmp_path / "glass.png"))
    assert refused.status_code == 422
    assert "stain" in refused.json()["error"]
    assert str(tmp_path) not in refused.text
