"""Reference pages made from the code itself: the command line, the API and the metrics."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import typer

import eosin
from eosin.artefacts.glossary import GLOSSARY
from eosin.cli.app import app

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperOption

ROOT = Path(__file__).resolve().parents[1]
# A page of the API: its title, and the rooms whose public names stand on it.
API = {
    "data": ("Data", ("data", "pixels.reading", "artefacts.manifest", "protocol", "tasks")),
    "training": ("Training and Runs", ("training", "networks", "artefacts.preprocessing")),
    "predicting": ("Predicting", ("inference", "artefacts.predictions", "export", "spread")),
    "evaluation": (
        "Evaluation and comparison",
        (
            "evaluation",
            "artefacts.e",
            "artefacts.comparison",
            "artefacts.shared_ranks",
            "reporting.comp",
        ),
    ),
    "explanation": ("Explanation", ("explanation",)),
    "slides": ("Slides", ("slides", "reporting.slide")),
    "stain": ("Stain", ("pixels.stain",)),
    "studies": ("Studies", ("study",)),
    "reports": (
        "Reports",
        ("reporting.report", "reporting.gall", "artefacts.mistakes", "progress"),
    ),
    "errors": ("Errors", ("errors",)),
}
# Documented, though deeper than `import eosin`.
DEEPER = {
    "data": ("eosin.data.synthetic.mask_path",),
    "slides": ("eosin.slides.maps.read_map",),
}


def pages() -> dict[str, str]:
    """Every page by its place under docs/."""
    api = {f"reference/api/{name}.md": _api_page(name) for name in API}
    made = {"reference/command-line.md": _command_line(), "reference/metrics.md": _metrics()}
    return {**made, **api}


def names(page: str) -> list[str]:
    """The public names on one page of the API, each with the module that defines it."""
    rooms = tuple(f"eosin.{room}" for room in API[page][1])
    public = (f"{room}.{name}" for room, names in eosin._ROOMS.items() for name in names)
    return [*(each for each in public if each.startswith(rooms)), *DEEPER.get(page, ())]


def _api_page(page: str) -> str:
    listed = "\n".join(_shown(name) for name in names(page))
    return f"# {API[page][0]}\n\n{listed}"


def _shown(name: str) -> str:
    """What stands under a name: its docstring, and of settings that it does not list the fields."""
    short, asked = name.rpartition(".")[2], f"::: {name}\n"
    if not short.endswith(("Options", "Config", "Sources")):
        return asked
    settings = getattr(eosin, short)
    if "Attributes:" in (settings.__doc__ or ""):
        return asked
    after = inspect.getsource(settings).split('"""', 2)[2]
    fields = re.split(r"\n    (?:@|def |_|model_config)", after)[0]
    return f"{asked}\n```python\n{textwrap.dedent(fields).strip()}\n```\n"


def verbs() -> Iterator[tuple[str, TyperCommand]]:
    """Every verb as it is typed, without `eosin`, and its command."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {inner}", each) for inner, each in below.items())


def _command_line() -> str:
    opening = """# Command line

Every verb and every option, as this version has them. `eosin VERB --help` says the same in a
terminal. The verbs share their [exit codes](../exit-codes.md).
"""
    return opening + "".join(_verb(name, command) for name, command in verbs())


def _verb(name: str, command: TyperCommand) -> str:
    types = get_type_hints(command.callback)
    options = [each for each in command.params if "--help" not in each.opts]
    arguments = [each for each in options if each.param_type_name == "argument"]
    usage = " ".join(
        [f"eosin {name}", *(each.metavar or each.name for each in arguments), "[OPTIONS]"]
    )
    rows = "\n".join(_row(each, types.get(each.name)) for each in options)
    table = f"| | |\n| --- | --- |\n{rows}" if rows else "It takes no options."
    said = " ".join((command.help or "").split())
    group = ROOT / "docs" / "how-to" / f"{name.split()[0]}.md"
    page = group.stem if group.is_file() else name.replace(" ", "-")
    return (
        f"\n## eosin {name}\n\n{said}\n\n```text\n{usage}\n```\n\n"
        f'<div class="options" markdown>\n\n{table}\n\n</div>\n\n'
        f"[How to use it](../how-to/{page}.md)\n"
    )


def _row(option: TyperOption, of: object) -> str:
    """A row of the table of options: how it is typed, what it means, what holds without it."""
    argument = option.param_type_name == "argument"
    names = [option.metavar or option.name] if argument else [*option.opts, *option.secondary_opts]
    value = "" if argument or of is bool else f" {option.metavar or _value(of)}"
    typed = ", ".join(f"`{each}`" for each in names)[:-1] + f"{value}`"
    meaning = [(option.help or "").replace("<", "&lt;")]
    default = getattr(option.default, "value", option.default)
    if option.required:
        meaning.append("**Needed.**")
    elif (
        default not in (None, (), [], "")
        and not isinstance(default, bool)
        and not callable(default)
    ):
        meaning.append(f"Without it: `{default}`.")
    typed = typed.replace(" | ", " or ").replace("|", "/")  # in code, a table takes no bar
    said = " ".join(meaning).strip().replace("|", "\\|")
    return f"| {typed} | {said} |"


def _value(of: object) -> str:
    """What is typed after an option: the words to choose from, or the kind of value."""
    kinds = [each for each in (*get_args(of), of) if isinstance(each, type)]
    for kind in kinds:
        if issubclass(kind, Enum):
            return "/".join(str(each.value) for each in kind)
    words = {int: "N", float: "X", Path: "PATH"}
    return next((words[kind] for kind in kinds if kind in words), "TEXT")


def _metrics() -> str:
    rows = "".join(
        f"| {each.title} (`{key}`) | {each.sentence} | {each.better} |"
        f" {'' if each.chance is None else each.chance} | {each.rule} |\n"
        for key, each in GLOSSARY.items()
    )
    return f"""# Metrics

Every figure has a 95 % interval that resamples patients, and its n. *Chance* is what a classifier
that knows nothing gets, where that is one number. *Rule* says how the class was chosen.

| metric | what it measures | better | chance | rule |
| --- | --- | --- | --- | --- |
{rows}"""
