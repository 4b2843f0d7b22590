"""Who may ask, from where, and how much: looked at before a byte of a request's body is read.

One ASGI layer around the application. It refuses, counts and times; it knows nothing of images.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from eosin.server.metrics import Metrics
    from eosin.server.settings import ServeOptions

COOKIE: Final = "eosin_session"
AGAIN: Final = {"Retry-After": "1"}  # seconds
_CLOSE: Final = {"Connection": "close"}  # what is still being sent is not read
_CLIENT_LEFT: Final = 499  # for the metrics only: nobody is there to be answered
_OPEN: Final = ("/health", "/ready", "/login")  # asked without a token, as is what follows
_OPEN_BELOW: Final = "/static/"
_OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # none at all would hide the origin of our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def session_of(token: str) -> str:
    """What the cookie of a browser that has named the token holds; the token is not told by it."""
    return hmac.new(token.encode(), b"eosin session", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Refusal(Exception):  # noqa: N818  # of a request, wherever in the server it is found out
    """Why a request is not answered: a status, a sentence and headers."""

    def __init__(self, status: int, said: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(said)
        self.status, self.headers = status, dict(headers or {})


class Guard:
    """The layer.

    Attributes:
        requests: that are inside now.
        held_bytes: of their bodies, received so far.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self.options, self._metrics = app, options, metrics
        self.requests = self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":  # no WebSocket is served
            return
        sending, begun = _Sending(send), time.monotonic()
        try:
            self._require(scope)
            await self._pass_on(scope, receive, sending)
        except ClientDisconnect:
            sending.status = _CLIENT_LEFT
        except Refusal as refusal:
            if not sending.status:
                await _refuse(refusal, sending)
        except Exception:
            if not sending.status:  # with the headers that protect a reader; the log says more
                await _refuse(Refusal(500, "the server failed; its log says where"), sending)
            self._count(scope, sending.status, begun)
            raise
        self._count(scope, sending.status, begun)

    def _count(self, scope: Scope, status: int, begun: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(time.monotonic() - begun)

    async def _pass_on(self, scope: Scope, receive: Receive, send: _Sending) -> None:
        body, limits = _Body(receive, self), self.options.limits
        self.requests += 1
        try:
            async with asyncio.timeout(limits.upload_seconds + limits.answer_seconds):
                await self._app(scope, body, send)
        except TimeoutError:
            raise Refusal(503, "took too long to answer; try again", AGAIN) from None
        finally:
            self.requests -= 1
            self.held_bytes -= body.size

    def _require(self, scope: Scope) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        limits, host = self.options.limits, headers.get("host", "")
        if self.options.loopback and _name(host) not in (*_OWN_NAMES, self.options.host.lower()):
            raise Refusal(400, f"host {host[:100]!r} is not this server's; ask for 127.0.0.1")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _same_origin(headers, host):
            raise Refusal(403, "the request comes from another site's page")
        if not self._known(scope["path"], headers):
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                to = f"/login?next={quote(scope['path'])}"
                raise Refusal(303, "log in first", {"Location": to})
            why = "no token, or a wrong one; send it as `Authorization: Bearer TOKEN`"
            raise Refusal(401, f"the request names {why}", {"WWW-Authenticate": "Bearer"})
        if self.requests >= limits.requests:
            raise Refusal(429, "too many requests at once; try again", AGAIN)
        self.require_size(int(headers.get("content-length", "0")))

    def require_size(self, size: int) -> None:
        """413 where a body has more bytes than a request may have."""
        most = self.options.limits.request_bytes
        if size > most:
            said = f"the request is larger than {most / 2**20:g} MiB; send fewer images at once"
            raise Refusal(413, said, _CLOSE)

    def _known(self, path: str, headers: Mapping[str, str]) -> bool:
        token = self.options.token
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

    def __init__(self, receive: Receive, guard: Guard) -> None:
        self._receive, self._guard, self._limits = receive, guard, guard.options.limits
        self._until = asyncio.get_running_loop().time() + self._limits.upload_seconds
        self._whole, self.size = False, 0

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()  # the client going away
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, "the request took too long to arrive", _CLOSE) from None
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        self._guard.held_bytes += size
        self._guard.require_size(self.size)
        if self._guard.held_bytes > self._limits.all_bytes:
            said = "too much is being sent at once; try again"
            raise Refusal(429, said, {**AGAIN, **_CLOSE})
        return message


class _Sending:
    """Adds the headers that every answer has; knows its status, 0 until it has one."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = dict(message.get("headers", ()))
            own = {k.encode(): v.encode() for k, v in HEADERS.items() if k.encode() not in given}
            message = {**message, "headers": [*message.get("headers", ()), *own.items()]}
        await self._send(message)


def _name(host: str) -> str | None:
    """The name in a Host header, without the port; None where it has none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request that changes or costs something comes from a page of this server.

    Programs that are no browser name no origin.
    """
    origin = headers.get("origin")
    own = origin is None or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
    return own and headers.get("sec-fetch-site", "none") in ("same-origin", "none")


async def _refuse(refusal: Refusal, send: _Sending) -> None:
    body = json.dumps({"error": str(refusal)}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    pairs = [(k.lower().encode(), v.encode()) for k, v in (headers | refusal.headers).items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
