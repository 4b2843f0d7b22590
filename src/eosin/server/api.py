"""The endpoints for programs: predictions, explanations, the Runs, and the server's own state."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from eosin.errors import ConfigError, EosinError
from eosin.server.guard import RETRY_AFTER, Refusal
from eosin.server.scoring import Answer, Busy
from eosin.server.uploads import Sent
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

    from eosin.server.served import Served
    from eosin.server.service import Service

FIELD: Final = "images"
router = APIRouter()
RunNames = Annotated[list[str], Query(alias="run", description="Names of Runs; all by default.")]


class TaskSaid(BaseModel):
    """The classes."""

    name: str
    classes: list[str]
    positive: str | None
    ordinal: bool


class ProtocolSaid(BaseModel):
    """How the Run's own images were divided."""

    name: str
    leaky: bool
    warning: str | None


class RunSaid(BaseModel):
    """A Run that is served."""

    run: str
    kind: str
    backbone: str
    exported: bool
    sha256: str
    dataset: str
    task: TaskSaid
    protocol: ProtocolSaid
    threshold: float | None
    train_patients: int
    val_patients: int
    notes: list[str]


class ImageSaid(BaseModel):
    """What a Run says of an image; or, in ``error``, why it says nothing."""

    name: str
    probabilities: dict[str, float] | None = None
    decision: str | None = None
    set: list[str] | None = None
    answer: str | None = None
    familiarity: float | None = None
    flags: list[str] | None = None
    note: str | None = None
    error: str | None = None


class RunAnswers(BaseModel):
    """What a Run says of all images."""

    run: str
    task: TaskSaid
    protocol: ProtocolSaid
    images: list[ImageSaid]


class Predicted(BaseModel):
    """The answer of ``/predict``."""

    runs: list[RunAnswers]


class MapSaid(BaseModel):
    """A map on a network's own grid, at least 0."""

    shape: tuple[int, int]
    values: list[float]


class VerdictSaid(BaseModel):
    """How far to believe a map."""

    faithful: bool
    sentence: str
    gap: float


class ExplainedSaid(BaseModel):
    """The answer of ``/explain``; pictures are PNG files as data: URLs."""

    name: str
    run: str
    target: str
    probability: float
    method: str
    seen: bool | None
    verdict: VerdictSaid | None
    overlay: str
    original: str
    map: MapSaid


class ErrorSaid(BaseModel):
    """Why a request is not answered."""

    error: str


def _body(many: bool) -> dict[str, Any]:
    one = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": one, "minItems": 1} if many else one
    schema = {"type": "object", "properties": {FIELD: field}, "required": [FIELD]}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorSaid, "description": "Not a multipart form, or another server's name."},
    401: {"model": ErrorSaid, "description": "No token, or a wrong one."},
    403: {"model": ErrorSaid, "description": "From another site's page."},
    404: {"model": ErrorSaid, "description": "No such Run is served."},
    408: {"model": ErrorSaid, "description": "Took too long to arrive."},
    413: {"model": ErrorSaid, "description": "Too many bytes or images."},
    422: {"description": "No image, or the only one cannot be used; the answer says why."},
    429: {"model": ErrorSaid, "description": "Too much waits already; try again."},
    503: {"model": ErrorSaid, "description": "Networks are not open yet, or it took too long."},
}


class Refused(HTTPException):
    """An answer that is a sentence."""

    def __init__(self, refusal: Refusal) -> None:
        headers = dict([refusal.header]) if refusal.header else None
        super().__init__(refusal.status, refusal.error, headers)


@router.post(
    "/predict", response_model=Predicted, responses=_ERRORS, openapi_extra=_body(many=True)
)
async def predict(request: Request, run: RunNames = []) -> Response:  # noqa: B006  # never changed
    """What each Run says of each image: as `eosin predict` says it of the image alone.

    The form has a field ``images``, once or several times. An image that cannot be used is an entry
    with ``error``; where it is the only one, the status is 422.
    """
    service = _ready(request)
    runs = _runs(service, run)
    async with _images(request, most=service.options.limits.images) as images:
        try:
            found = await service.predict(images, runs)
        except Busy:
            raise Refused(_BUSY) from None
    said = [
        {
            **_about(served),
            "images": [
                _said(sent, answers[served.name])
                for (sent, _), answers in zip(images, found, strict=True)
            ],
        }
        for served in runs
    ]
    nothing = len(images) == 1 and all(isinstance(answer, str) for answer in found[0].values())
    return JSONResponse({"runs": said}, 422 if nothing else 200)


