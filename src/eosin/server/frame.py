"""The frame of every page: its template, its tabs, its look."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from fastapi.responses import HTMLResponse

from eosin.reporting.html import environment
from eosin.trust.summary import FLAG_WORDS
from eosin.version import __version__

if TYPE_CHECKING:
    from fastapi import Request
    from jinja2 import Environment

TABS: Final = {"Try": "/", "Slides": "/slides", "Worklist": "/worklist", "Models": "/models"}


def show(request: Request, template: str, *, status: int = 200, **facts: object) -> HTMLResponse:
    """The page of ``templates/<template>``, every fact escaped, with the tabs that there are.

    ``request.app.state.tabs`` holds their names: whoever registers a page adds its own.

    Args:
        request: whose path marks the tab that is open.
        template: extends ``frame.html``.
        status: of the answer.
        facts: what the template names; a missing one raises ``jinja2.UndefinedError``.
    """
    tabs = [(name, path) for name, path in TABS.items() if name in request.app.state.tabs]
    path = request.url.path
    page = _environment().get_template(template)
    own = {"tabs": tabs, "here": path, "version": __version__, "flags": FLAG_WORDS}
    return HTMLResponse(page.render(own | facts), status)


@cache
def _environment() -> Environment:
    from jinja2 import ChoiceLoader, PackageLoader

    rooms = ("eosin.server", "eosin.reporting")
    return environment(ChoiceLoader([PackageLoader(room) for room in rooms]))
