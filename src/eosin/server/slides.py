"""The pages of whole slides: the pyramid, maps, and tiles that are scored where somebody looks."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response

from eosin.errors import EosinError
from eosin.files import disk_errors
from eosin.inference.bags import answers_slides
from eosin.inference.slides import patient_of
from eosin.pixels.writing import png_bytes
from eosin.reporting.galleries import thumbnail
from eosin.server.frame import show
from eosin.server.uploads import SEEN, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from eosin.server.served import Served
    from eosin.server.service import T
    from eosin.server.service import Service
    from eosin.server.slide_view import Look, Shown

_KEPT: Final = "private, max-age=3600"  # by the browser alone
_WHOLE: Final = "this Run answers for whole slides, not for a tile; its map says what tiles weigh"
Place = Annotated[float, Query(ge=0, allow_inf_nan=False, description="Pixels of level 0.")]
RunName = Annotated[str | None, Query(description="Name of a Run; the first by default.")]


def register(app: FastAPI) -> None:
    """Add the pages where there are slides to show and the extra ``slides`` reads them."""
    options = app.state.options
    if options.data is None or not all(map(find_spec, ("openslide", "tifffile", "imagecodecs"))):
        return
    from eosin.server.slide_view import find_shown

    shown = find_shown(options.data, named=options.show_patients)
    if shown:
        app.state.tabs.add("Slides")
        app.include_router(slide_router(app.state.service, {each.id: each for each in shown}))


def slide_router(service: Service, shown: dict[str, Shown]) -> APIRouter:
    """The routes below ``/slides``, of slides by their ids."""
    desk = _Desk(service, shown)
    router = APIRouter(prefix="/slides")
    for path, page in (("", desk.list), ("/{slide}", desk.view)):
        router.add_api_route(path, page, include_in_schema=False)
    router.add_api_route("/{slide}/facts", desk.facts)
    router.add_api_route("/{slide}/dzi/{level}/{x}_{y}.jpg", desk.picture, response_class=Response)
    router.add_api_route("/{slide}/layers/{name}.png", desk.layer, response_class=Response)
    router.add_api_route("/{slide}/look", desk.look, methods=["POST"])
    router.add_api_route("/{slide}/explain", desk.explain, methods=["POST"])
    return router


@dataclass(frozen=True)
class _Desk:
    """The handlers; slides are read by the service's reading threads."""

    service: Service
    shown: dict[str, Shown]

    async def list(self, request: Request) -> Response:
        """The page of all slides."""
        slides = [await self.service.read(partial(_line, each)) for each in self.shown.values()]
        return show(request, "slides.html", slides=slides)

    async def view(self, request: Request, slide: str) -> Response:
        """The page of one slide."""
        runs = [each.name for each in self.service.runs]
        return show(request, "slide.html", slide=self._found(slide), runs=runs)

    async def facts(self, slide: str) -> dict[str, object]:
        """A slide's sides, um/px, maps and stored answer."""
        found = self._found(slide)
        return await self._read(found, found.facts)

    async def picture(self, request: Request, slide: str, level: int, x: int, y: int) -> Response:
        """A picture of the Deep Zoom pyramid, 256 pixels without overlap."""
        found = self._found(slide)
        made = partial(_jpeg_of, found, level, x, y)
        return await self._kept(request, found, found.path, made, media="image/jpeg")

    async def layer(self, request: Request, slide: str, name: str) -> Response:
        """A map, a pixel a cell of its grid, which begins at the slide's upper left corner."""
        found = self._found(slide)
        file = found.layers.get(name)
        if file is None:
            raise HTTPException(404, "no such layer")
        made = partial(_png_of, found, name)
        return await self._kept(request, found, file, made, media="image/png")

    async def look(
        self, slide: str, x: Place, y: Place, run: RunName = None
    ) -> dict[str, object]:
        """The tile at a point, scored now as `eosin predict` scores it alone, and its neighbours."""
        found, served = self._asked(slide, run)
        look = await self._read(found, partial(found.look, served.run, x, y))
        return {
            "run": served.name,
            "x": look.tile.x,
            "y": look.tile.y,
            "width": look.tile.width,
            "size": look.tile.size,
            "picture": _url("png", png_bytes(look.pixels)),
            "around": _url("jpeg", thumbnail(look.around, longest=max(look.around.shape))[0]),
            "stored": look.stored,
            "centres": look.centres,
            "image": await self._answer(found, served, look),
        }

    async def explain(
        self, slide: str, x: Place, y: Place, run: RunName = None
    ) -> dict[str, object]:
        """Where a Run found its evidence in the tile at a point, as ``/explain`` says it."""
        found, served = self._asked(slide, run)
        if not self.service.options.allow_seen and _met(found, served):
            raise HTTPException(422, SEEN)
        look = await self._read(found, partial(found.look, served.run, x, y))
        try:
            said = await self.service.explain(_sent(found, look), served)
        except EosinError as error:
            raise HTTPException(422, served.plain(error)) from error
        return {**said, "name": found.name, "seen": _met(found, served)}

    async def _answer(self, found: Shown, served: Served, look: Look) -> dict[str, object]:
        if not self.service.options.allow_seen and _met(found, served):
            return {"error": SEEN}
        if answers_slides(served.run):
            return {"error": _WHOLE}
        (answers,) = await self.service.predict([_sent(found, look)], [served])
        answer = answers[served.name]
        return answer if isinstance(answer, dict) else {"error": answer}

    def _found(self, slide: str) -> Shown:
        if slide not in self.shown:
            raise HTTPException(404, "no such slide")
        return self.shown[slide]

    def _asked(self, slide: str, run: str | None) -> tuple[Shown, Served]:
        self.service.require_ready()
        return self._found(slide), self.service.named([] if run is None else [run])[0]

    async def _read(self, found: Shown, work: Callable[[], T]) -> T:
        """What is read of a slide; what is not there is 404, what cannot be read a sentence."""
        try:
            return await self.service.read(work)
        except KeyError:
            raise HTTPException(404, "the slide has no such place") from None
        except EosinError as error:
            raise HTTPException(422, _plain(found, error)) from error

    async def _kept(
        self, request: Request, found: Shown, file: Path, made: Callable[[], bytes], *, media: str
    ) -> Response:
        """A picture that a browser may keep until the file it was made of changes."""
        facts = await self._read(found, partial(_stat, file))
        headers = {"etag": f'"{facts}"', "cache-control": _KEPT}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(await self._read(found, made), headers=headers, media_type=media)


