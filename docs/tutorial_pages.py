"""Tutorials: Python files with text (jupytext's percent format), run and shown with outputs.

A tutorial that has been run is kept under build/tutorials, under a name that changes with its text
and with eosin's code, so a second build runs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "tutorials"
_SECONDS = 600
# A kernel starts without the colours and bars that only a terminal shows.
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def sources() -> list[Path]:
    """The files of the tutorials, in order of their names."""
    return sorted((ROOT / "docs" / "tutorials").glob("*.py"))


def run(source: Path) -> NotebookNode:
    """Run a tutorial in an empty folder and keep it; CellExecutionError where a cell fails."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as folder:
        # Sockets in a folder of its own: nobody else on the machine can talk to the kernel.
        kernel = AsyncKernelManager(transport="ipc", ip=str(Path(folder, ".kernel")))
        NotebookClient(
            notebook, km=kernel, timeout=_SECONDS, resources={"metadata": {"path": folder}}
        ).execute()
        shown = nbformat.writes(notebook).replace(f"{folder}/", "")  # paths as the reader has them
        notebook = nbformat.reads(shown, as_version=4)
    KEPT.mkdir(parents=True, exist_ok=True)
    for earlier in KEPT.glob(f"{source.stem}-*.ipynb"):
        earlier.unlink(missing_ok=True)
    nbformat.write(notebook, _kept(source))
    return notebook


def page(source: Path, *, run: bool) -> str:
    """The Markdown of a tutorial: its text, its code and, where it was run, what that shows."""
    kept = _kept(source)
    if not run:
        notebook = jupytext.read(source)
    elif kept.is_file():
        notebook = nbformat.read(kept, as_version=4)
    else:
        notebook = globals()["run"](source)
    name = f"docs/tutorials/{source.name}"
    parts = [part for cell in notebook.cells for part in _cell(cell)]
    return "\n\n".join(
        [*parts, f"*This page is `{name}`: run it cell by cell, or open it as a notebook.*"]
    )


def _kept(source: Path) -> Path:
    digest = hashlib.sha256()
    for path in [source, *sorted((ROOT / "src").rglob("*.py"))]:
        digest.update(path.read_bytes())
    return KEPT / f"{source.stem}-{digest.hexdigest()[:16]}.ipynb"


def _cell(cell: NotebookNode) -> list[str]:
    if cell.cell_type == "markdown":
        return [cell.source]
    outputs = cell.get("outputs", [])
    if any("image/png" in each.get("data", {}) for each in outputs):  # axes are seen, not named
        outputs = [each for each in outputs if set(each.get("data", {})) != {"text/plain"}]
    shown = [_output(each) for each in outputs]
    return [f"```python\n{cell.source}\n```", *(each for each in shown if each)]


def _output(output: NotebookNode) -> str:
    """One output as HTML: a picture, a table or text; nothing for the bars of a terminal."""
    if output.output_type == "stream":
        text = _COLOUR.sub("", output.text).strip()
        return _box(_text(text)) if text and output.name == "stdout" else ""
    data = output.get("data", {})
    if "image/png" in data:
        picture = data["image/png"].strip().replace("\n", "")
        base64.b64decode(picture, validate=True)
        return f'<p><img alt="what the cell above draws" src="data:image/png;base64,{picture}"></p>'
    if "text/html" in data:
        return _box(re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL))
    return _box(_text(data["text/plain"])) if "text/plain" in data else ""


def _box(html: str) -> str:
    """Raw HTML for Markdown: one block, so without an empty line."""
    return '<div class="output">' + re.sub(r"\n\s*\n", "\n", html) + "</div>"


def _text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<pre>{re.sub(chr(10) + '(?=' + chr(10) + ')', chr(10) + '&nbsp;', escaped)}</pre>"


if __name__ == "__main__":
    for wanted in map(Path, sys.argv[1:]):
        run(wanted)
