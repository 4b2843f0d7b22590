"""Who may ask, from where, and how much: looked at before a byte of a request's body is read.

One ASGI layer around the application. It refuses, counts and times; it knows nothing of images.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from eosin.server.metrics import Metrics
    from eosin.server.settings import Limits, ServeOptions

COOKIE: Final = "eosin_session"
RETRY_AFTER: Final = "1"  # seconds
CLIENT_LEFT: Final = 499  # for the metrics only: nobody is there to be answered
_OPEN: Final = ("/health", "/ready", "/login")  # asked without a token
_OPEN_BELOW: Final = ("/static/",)
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def session_of(token: str) -> str:
    """What the cookie of a browser that has named the token holds; the token is not told by it."""
    return hmac.new(token.encode(), b"eosin session", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    error: str
    header: tuple[str, str] | None = None


class _Late(Exception):  # noqa: N818  # a refusal on its way to where it is sent
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Guard:
    """The layer.

    Attributes:
        requests: that are inside now.
        held_bytes: of their bodies, received so far.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self._options, self._metrics = app, options, metrics
        self.requests = self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served
            return
        sending, begun = _Sending(send), time.monotonic()
        try:
            await self._answer(scope, receive, sending)
        except ClientDisconnect:
            sending.status = CLIENT_LEFT
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count_request(route, sending.status, time.monotonic() - begun)

    async def _answer(self, scope: Scope, receive: Receive, send: _Sending) -> None:
        refusal = self._refused(scope)
        if refusal is None:
            try:
                with self._inside():
                    await self._pass_on(scope, receive, send)
                return
            except _Late as late:
                refusal = late.refusal
        if not send.status:
            await _refuse(refusal, send)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def _pass_on(self, scope: Scope, receive: Receive, send: _Sending) -> None:
        limits = self._options.limits
        body = _Body(receive, self, limits)
        try:
            async with asyncio.timeout(limits.upload_seconds + limits.answer_seconds):
                await self._app(scope, body, send)
        except TimeoutError:
            raise _Late(Refusal(503, "took too long to answer", _again())) from None
        finally:
            self.held_bytes -= body.size

    def _refused(self, scope: Scope) -> Refusal | None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        limits = self._options.limits
        host = headers.get("host", "")
        if self._options.loopback and not self._is_own(host):
            return Refusal(400, f"host {host[:100]!r} is not this server's; ask for 127.0.0.1")
        if scope["method"] not in _SAFE and not _same_origin(headers, host):
            return Refusal(403, "the request comes from another site's page")
        if not self._known(scope["path"], headers):
            return _unknown(scope, headers)
        if self.requests >= limits.requests:
            return Refusal(429, "too many requests at once; try again", _again())
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limits.request_bytes:
            return too_large(limits)
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name in (*_OWN_NAMES, self._options.host.lower())

    def _known(self, path: str, headers: dict[str, str]) -> bool:
        token = self._options.token
        if token is None or path in _OPEN or path.startswith(_OPEN_BELOW):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, session_of(token))


class _Body:
    """What a client sends, counted and timed while it comes."""

    def __init__(self, receive: Receive, guard: Guard, limits: Limits) -> None:
        self._receive, self._guard, self._limits = receive, guard, limits
        self._until = asyncio.get_running_loop().time() + limits.upload_seconds
        self._whole = False
        self.size = 0

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()  # the client going away
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise _Late(Refusal(408, "took too long to arrive", ("Connection", "close"))) from None
        if message["type"] != "http.request":
            self._whole = True
            return message
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        self._guard.held_bytes += size
        if self.size > self._limits.request_bytes:
            raise _Late(too_large(self._limits))
        if self._guard.held_bytes > self._limits.all_bytes:
            raise _Late(Refusal(429, "too much is being sent at once; try again", _again()))
        return message


class _Sending:
    """Adds the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0  # none yet

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            given = {name.lower() for name, _ in message.get("headers", ())}
            kept = [pair for pair in own if pair[0] not in given]
            message = {**message, "headers": [*message.get("headers", ()), *kept]}
        await self._send(message)


def too_large(limits: Limits) -> Refusal:
    """Of a body of too many bytes."""
    most = f"{limits.request_bytes / 2**20:g} MiB"
    return Refusal(413, f"the request is larger than {most}; send fewer images at once", _CLOSE)


_CLOSE: Final = ("Connection", "close")  # what is still being sent is not read


def _again() -> tuple[str, str]:
    return ("Retry-After", RETRY_AFTER)


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """Whether a request that changes or costs something comes from a page of this server.

    Programs that are no browser name no origin.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc.lower() == host.lower() != ""


def _unknown(scope: Scope, headers: dict[str, str]) -> Refusal:
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        return Refusal(303, "log in first", ("Location", "/login"))
    why = "names no token, or a wrong one; send it as `Authorization: Bearer TOKEN`"
    return Refusal(401, f"the request {why}", ("WWW-Authenticate", "Bearer"))


async def _refuse(refusal: Refusal, send: _Sending) -> None:
    body = json.dumps({"error": refusal.error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.header is not None:
        headers.append(tuple(part.lower().encode() for part in refusal.header))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
