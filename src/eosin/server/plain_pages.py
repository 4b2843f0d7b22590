"""Pages without script or style: which Runs are served, the endpoints, and the form for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.server.served import Served

_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title></head><body><main><h1>{{ title }}</h1>
%s
</main></body></html>
"""
_START = """<p>Classification of breast-histopathology images; not for diagnosis.</p>
<h2>Runs that are served</h2>
<ul>{% for each in runs %}<li><strong>{{ each.name }}</strong>: {{ each.run.record.backbone }},
{{ each.run.record.task.classes | join(", ") }}; {{ each.run.record.protocol.name }}</li>
{% endfor %}</ul>
<p><a href="/docs">Endpoints</a></p>"""
_ENDPOINTS = """<p><a href="/openapi.json">openapi.json</a>: the same for programs.</p>
{% for path, verbs in paths.items() %}{% for verb, each in verbs.items() %}
<h2><code>{{ verb | upper }} {{ path }}</code></h2>
<p>{{ each.description or each.summary }}</p>
{% if each.parameters %}<ul>{% for one in each.parameters %}
<li><code>{{ one.name }}</code> ({{ one.in }}): {{ one.description or one.schema.title }}</li>
{% endfor %}</ul>{% endif %}
{% if each.requestBody %}<p>Form (multipart/form-data), field <code>images</code>.</p>{% endif %}
<ul>{% for code, one in each.responses.items() %}<li>{{ code }}: {{ one.description }}</li>
{% endfor %}</ul>{% endfor %}{% endfor %}"""
_LOGIN = """{% if wrong %}<p role="alert">This is not the token.</p>{% endif %}
<form method="post" action="/login"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form>"""
_PAGES = Environment(autoescape=True)


def start_page(runs: Sequence[Served]) -> str:
    """Which Runs are served."""
    return _page(_START, "eosin", runs=runs)


def endpoints_page(schema: Mapping[str, Any]) -> str:
    """Every endpoint of an OpenAPI schema."""
    return _page(_ENDPOINTS, "eosin: endpoints", paths=schema["paths"])


def login_page(*, wrong: bool = False) -> str:
    """The form for a token."""
    return _page(_LOGIN, "eosin: log in", wrong=wrong)


def _page(template: str, title: str, **facts: object) -> str:
    return _PAGES.from_string(_FRAME % template).render(title=title, **facts)
