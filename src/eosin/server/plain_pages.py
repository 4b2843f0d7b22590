"""Pages without script or style: which Runs are served, the endpoints, and the form for a token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment

from eosin.server.guard import COOKIE, same, session_of

if TYPE_CHECKING:
    from eosin.server.service import Service

_WRONG_TOKEN_SECONDS = 0.5
_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{{ title }}</h1>%s</main></body></html>"""
_START = """<p>Classification of breast-histopathology images; not for diagnosis.</p>
<h2>Runs that are served</h2><ul>{% for each in runs %}<li><strong>{{ each.name }}</strong>:
{{ each.run.record.backbone }}, {{ each.run.record.task.classes | join(", ") }};
{{ each.run.record.protocol.name }}</li>{% endfor %}</ul><p><a href="/docs">Endpoints</a></p>"""
_ENDPOINTS = """<p><a href="/openapi.json">openapi.json</a> says the same to programs.</p>
{% for path, verbs in paths.items() %}{% for verb, each in verbs.items() %}
<h2><code>{{ verb | upper }} {{ path }}</code></h2><p>{{ each.description }}</p>
<ul>{% for one in each.parameters or () %}<li><code>{{ one.name }}</code>:
{{ one.description }}</li>{% endfor %}{% for code, one in each.responses.items() %}
<li>{{ code }}: {{ one.description }}</li>{% endfor %}</ul>{% endfor %}{% endfor %}"""
_LOGIN = """{% if wrong %}<p role="alert">This is not the token.</p>{% endif %}
<form method="post"><label for="token">Token</label> <input id="token" name="token"
type="password" autocomplete="current-password" required> <button>Log in</button></form>"""
_PAGES = Environment(autoescape=True)


def register(app: FastAPI) -> None:
    """Add the pages; those that others registered before stand."""
    service: Service = app.state.service
    token = service.options.token

    @app.get("/", include_in_schema=False)
    async def start() -> HTMLResponse:
        return _page(_START, "eosin", runs=service.runs)

    @app.get("/docs", include_in_schema=False)
    async def endpoints() -> HTMLResponse:
        return _page(_ENDPOINTS, "eosin: endpoints", paths=app.openapi()["paths"])

    @app.get("/login", include_in_schema=False)
    async def login() -> HTMLResponse:
        return _page(_LOGIN, "eosin: log in")

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=1, max_part_size=4096) as form:
            given = str(form.get("token", "")).strip()
        if token is not None and not same(given, token):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            return _page(_LOGIN, "eosin: log in", status=401, wrong=True)
        answer = RedirectResponse("/", 303)
        if token is not None:
            https = request.url.scheme == "https"
            session = session_of(token)
            answer.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=https)
        return answer


def _page(template: str, title: str, *, status: int = 200, **facts: object) -> HTMLResponse:
    return HTMLResponse(_PAGES.from_string(_FRAME % template).render(title=title, **facts), status)
