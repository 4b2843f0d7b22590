"""What the Worklist's page asks for: images by id, and heatmaps as the record allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import HTTPException

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.inference.predict import predict
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.server.app import create_app
from eosin.server.record import Record
from eosin.server.settings import ServeOptions
from eosin.server.worklist import Case, case_id
from eosin.server.worklist_page import _png
from eosin.slides.tile import Tile

Serve = Callable[..., Any]
READER = {"reader": "ada"}


@pytest.fixture
def client(serve_briefly: Serve, exported: Run, cases: Path, database: str) -> httpx.Client:
    return serve_briefly(exported, data=cases, db=database).client


def at(path: object, what: str = "") -> str:
    return f"/review/api/cases/{case_id(str(path))}{what}"


def drawn(answer: httpx.Response) -> np.ndarray:
    assert answer.headers["content-type"] == "image/png"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_an_image_comes_at_reading_size_with_its_true_sides(
    client: httpx.Client, new_images: list[Path]
) -> None:
    answer = client.get(at(new_images[0], "/image"))
    assert answer.headers["image-sides"] == "64 64"
    pixels = drawn(answer)
    assert pixels.shape == (512, 512, 3)
    own = read_image(new_images[0]).astype(float)
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(small - own).mean() < 3
    assert "Worklist" in client.get("/models").text
    assert client.get(at("/etc/passwd", "/image")).status_code == 404
    assert client.get("/review/api/cases/..%2Fa.png/image").status_code in (404, 422)


def test_a_tile_of_a_slide_is_shown_and_a_file_that_has_gone_gets_a_sentence(
    tmp_path: Path, drawn_slide: Callable[..., Path]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (600, 500, 3), dtype=np.uint8)
    slide = drawn_slide(tmp_path / "secret-name.tif", pixels, compression=None)
    tile = Case("0" * 32, str(Tile(slide, 100, 50, 224.0, 224).path), "p", "a", {"a": 1.0})
    data, sides = _png(tile, whole=True)
    assert sides == "224 224"
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert (found == pixels[50:274, 100:324]).all()
    slide.unlink()
    gone = Case("1" * 32, str(tmp_path / "secret-name.png"), "p", "a", {"a": 1.0})
    for case in (tile, gone):
        with pytest.raises(HTTPException) as refused:
            _png(case)
        assert refused.value.status_code == 422
        assert "cannot be" in refused.value.detail
        assert "secret-name" not in refused.value.detail


def test_the_record_decides_whether_a_heatmap_may_be_seen(
    client: httpx.Client, new_images: list[Path], database: str
) -> None:
    first, second = new_images[:2]
    listed = {"order": "random", "blind": True, "limit": 200}
    assert client.get("/review/api/cases", params=READER | listed).json()["total"] == 20
    refused = client.get(at(first, "/heatmap"), params=READER)
    assert (refused.status_code, list(refused.json())) == (403, ["error"])
    assert "until you have answered" in refused.json()["error"]
    client.post(at(first, "/answers"), json={**READER, "comment": "hm"})  # no answer yet
    assert client.get(at(first, "/heatmap"), params=READER).status_code == 403
    done = client.post(at(first, "/answers"), json={**READER, "label": "benign"}).json()
    assert done["answer"]["blind"] is True
    said = client.get(at(first, "/heatmap"), params=READER).json()
    assert said["target"] == done["case"]["model"]["decision"]
    assert (said["verdict"], said["seen"]) == (None, False)
    assert said["overlay"].startswith("data:image/png;base64,")
    other = {"reader": "eva"}  # was offered nothing: whoever sees the map first is not blind
    assert client.get(at(second, "/heatmap"), params=other).status_code == 200
    client.get("/review/api/cases", params=other | listed)
    done = client.post(at(second, "/answers"), json={**other, "label": "benign"}).json()
    assert done["answer"]["blind"] is False
    with closing(Record(database)) as record:
        assert [row.blind for row in record.log()] == [True, True, False]


def test_a_run_shows_no_map_of_a_patient_that_it_met_unless_that_is_allowed(
    client: httpx.Client,
    serve_briefly: Serve,
    exported: Run,
    cases: Path,
    met_images: list[Path],
    tmp_path: Path,
) -> None:
    shown = {str(path) for path in met_images} & set(read_predictions(cases).frame["path"])
    met = min(shown)
    refused = client.get(at(met, "/heatmap"), params=READER)
    assert refused.status_code == 422
    assert "trained or validated on the patient" in refused.json()["error"]
    db = str(tmp_path / "other.db")
    allowed = serve_briefly(exported, data=cases, db=db, allow_seen=True).client
    assert allowed.get(at(met, "/heatmap"), params=READER).json()["seen"] is True


def test_a_run_with_weights_says_how_far_to_believe_its_map(
    serve_briefly: Serve, trained: Run, exported: Run, divided: Manifest, tmp_path: Path
) -> None:
    table = tmp_path / "p.csv"
    predict(trained, divided).predictions.write(table)
    server = serve_briefly(exported, trained, data=table, db=str(tmp_path / "r.db"))
    path = pd.read_csv(table)["path"].map(lambda each: (tmp_path / each).resolve())[0]
    said = server.client.get(at(path, "/heatmap"), params=READER).json()
    assert said["run"] == "probe"  # not the first one served, but the one that made the table
    assert len(said["verdict"]["sentence"]) > 20


def test_a_server_without_a_record_has_no_worklist(server: Any) -> None:
    assert server.client.get("/worklist").status_code == 404
    assert "Worklist" not in server.client.get("/models").text


def test_a_server_that_ends_lets_its_record_go(
    serve_briefly: Serve, exported: Run, cases: Path, tmp_path: Path
) -> None:
    options = ServeOptions(runs=(exported.folder,), data=cases, db=str(tmp_path / "r.db"))
    app = create_app(options)
    closed = []
    app.state.record.close = lambda: closed.append(True)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(run())
    assert closed
