"""The Worklist: its page, the image of a case, and the model's map of it."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from eosin.errors import EosinError
from eosin.pixels.reading import image_in_turn
from eosin.pixels.writing import png_bytes
from eosin.remote import as_path
from eosin.reporting.overlay import at_reading_size
from eosin.reporting.wording import counted
from eosin.server.frame import show
from eosin.server.record import Listing
from eosin.server.review import AskedReader, CaseId, as_answers, case_of
from eosin.server.uploads import SEEN, Sent
from eosin.slides.tile import file_of

if TYPE_CHECKING:
    from eosin.server.record import Record
    from eosin.server.service import Service
    from eosin.server.worklist import Case, Worklist

_HIDDEN = "the model's answer is hidden until you have answered this case"


def register(app: FastAPI) -> None:
    """Add the page to a server that has the review."""
    if not hasattr(app.state, "record"):
        return
    service: Service = app.state.service
    worklist: Worklist = app.state.worklist
    record: Record = app.state.record
    served = next(each for each in service.runs if each.run.sha256 == worklist.run)
    app.state.tabs.add("Worklist")

    @app.get("/worklist", include_in_schema=False)
    async def page(request: Request) -> Response:
        classes, count = worklist.manifest.task.classes, counted(len(worklist.cases), "image")
        return show(request, "worklist.html", classes=classes, run=served.name, count=count)

    @app.get("/review/api/cases/{case}/image", tags=["review"], response_class=Response)
    def image(case: CaseId) -> Response:
        """The image as a PNG of reading size; the header ``image-sides`` has its true ones."""
        data, sides = _png(case_of(worklist, case))
        return Response(data, media_type="image/png", headers={"image-sides": sides})

    @app.get("/review/api/cases/{case}/heatmap", tags=["review"])
    async def heatmap(case: CaseId, reader: AskedReader) -> Response:
        """Where the Run found its evidence, as ``/explain`` tells it; checked unless it is a graph.

        403 where a blind reader has not answered; whoever sees it is not blind afterwards.
        """
        service.require_ready()
        found = case_of(worklist, case)
        if not service.options.allow_seen and served.identity.met([found.patient]):
            raise HTTPException(422, SEEN)
        await asyncio.to_thread(_reveal, record, Listing(reader, "direct", run=worklist.run), case)
        data, _ = await asyncio.to_thread(_png, found, whole=True)
        sent = Sent("image", Path(found.path), BytesIO(data))
        try:
            said = await service.explain(
                sent, served, target=found.decision, score=not served.run.exported
            )
        except EosinError as error:
            raise HTTPException(422, served.plain(error)) from None
        return JSONResponse(said)


def _reveal(record: Record, listing: Listing, case: str) -> None:
    """Note that a reader sees what the model says; 403 where it is still hidden from them."""
    with as_answers():
        if record.hides(listing.reader, case):
            raise HTTPException(403, _HIDDEN)
        record.offered(listing, [case])


def _png(case: Case, *, whole: bool = False) -> tuple[bytes, str]:
    """The image of a case as a PNG, of reading size or whole, and its width and height.

    422 with a sentence, which names no path, where it cannot be read.
    """
    path = as_path(case.path)
    try:
        with image_in_turn(path) as pixels:
            sides = f"{pixels.shape[1]} {pixels.shape[0]}"
            return png_bytes(pixels if whole else at_reading_size(pixels)), sides
    except EosinError as error:
        file = str(file_of(path))
        said = str(error).removeprefix(f"{file}: ").replace(file, "its file")
        raise HTTPException(422, f"the image of this case {said}") from None
