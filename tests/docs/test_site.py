"""The documentation is whole: no warning, nothing left out, nothing loaded from elsewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import eosin

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Pages of commands: what a reader copies.
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if path.name != "results.md"),
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does, its tutorials as text."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (extra docs)")
    pytest.importorskip("mkdocstrings_handlers.python", reason="no mkdocstrings (extra docs)")
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "EOSIN_DOCS_TUTORIALS": "text", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return out


def html(site: Path) -> dict[str, str]:
    return {
        path.relative_to(site).as_posix(): path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
    }


def test_every_page_is_built_without_a_warning_and_the_tutorials_are_among_them(site: Path) -> None:
    pages = html(site)
    sources = {path.stem for path in (DOCS / "tutorials").glob("*.py")}
    assert {Path(page).stem for page in pages if page.startswith("tutorials/")} == sources
    assert "security.html" in pages
    assert not list(site.rglob("*.py"))


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page, text in html(site).items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)", text)
        loaded += re.findall(
            r"<link(?![^>]*rel=\"(?:canonical|prev|next))[^>]*href=\"([^\"]+)", text
        )
        assert not [each for each in loaded if re.match(r"(https?:)?//", each)], page
    for style in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import\s)[\"']?((?:https?:)?//[^\"')]+)", style.read_text())
        assert not found, style.name


def test_every_verb_has_a_how_to_page_that_shows_it() -> None:
    import reference_pages

    for name, _ in reference_pages.verbs():
        paths = [
            DOCS / "how-to" / f"{each}.md" for each in (name.replace(" ", "-"), name.split()[0])
        ]
        found = [path for path in paths if path.is_file()]
        assert found, f"eosin {name} has no page under docs/how-to"
        text = found[0].read_text(encoding="utf-8")
        assert f"eosin {name}" in text
        assert "**What comes out.**" in text, found[0]
        assert "Pitfall" in text, found[0]


def test_every_extra_stands_in_the_table_of_parts() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    table = (DOCS / "install.md").read_text(encoding="utf-8").split("## Which parts")[1]
    assert set(extras) <= set(re.findall(r"`([a-z0-9]+)`", table))


def test_every_public_name_stands_in_the_reference_once(site: Path) -> None:
    import reference_pages

    listed = [name for page in reference_pages.API for name in reference_pages.names(page)]
    public = [name.rpartition(".")[2] for name in listed]
    assert len(set(public)) == len(public)
    assert set(eosin.__all__) - {"__version__"} <= set(public)
    built = "".join(text for page, text in html(site).items() if "/api/" in page)
    assert not [name for name in listed if f'id="{name}"' not in built]


def test_every_word_of_the_glossary_is_linked_where_it_is_first_used(site: Path) -> None:
    pages = html(site)
    glossary = pages["reference/glossary.html"]
    anchors = set(re.findall(r"<h2 id=\"([^\"]+)\"", glossary))
    linked = set[str]()
    for page, text in pages.items():
        found = re.findall(r'<a class="term" href="[^"#]*glossary\.html#([^"]+)"', text)
        assert len(found) == len(set(found)), page
        linked |= set(found)
    assert len(anchors) >= 30
    assert linked == anchors


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    import reference_pages

    commands = dict(reference_pages.verbs())
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"(?:^ *|^`|[ (]`)eosin ([a-z][^\n`#;&]*)", text, flags=re.MULTILINE)
    for line in lines:
        words = shlex.split(line.replace("'", '"') if line.count("'") % 2 else line)
        name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        if name not in commands:
            assert name in {each.split()[0] for each in commands}, f"{page.name}: eosin {line}"
            continue
        known = {
            each
            for option in commands[name].params
            for each in (*option.opts, *option.secondary_opts)
        }
        asked = {
            re.sub(r"=.*|[\]\[]", "", word) for word in words if re.match(r"\[?--?[a-z]", word)
        }
        assert asked <= known | {"--help", "-h"}, f"{page.name}: eosin {line}"


def test_links_between_pages_hold_in_the_repository_too() -> None:
    import reference_pages

    made_at_build = reference_pages.pages()
    for page in [*PAGES, DOCS / "results.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)", text):
            path = (page.parent / target).resolve()
            made = path.is_relative_to(DOCS) and path.relative_to(DOCS).as_posix() in made_at_build
            assert path.exists() or made, f"{page.name}: {target}"