def _stat(file: Path) -> str:
    with disk_errors(file, doing="read"):
        facts = file.stat()
    return f"{facts.st_mtime_ns:x}-{facts.st_size:x}"


def _jpeg_of(found: Shown, level: int, x: int, y: int) -> bytes:
    return thumbnail(found.picture(level, x, y), longest=2**16)[0]


def _png_of(found: Shown, name: str) -> bytes:
    return png_bytes(found.layer_picture(name))


def _line(found: Shown) -> tuple[Shown, dict[str, object], str]:
    """A slide with its facts, or the sentence that says why there are none."""
    try:
        return found, found.facts(), ""
    except EosinError as error:
        return found, {}, _plain(found, error)


def _plain(found: Shown, error: EosinError) -> str:
    """What an error says, without places of this machine."""
    said = str(error)
    for place in filter(None, (found.path, found.folder)):
        said = said.replace(str(place), found.name)
    return said


def _met(found: Shown, served: Served) -> bool:
    """Whether a Run was trained or validated on whom a slide shows, as ``predict_slide`` asks."""
    named = found.patient or patient_of(served.run, found.path)
    return bool(named and served.identity.met([named])) or served.met(found.path)


def _sent(found: Shown, look: Look) -> Sent:
    """A tile as an image that somebody sent; its patient is told by the slide's name."""
    return Sent("tile", Path(found.path.name), io.BytesIO(png_bytes(look.pixels)))


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")
