"""The endpoints for programs: predictions, explanations, the Runs, and the server's own state."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from eosin.errors import EosinError
from eosin.server.guard import Refusal
from eosin.server.uploads import Sent
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from eosin.server.served import Served
    from eosin.server.service import Service

FIELD: Final = "images"
router = APIRouter()


class ImageSaid(BaseModel):
    """What a Run says of an image: ``name`` and the other fields, or ``name`` and ``error``."""

    name: str
    probabilities: dict[str, float] | None = None
    decision: str | None = None
    set: list[str] | None = None
    answer: str | None = None
    familiarity: float | None = None
    flags: list[str] | None = None
    note: str | None = None
    error: str | None = None


class RunSaid(BaseModel):
    """What a Run says of all images."""

    run: str
    task: dict[str, Any]
    protocol: dict[str, Any]
    images: list[ImageSaid]


class Predicted(BaseModel):
    """The answer of ``/predict``."""

    runs: list[RunSaid]


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not a multipart form, too many images, or another server's name."},
    401: {"description": "No token, or a wrong one."},
    403: {"description": "From another site's page."},
    404: {"description": "No such Run is served."},
    408: {"description": "Took too long to arrive."},
    413: {"description": "Too many bytes."},
    422: {"description": "No image, or the only one cannot be used; the answer says why."},
    429: {"description": "Too much waits already; try again."},
    503: {"description": "Networks are not open yet, or it took too long; try again."},
}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """The ``responses`` and ``requestBody`` of an endpoint that takes images."""
    form = {"type": "object", "properties": {FIELD: schema}, "required": [FIELD]}
    body = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return {"responses": _ERRORS, "openapi_extra": {"requestBody": body}}


_IMAGE: Final = {"type": "string", "format": "binary"}
_IMAGES: Final = {"type": "array", "items": _IMAGE, "minItems": 1}


@router.post("/predict", response_model=Predicted, **_form(_IMAGES))
async def predict(
    request: Request,
    run: Annotated[list[str], Query(description="Names of Runs; all by default.")] = [],  # noqa: B006  # FastAPI copies it
) -> Response:
    """What each Run says of each image: as `eosin predict` says it of the image alone.

    The form has a field ``images``, once or several times. An image that cannot be used is an entry
    with ``error``; where it is the only one, the status is 422.
    """
    service = _service(request)
    service.require_ready()
    runs = service.named(run)
    async with _images(request, most=service.options.limits.images) as images:
        found = await service.predict(images, runs)
    said = [
        {
            **_about(served),
            "images": [
                {"name": sent.name, **(answer if isinstance(answer, dict) else {"error": answer})}
                for sent, answers in zip(images, found, strict=True)
                for answer in [answers[served.name]]
            ],
        }
        for served in runs
    ]
    nothing = len(images) == 1 and all(isinstance(answer, str) for answer in found[0].values())
    return JSONResponse({"runs": said}, 422 if nothing else 200)


@router.post("/explain", **_form(_IMAGE))
async def explain(
    request: Request,
    run: Annotated[
        list[str], Query(description="Name of a Run, the first by default; several are merged.")
    ] = [],  # noqa: B006
    target: Annotated[str, Query(description="A class, or predicted.")] = "predicted",
    score: Annotated[bool, Query(description="Check how far to believe the map.")] = False,
) -> Response:
    """Where a Run found its evidence in one image, as `eosin explain` draws it.

    Pictures (``overlay``, ``original``) are PNG files as data: URLs; ``map`` is that of the
    network's own grid, row by row. A ``verdict`` needs PyTorch and takes longer.
    """
    service = _service(request)
    service.require_ready()
    first, *others = service.named(run) if run else service.runs[:1]
    async with _images(request, most=1) as (sent,):
        with _refused(first):
            work = service.explain(sent, first, beside=others, target=target, score=score)
            return JSONResponse(await work)


@router.post("/stains", **_form(_IMAGE))
async def stains(request: Request) -> Response:
    """The two stains of one image, each as it would look without the other, as data: URLs.

    They are told apart by Macenko's method (ISBI 2009) on the image itself.
    """
    service = _service(request)
    async with _images(request, most=1) as (sent,):
        with _refused(service.runs[0]):
            return JSONResponse(await service.stains(sent))


@router.get("/runs")
async def runs(request: Request) -> list[dict[str, Any]]:
    """The Runs that are served, their classes, and how their own images were divided."""
    return [
        {
            **_about(served),
            "kind": served.run.record.kind,
            "backbone": served.run.record.backbone,
            "sha256": served.run.sha256,
            "threshold": served.run.record.threshold,
            "patients": len(served.run.record.seen_patients),
            "notes": served.run.record.notes,
            "scorable": not served.run.exported,  # whether maps can be checked
        }
        for served in _service(request).runs
    ]


@router.get("/health")
async def health() -> dict[str, str]:
    """The server is alive."""
    return {"status": "alive", "version": __version__}


@router.get("/ready", responses={503: _ERRORS[503]})
async def ready(request: Request) -> dict[str, str]:
    """The networks are open; 503 until then."""
    _service(request).require_ready()
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text = generate_latest(_service(request).metrics.registry)
    return Response(text, media_type="text/plain; version=0.0.4")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@asynccontextmanager
async def _images(request: Request, *, most: int) -> AsyncIterator[list[Sent]]:
    """The images of a form: received, and closed when the block ends."""
    async with request.form(max_files=most, max_fields=1) as form:
        parts = form.getlist(FIELD)
        files = [part for part in parts if isinstance(part, UploadFile)]
        if not files or len(files) < len(parts):
            raise Refusal(422, f"send each image as a file in the form field {FIELD!r}")
        yield [Sent.of(part.filename, part.file) for part in files]


@contextmanager
def _refused(served: Served) -> Iterator[None]:
    try:
        yield
    except EosinError as error:
        raise Refusal(422, served.plain(error)) from None


def _about(served: Served) -> dict[str, Any]:
    record = served.run.record
    return {"run": served.name, "task": asdict(record.task), "protocol": record.protocol.to_dict()}
