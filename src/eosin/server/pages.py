"""The pages that every server has: Try, the endpoints, and the form for a token."""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from eosin.server.frame import show
from eosin.server.guard import COOKIE, same, session_of

if TYPE_CHECKING:
    from eosin.server.service import Service

_WRONG_TOKEN_SECONDS = 0.5
_OWN_PAGE = re.compile(r"/(?:[\w-]+(?:/[\w-]+)*)?", re.ASCII)


def register(app: FastAPI) -> None:
    """Add the pages."""
    service: Service = app.state.service
    token = service.options.token
    app.state.tabs.add("Try")
    style = files("eosin.reporting").joinpath("templates", "style.css").read_bytes()

    @app.get("/static/style.css", include_in_schema=False)
    async def look() -> Response:
        return Response(style, media_type="text/css")

    app.mount("/static", StaticFiles(packages=[("eosin.server", "static")]))

    @app.get("/", include_in_schema=False)
    async def start(request: Request) -> Response:
        return show(request, "try.html", runs=service.runs)

    @app.get("/docs", include_in_schema=False)
    async def endpoints(request: Request) -> Response:
        return show(request, "endpoints.html", paths=app.openapi()["paths"])

    @app.get("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        return show(request, "login.html", wrong=False)

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=1, max_part_size=4096) as form:
            given = str(form.get("token", "")).strip()
        if token is not None and not same(given, token):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            return show(request, "login.html", status=401, wrong=True)
        wanted = request.query_params.get("next", "")
        answer = RedirectResponse(wanted if _OWN_PAGE.fullmatch(wanted) else "/", 303)
        if token is not None:
            https = request.url.scheme == "https"
            session = session_of(token)
            answer.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=https)
        return answer
