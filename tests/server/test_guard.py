"""Who is refused, and that nobody's slowness, size or page costs another."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from eosin.errors import ConfigError
from eosin.networks.run import Run
from eosin.server.settings import Limits, ServeOptions, read_token

Serve = Callable[..., Any]
TOKEN = "a-token-of-more-than-16-letters"


@pytest.fixture(scope="module")
def locked(serve: Serve, exported: Run) -> Any:
    return serve(exported, token=TOKEN)


@pytest.fixture(scope="module")
def tight(serve: Serve, exported: Run) -> Any:
    """A server that allows little."""
    limits = Limits(request_bytes=100_000, images=3, upload_seconds=1.0)
    return serve(exported, limits=limits)


def head(path: str, port: int, *lines: str) -> bytes:
    said = (f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines, "", "")
    return "\r\n".join(said).encode()


def received(port: int, data: bytes, *, more: bytes = b"", seconds: float = 10) -> bytes:
    """What a server says to these bytes, and to a further one every tenth of a second."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as connection:
        connection.sendall(data)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                part = connection.recv(65536)
            except TimeoutError:
                if more:
                    connection.sendall(more)
                continue
            except ConnectionError:
                break
            if not part:
                break
            said += part
    return said


def test_another_host_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "a.example"):
        with pytest.raises(ConfigError, match="--token-file"):
            ServeOptions(runs=(Path("run"),), host=host)
        assert ServeOptions(runs=(Path("run"),), host=host, token=TOKEN).token == TOKEN
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert ServeOptions(runs=(Path("run"),), host=host).loopback


def test_a_token_that_is_guessed_or_no_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 characters"):
        ServeOptions(runs=(Path("run"),), token="abcd")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert TOKEN not in repr(ServeOptions(runs=(Path("run"),), token=TOKEN))
    for content in (b"two words of a token", b"\xff\xfe" * 20, "schlüssel".encode() * 4):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no token"):
            read_token(file)