@router.post(
    "/explain", response_model=ExplainedSaid, responses=_ERRORS, openapi_extra=_body(many=False)
)
async def explain(
    request: Request,
    run: Annotated[str | None, Query(description="Name of a Run; the first by default.")] = None,
    target: Annotated[str, Query(description="A class, or predicted.")] = "predicted",
    score: Annotated[bool, Query(description="Check how far to believe the map.")] = False,
) -> Response:
    """Where a Run found its evidence in one image, as `eosin explain` draws it."""
    service = _ready(request)
    served = _runs(service, [] if run is None else [run])[0]
    async with _images(request, most=1) as images:
        ((sent, data),) = images
        try:
            found = await service.explain(sent, data, served, target=target, score=score)
        except Busy:
            raise Refused(_BUSY) from None
        except EosinError as error:
            raise Refused(Refusal(422, served.plain(error))) from None
    values = found.values
    return JSONResponse(
        {
            "name": sent.name,
            "run": served.name,
            "target": found.target,
            "probability": found.probability,
            "method": found.method,
            "seen": found.seen,
            "verdict": found.verdict,
            "overlay": found.overlay,
            "original": found.original,
            "map": {"shape": list(values.shape), "values": values.ravel().tolist()},
        }
    )


@router.get("/runs", response_model=list[RunSaid])
async def runs(request: Request) -> Response:
    """The Runs that are served."""
    return JSONResponse([_described(served) for served in _service(request).runs])


@router.get("/health")
async def health() -> dict[str, str]:
    """The server is alive."""
    return {"status": "alive", "version": __version__}


@router.get("/ready", responses={503: {"model": ErrorSaid}})
async def ready(request: Request) -> dict[str, str]:
    """The networks are open; 503 until then."""
    _ready(request)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text = _service(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4")


_BUSY: Final = Refusal(429, "too many images wait already; try again", ("Retry-After", RETRY_AFTER))


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _ready(request: Request) -> Service:
    service = _service(request)
    if not service.ready:
        again = ("Retry-After", RETRY_AFTER)
        raise Refused(Refusal(503, "the networks are not open yet; try again", again))
    return service


def _runs(service: Service, names: list[str]) -> list[Served]:
    try:
        return service.named(names)
    except ConfigError as error:
        raise Refused(Refusal(404, str(error))) from None


@asynccontextmanager
async def _images(request: Request, *, most: int) -> AsyncIterator[list[tuple[Sent, BinaryIO]]]:
    """The images of a form: received, and closed when the block ends."""
    async with request.form(max_files=most, max_fields=0) as form:
        parts = form.getlist(FIELD)
        if not parts or any(not isinstance(part, UploadFile) for part in parts):
            raise Refused(Refusal(422, f"send each image as a file in the form field {FIELD!r}"))
        files = [part for part in parts if isinstance(part, UploadFile)]
        yield [(Sent.of(part.filename), part.file) for part in files]


def _said(sent: Sent, answer: Answer | str) -> dict[str, object]:
    if isinstance(answer, str):
        return {"name": sent.name, "error": answer}
    return {
        "name": sent.name,
        "probabilities": answer.probabilities,
        "decision": answer.decision,
        "set": answer.set,
        "answer": answer.answer,
        "familiarity": answer.familiarity,
        "flags": answer.flags,
        "note": answer.note,
    }


def _about(served: Served) -> dict[str, object]:
    record = served.run.record
    task, protocol = record.task, record.protocol
    return {
        "run": served.name,
        "task": {
            "name": task.name,
            "classes": list(task.classes),
            "positive": task.positive,
            "ordinal": task.ordinal,
        },
        "protocol": {
            "name": protocol.name,
            "leaky": protocol.leaky,
            "warning": protocol.warning,
        },
    }


def _described(served: Served) -> dict[str, object]:
    record = served.run.record
    return {
        **_about(served),
        "kind": record.kind,
        "backbone": record.backbone,
        "exported": served.run.exported,
        "sha256": served.run.sha256,
        "dataset": record.dataset,
        "threshold": record.threshold,
        "train_patients": len(record.train_patients),
        "val_patients": len(record.val_patients),
        "notes": list(record.notes),
    }
