"""The pages of whole slides: the pyramid, maps, and tiles that are scored where somebody looks."""

from __future__ import annotations

import hashlib
import io
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from eosin.errors import EosinError
from eosin.inference.bags import answers_slides
from eosin.inference.slides import patient_of
from eosin.pixels.writing import png_bytes
from eosin.server.frame import show
from eosin.server.slide_view import Shown, find_shown
from eosin.server.uploads import SEEN, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from eosin.server.served import Served
    from eosin.server.service import Service, T

_WHOLE: Final = "this Run answers for slides, not for single tiles; a map says what each weighs"
router = APIRouter(prefix="/slides")


def register(app: FastAPI) -> None:
    """Add the pages where there are slides to show, and the extra ``slides`` to read them."""
    data, able = app.state.options.data, all(map(find_spec, ("openslide", "tifffile")))
    shown = find_shown(data, named=app.state.options.show_patients) if data and able else ()
    app.state.slides = {each.id: each for each in shown}
    if shown:
        app.state.tabs.add("Slides")
        app.include_router(router)


def _found(request: Request, slide: str) -> Shown:
    found: Shown | None = request.app.state.slides.get(slide)
    if found is None:
        raise HTTPException(404, "no such slide")
    return found


Found = Annotated[Shown, Depends(_found)]
Pixels = Annotated[float, Query(ge=0, allow_inf_nan=False, description="Of level 0.")]
RunName = Annotated[str | None, Query(description="Name of a Run; the first by default.")]


async def _looked(
    request: Request, found: Found, x: Pixels, y: Pixels, run: RunName = None
) -> tuple[Served, Sent, dict[str, Any]]:
    """The Run that is asked, a tile as an image that was sent, and what is said of it anyway."""
    service: Service = request.app.state.service
    service.require_ready()
    served = service.named([] if run is None else [run])[0]
    pixels, said = await _read(request, found, partial(found.look, served.run, x, y))
    named = found.patient or patient_of(served.run, found.path)
    seen = bool(named and served.identity.met([named])) or served.met(found.path)
    refused = SEEN if seen and not service.options.allow_seen else ""
    sent = Sent("tile", Path(found.path.name), io.BytesIO(png_bytes(pixels)))
    return served, sent, {**said, "seen": seen, "refused": refused}


Looked = Annotated[tuple[Any, Sent, dict[str, Any]], Depends(_looked)]


@router.get("", include_in_schema=False)
async def slides(request: Request) -> Response:
    """All slides."""
    lines = []
    for each in request.app.state.slides.values():
        try:
            lines.append((each, await _read(request, each, each.facts), ""))
        except HTTPException as error:
            lines.append((each, {}, error.detail))
    return show(request, "slides.html", lines=lines)


@router.get("/{slide}", include_in_schema=False)
async def view(request: Request, found: Found) -> Response:
    """One slide."""
    return show(request, "slide.html", slide=found, runs=request.app.state.service.runs)


@router.get("/{slide}/facts")
async def facts(request: Request, found: Found) -> dict[str, Any]:
    """A slide's sides, um/px and maps, and what is stored of its answer."""
    return await _read(request, found, found.facts)


@router.get("/{slide}/dzi/{level}/{x}_{y}.jpg", response_class=Response)
async def picture(request: Request, found: Found, level: int, x: int, y: int) -> Response:
    """A picture of the Deep Zoom pyramid: 256 pixels, no overlap, from level 8 on."""
    return await _kept(request, found, partial(found.picture, level, x, y), media="image/jpeg")


@router.get("/{slide}/layers/{name}.png", response_class=Response)
async def layer(request: Request, found: Found, name: str) -> Response:
    """A map, a pixel a cell of its grid, which begins at the slide's upper left corner."""
    return await _kept(request, found, partial(found.layer_picture, name), media="image/png")


@router.post("/{slide}/look")
async def look(request: Request, looked: Looked) -> dict[str, Any]:
    """The tile at a point, scored now as `eosin predict` scores it alone, and what is around."""
    served, sent, around = looked
    said: object = around["refused"] or _WHOLE
    if not around["refused"] and not answers_slides(served.run):
        (answers,) = await request.app.state.service.predict([sent], [served])
        said = answers[served.name]
    return {**around, "image": {"error": said} if isinstance(said, str) else said}


@router.post("/{slide}/explain")
async def explain(request: Request, looked: Looked) -> dict[str, Any]:
    """Where a Run found its evidence in the tile at a point, as ``/explain`` says it."""
    served, sent, around = looked
    if around["refused"]:
        raise HTTPException(422, SEEN)
    try:
        said = await request.app.state.service.explain(sent, served)
        return {**said, "seen": around["seen"] or said["seen"]}
    except EosinError as error:
        raise HTTPException(422, served.plain(error)) from error


async def _read(request: Request, found: Shown, work: Callable[[], T]) -> T:
    """What a reading thread reads of a slide; 404 where it is not there, 422 where it cannot."""
    service: Service = request.app.state.service
    try:
        return await service.read(work)
    except KeyError:
        raise HTTPException(404, "there is no such place on the slide") from None
    except EosinError as error:
        said = str(error).replace(str(found.path), found.name)
        raise HTTPException(422, said.replace(str(found.folder), found.name)) from error


async def _kept(
    request: Request, found: Shown, made: Callable[[], bytes], *, media: str
) -> Response:
    """A picture that a browser keeps, and asks for again after an hour in case it changed."""
    data = await _read(request, found, made)
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, max-age=3600"}
    same = request.headers.get("if-none-match") == tag
    return Response(b"" if same else data, 304 if same else 200, headers, media)
