"""From a template and its facts to one self-contained page, images within it included."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import BaseLoader, Environment
    from markupsafe import Markup


def render(template: str, facts: Mapping[str, object]) -> str:
    """The page of ``templates/<template>``: everything inlined, every fact escaped.

    A fact that the template names and that is missing raises ``jinja2.UndefinedError``.
    """
    style = files("eosin.reporting").joinpath("templates", "style.css").read_text("utf-8")
    page = _environment().get_template(template)
    return page.render(version=__version__, style=style, **facts)


def css_text(text: str) -> Markup:
    """A quoted CSS string in which every character but letters, digits and spaces is escaped."""
    from markupsafe import Markup

    plain = (c if c.isalnum() or c == " " else f"\\{ord(c):x} " for c in text)
    return Markup('"' + "".join(plain) + '"')


def data_url(kind: str, data: bytes) -> str:
    """The address that holds an image itself; ``kind`` is png or jpeg."""
    return f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"


def environment(loader: BaseLoader) -> Environment:
    """What pages are rendered with: every fact escaped, a missing one raises."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters["css_text"] = css_text
    return page


@cache
def _environment() -> Environment:
    from jinja2 import FunctionLoader

    return environment(FunctionLoader(_source))


def _source(name: str) -> str:
    return files("eosin.reporting").joinpath("templates", name).read_text("utf-8")
