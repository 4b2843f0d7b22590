"""Hooks of mkdocs: pages made from code and tutorials, links, words of the glossary."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import reference_pages
import tutorial_pages
from markdown.extensions.toc import slugify
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

LOG = logging.getLogger("mkdocs.hooks.eosin")
ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = "reference/glossary.md"
# Pages that lie at the root of the repository, where its readers look for them.
ROOT_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
_TERM = re.compile(r"^## (.+?)\s*$", re.MULTILINE)
_SILENT = re.compile("a|code|h[1-4]|pre|script|style|summary|svg")  # no word is linked in these


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, of the command line, of the API and of the tutorials."""
    for name, uri in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=text))
    for uri, text in reference_pages.pages().items():
        files.append(File.generated(config, uri, content=text))
    for source in tutorial_pages.sources():
        text = tutorial_pages.page(source, run=config.extra["tutorials"] == "run")
        files.append(File.generated(config, f"tutorials/{source.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links that hold in the repository hold here too; a file that is no page becomes its name."""
    here = page.file.src_uri
    original = {uri: name for name, uri in ROOT_PAGES.items()}.get(here, f"docs/{here}")

    def placed(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(original), target))
        if path.startswith("docs/") or path in ROOT_PAGES:
            uri = ROOT_PAGES.get(path, path.removeprefix("docs/"))
            uri = f"{uri[:-3]}.md" if uri.startswith("tutorials/") else uri
            return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(here) or '.')}{anchor})"
        if not (ROOT / path).exists():
            LOG.warning("%s links %s, which is not in the repository", original, target)
        plain = text.strip("`")
        return f"`{path}`" if plain in path else f"{text} (`{path}`)"

    return _LINK.sub(placed, markdown)


def terms() -> dict[str, str]:
    """Every word of the glossary and its anchor."""
    text = (ROOT / "docs" / GLOSSARY).read_text(encoding="utf-8")
    return {word: slugify(word, "-") for word in _TERM.findall(text)}


def on_page_content(html: str, page: Page, **_: object) -> str:
    """The first use of each word of the glossary on a page links to where it is defined.

    A page on which a word means something else says so at its top: ``other_sense: [fold]``.
    """
    here = page.file.src_uri
    if here.startswith("reference/") or here == "changelog.md":
        return re.sub(r":\w+:(?=<code>)", "", html)  # roles of docstrings
    target = posixpath.relpath(GLOSSARY, posixpath.dirname(here) or ".").replace(".md", ".html")
    waiting = {
        word: (re.compile(rf"\b{_either_case(word)}(?:s|es)?\b"), f"{target}#{anchor}")
        for word, anchor in sorted(terms().items(), key=lambda each: -len(each[0]))
        if word not in page.meta.get("other_sense", ())
    }
    parts, within = re.split(r"(<[^>]+>)", html), []
    for index, part in enumerate(parts):
        tag = re.match(r"<(/?)(\w+)", part)
        output = tag and tag[2] == "div" and (within or 'class="output"' in part)
        if tag and (output or _SILENT.fullmatch(tag[2])):
            within = [*within, tag[2]] if not tag[1] else within[:-1]
        elif not tag and not within and part.strip():
            parts[index] = _linked(part, waiting)
    return "".join(parts)


def _either_case(word: str) -> str:
    """A common word also at the start of a sentence; a name such as Run only as it is."""
    first = word[0]
    return re.escape(word) if first.isupper() else f"[{first}{first.upper()}]{re.escape(word[1:])}"


def _linked(text: str, waiting: dict[str, tuple[re.Pattern[str], str]]) -> str:
    """``text`` with the first use of each word that still waits as a link; those are taken out."""
    found: list[tuple[int, int, str]] = []
    for word, (pattern, target) in list(waiting.items()):
        for use in pattern.finditer(text):
            if all(use.end() <= start or end <= use.start() for start, end, _ in found):
                found.append((use.start(), use.end(), target))
                del waiting[word]
                break
    for start, end, target in sorted(found, reverse=True):
        text = f'{text[:start]}<a class="term" href="{target}">{text[start:end]}</a>{text[end:]}'
    return text