def test_without_the_token_nothing_is_told(locked: Any) -> None:
    for path in ("/", "/runs", "/docs", "/openapi.json", "/metrics", "/nowhere"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            said = locked.client.get(path, headers=headers)
            assert said.status_code == 401, path
            assert said.headers["www-authenticate"] == "Bearer"
            assert "onnx" not in said.text
    known = {"Authorization": f"Bearer {TOKEN}"}
    assert locked.client.get("/runs", headers=known).json()[0]["run"] == "onnx"
    assert locked.client.get("/health").status_code == 200
    assert locked.client.get("/ready").status_code == 200
    assert locked.client.post("/predict", files={"images": b"x"}).status_code == 401


def test_a_browser_logs_in_once(locked: Any) -> None:
    with httpx.Client(base_url=locked.url) as browser:
        sent = browser.get("/", headers={"Accept": "text/html"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/")
        wrong = browser.post("/login", data={"token": "wrong" * 4})
        assert wrong.status_code == 401
        assert not browser.cookies
        right = browser.post("/login", data={"token": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in right.headers["set-cookie"]
        assert browser.get("/runs").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_ask(
    locked: Any, headers: dict[str, str], new_images: list[Path]
) -> None:
    known = {"Authorization": f"Bearer {TOKEN}"}
    files = {"images": ("a.png", new_images[0].read_bytes())}
    assert locked.client.post("/predict", files=files, headers=known).status_code == 200
    said = locked.client.post("/predict", files=files, headers={**known, **headers})
    assert said.status_code == 403
    own = {**known, "Origin": locked.url, "Sec-Fetch-Site": "same-origin"}
    assert locked.client.post("/predict", files=files, headers=own).status_code == 200


def test_a_name_that_leads_here_from_outside_is_no_name_of_this_server(server: Any) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::"):
        said = httpx.get(f"{server.url}/runs", headers={"Host": host})
        assert said.status_code == 400, host
    for host in ("localhost:9", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert httpx.get(f"{server.url}/runs", headers={"Host": host}).status_code == 200, host


def test_every_answer_has_the_headers_that_protect_a_reader(server: Any, locked: Any) -> None:
    answers = [server.client.get(path) for path in ("/", "/runs", "/docs", "/nowhere")]
    answers += [locked.client.get("/"), server.client.post("/predict")]
    for said in answers:
        policy = said.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["cache-control"] == "no-store"
        assert said.headers["referrer-policy"] == "same-origin"


def test_a_fault_of_the_server_is_answered_with_them_too(
    serve: Any, exported: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(exported)
    monkeypatch.setattr(server.service, "runs", None)
    said = server.client.get("/runs")
    assert said.status_code == 500
    assert said.json() == {"error": "the server failed; its log says where"}
    counted = httpx.get(f"{server.url}/metrics").text  # that connection is closed
    assert 'eosin_requests_total{path="/runs",status="500"} 1.0' in counted
    assert said.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_says_it_is_too_large_is_not_read(tight: Any) -> None:
    form = "Content-Type: multipart/form-data; boundary=b"
    said = received(tight.port, head("/predict", tight.port, form, "Content-Length: 100001"))
    assert said.startswith(b"HTTP/1.1 413")
    for length in ("-1", "x"):
        line = f"Content-Length: {length}"
        assert b"HTTP/1.1 4" in received(tight.port, head("/predict", tight.port, form, line))


def test_a_body_that_does_not_say_so_is_cut_off_on_the_way(tight: Any) -> None:
    form = "Content-Type: multipart/form-data; boundary=b"
    begun = head("/predict", tight.port, form, "Transfer-Encoding: chunked")
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    chunk = b"%x\r\n%s\r\n"
    body = chunk % (len(part), part) + 3 * (chunk % (50_000, bytes(50_000)))
    assert received(tight.port, begun + body).startswith(b"HTTP/1.1 413")


def test_too_many_parts_are_refused(tight: Any, new_images: list[Path]) -> None:
    said = tight.predict(*new_images[:4])
    assert said.status_code == 400
    assert "files" in said.json()["error"]
    many = "".join(
        f'--b\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n1\r\n' for n in range(900)
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    said = tight.client.post("/predict", content=f"{many}--b--\r\n".encode(), headers=headers)
    assert said.status_code == 400


def test_a_client_that_sends_slowly_is_let_go_and_holds_nobody(
    tight: Any, new_images: list[Path]
) -> None:
    form = "Content-Type: multipart/form-data; boundary=b"
    begun = head("/predict", tight.port, form, "Content-Length: 90000")

    async def slow() -> list[bytes]:
        part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        sent = begun + part
        each = [asyncio.to_thread(received, tight.port, sent, more=b"-") for _ in range(5)]
        waiting = [asyncio.ensure_future(one) for one in each]
        await asyncio.sleep(0.3)
        quick = await asyncio.to_thread(tight.predict, new_images[0])
        assert quick.status_code == 200
        assert quick.elapsed.total_seconds() < 0.6
        assert not any(one.done() for one in waiting)
        return await asyncio.gather(*waiting)

    begin = time.monotonic()
    assert all(said.startswith(b"HTTP/1.1 408") for said in asyncio.run(slow()))
    assert time.monotonic() - begin < 5


def test_a_client_that_leaves_is_forgotten(tight: Any, new_images: list[Path]) -> None:
    form = "Content-Type: multipart/form-data; boundary=b"
    begun = head("/predict", tight.port, form, "Content-Length: 90000")
    for _ in range(5):
        received(tight.port, begun + b"--b\r\n", seconds=0.1)
    assert tight.predict(new_images[0]).status_code == 200
    text = tight.client.get("/metrics").text
    assert 'eosin_requests_total{path="/predict",status="500"}' not in text


def test_more_requests_than_allowed_are_told_to_come_again(
    serve: Serve, exported: Run, new_images: list[Path]
) -> None:
    small = serve(exported, limits=Limits(requests=1, upload_seconds=1.0))
    form = "Content-Type: multipart/form-data; boundary=b"
    begun = head("/predict", small.port, form, "Content-Length: 90000")
    with socket.create_connection(("127.0.0.1", small.port)) as connection:
        connection.sendall(begun)
        time.sleep(0.2)
        said = small.predict(new_images[0])
        assert said.status_code == 429
        assert said.headers["retry-after"] == "1"
    time.sleep(0.2)
    assert small.predict(new_images[0]).status_code == 200


@pytest.mark.parametrize("other", ["//evil.example", "https://evil.example", "/\\evil", "/a?b", ""])
def test_logging_in_leads_to_pages_of_this_server_alone(locked: Any, other: str) -> None:
    form = {"data": {"token": TOKEN}, "headers": {"Origin": locked.url}}
    said = locked.client.post("/login", params={"next": other}, **form)
    assert (said.status_code, said.headers["location"]) == (303, "/")
    said = locked.client.post("/login", params={"next": "/models"}, **form)
    assert said.headers["location"] == "/models"
