"""The application: guard, endpoints and whatever pages there are, put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from eosin.server import api, models, pages, review, slides, worklist_page
from eosin.server.guard import Guard
from eosin.server.service import Service
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eosin.server.settings import ServeOptions

_PARTS = (pages, models, slides, review, worklist_page)


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
    app.state.options, app.state.service, app.state.tabs = options, service, set()
    app.add_middleware(cast("Any", Guard), options=options, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _sentence)
    app.add_exception_handler(RequestValidationError, _sentence)
    app.include_router(api.router)
    for part in _PARTS:
        part.register(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.scoring.start()
    try:
        yield
    finally:
        await asyncio.to_thread(service.stop)
        if hasattr(app.state, "record"):
            app.state.record.close()


async def _sentence(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    faults = cast("RequestValidationError", error).errors()
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults)
    return JSONResponse({"error": said}, 422)
