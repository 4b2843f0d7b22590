"""The application: guard, endpoints and whatever pages there are, put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from eosin.server import api
from eosin.server.guard import COOKIE, Guard, same, session_of
from eosin.server.plain_pages import endpoints_page, login_page, start_page
from eosin.server.service import Service
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eosin.server.settings import ServeOptions

_PARTS = ("pages", "slides", "review")  # modules of this room that may ``register(app)``
_LOGIN_PAUSE = 0.5  # seconds after a wrong token


def create_app(options: ServeOptions) -> FastAPI:
    """The server's application; its ``state.service`` answers for the Runs.

    Networks are opened when it starts, in a thread of their own.

    Raises:
        ModelError: a folder is no finished Run, or one that is not whole.
    """
    service = Service(options)
    app = FastAPI(
        title="eosin",
        version=__version__,
        description="Classification of breast-histopathology images; not for diagnosis.",
        lifespan=_lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.options, app.state.service = options, service
    app.add_middleware(cast("Any", Guard), options=options, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _sentence)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.include_router(api.router)
    for part in _PARTS:
        if find_spec(f"eosin.server.{part}") is not None:
            import_module(f"eosin.server.{part}").register(app)
    _add_plain_pages(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    try:
        yield
    finally:
        await asyncio.to_thread(service.stop)


async def _sentence(_: Request, error: Exception) -> Response:
    fault = cast("HTTPException", error)
    return JSONResponse({"error": str(fault.detail)}, fault.status_code, fault.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults)
    return JSONResponse({"error": said}, 422)


def _add_plain_pages(app: FastAPI) -> None:
    """Pages that need no script; those of the same address that a part has registered stand."""
    service: Service = app.state.service
    token = service.options.token

    @app.get("/", include_in_schema=False)
    async def start() -> HTMLResponse:
        return HTMLResponse(start_page(service.runs))

    @app.get("/docs", include_in_schema=False)
    async def endpoints() -> HTMLResponse:
        return HTMLResponse(endpoints_page(app.openapi()))

    @app.get("/login", include_in_schema=False)
    async def login() -> HTMLResponse:
        return HTMLResponse(login_page())

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=4, max_part_size=4096) as form:
            given = str(form.get("token", ""))
        if token is not None and not same(given.strip(), token):
            await asyncio.sleep(_LOGIN_PAUSE)
            return HTMLResponse(login_page(wrong=True), 401)
        answer = RedirectResponse("/", 303)
        if token is not None:
            secure = request.url.scheme == "https"
            value = session_of(token)
            answer.set_cookie(COOKIE, value, httponly=True, samesite="strict", secure=secure)
        return answer
