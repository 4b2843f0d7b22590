"""Whatever is sent, the server answers with a sentence and goes on; never with a 500."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from PIL import Image

from eosin.networks.run import Run

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header and checksums are sound, whatever its pixels are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(form: str, **options: object) -> bytes:
    squares = np.random.default_rng(0).integers(60, 250, (48, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(squares).save(stream, form, **options)
    return stream.getvalue()


def circular_tiff() -> bytes:
    """A TIFF whose directory follows itself."""
    return struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 256, 4, 1, 10, 8)


def float_tiff() -> bytes:
    """A TIFF whose white is not known."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((48, 64), np.float32)).save(stream, "TIFF")
    return stream.getvalue()


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"no image at all",
    "page": b"<script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "gif": encoded("GIF"),
    "webp": encoded("WEBP"),
    "zip": b"PK\x03\x04" + bytes(100),
    "huge png": png(60_000, 60_000),
    "endless png": png(2**31 - 1, 2**31 - 1),
    "flat png": png(0, 5),
    "bomb": png(5000, 5000, zlib.compress(bytes(5000 * 15_001), 9)),
    "no pixels": png(64, 64, zlib.compress(b"")),
    "half a png": encoded("PNG")[:2000],
    "half a jpeg": encoded("JPEG")[:700],
    "half a tiff": encoded("TIFF")[:500],
    "broken jpeg": encoded("JPEG")[:200] + bytes(500) + encoded("JPEG")[700:],
    "circular tiff": circular_tiff(),
    "float tiff": float_tiff(),
    "tiff of noise": b"II*\x00" + bytes(range(256)) * 4,
    "bmp of noise": b"BM" + bytes(range(256)) * 4,
    "small": encoded("PNG")[:33],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_hostile_image_is_a_sentence(server: Any, name: str, path: str) -> None:
    said = server.client.post(path, files={"images": ("a.png", HOSTILE[name])})
    assert said.status_code in (200, 422), said.text
    if name in ("bomb",):  # a large image of nothing, which may be read
        return
    assert said.status_code == 422
    answer = said.json()
    sentence = answer.get("error") or answer["runs"][0]["images"][0]["error"]
    assert len(sentence.split()) > 3
    assert "/tmp" not in sentence
    assert "Traceback" not in sentence


def test_among_hostile_ones_an_image_is_answered(server: Any, new_images: list[Path]) -> None:
    files = [("images", (f"{name}.png", data)) for name, data in HOSTILE.items()]
    files.append(("images", ("good.png", new_images[0].read_bytes())))
    said = server.client.post("/predict", files=files)
    assert said.status_code == 200
    for run in said.json()["runs"]:
        assert "probabilities" in run["images"][-1]
        assert len(run["images"]) == len(files)
    assert server.client.get("/ready").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "\\",
        "a\x00b.png",
        "%00",
        "../" * 50,
        "a" * 5000,
        "\u202egnp.a",
        "'\"<b>",
    ],
)
def test_a_hostile_name_is_only_told_back(server: Any, name: str, new_images: list[Path]) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n\r\n'
    data = head + b"%s\r\n--b--\r\n"
    content = data % (name.replace('"', "%22").encode(), new_images[0].read_bytes())
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    said = server.client.post("/predict", content=content, headers=headers)
    assert said.status_code in (200, 400, 422)
    if said.status_code == 200:
        told = said.json()["runs"][0]["images"][0]["name"]
        assert 0 < len(told) <= 200
        assert not {"/", "\\", "\x00", "\u202e"} & set(told)


@pytest.fixture(scope="module")
def api_schema(serve: Callable[..., Any], exported: Run) -> Any:
    url = serve(exported, allow_seen=True).url
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_that_the_schema_allows_or_forbids_is_a_server_error(
    api_schema: Any, mode: GenerationMode
) -> None:
    asked = set()
    for found in api_schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call()
            case.validate_response(answer, checks=[not_a_server_error])
            assert answer.headers["x-content-type-options"] == ["nosniff"]
            asked.add(case.path)

        with suppress(Unsatisfiable):  # a path without parameters has no wrong one
            ask()
    assert {"/predict", "/explain"} <= asked
