"""Every way in which one field of a JSON artefact can be damaged."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WRITTEN = Path(__file__).parent / "written_by_0_1_0"

OTHERS = (
    None,
    "",
    "0.4",
    "p1,p2",
    "\0",
    -5,
    0,
    1,
    1e308,
    10**30,
    True,
    False,
    [],
    ["x"],
    {},
    {"x": 1},
)


@dataclass(frozen=True)
class Mutation:
    """One damaged artefact: where, how, and its text."""

    field: str
    change: str
    text: str


def mutations(fields: dict[str, Any]) -> Iterator[Mutation]:
    """Each field removed, of another value, another type, another range, doubled or joined."""
    for path in _paths(fields):
        name = ".".join(map(str, path))
        if not isinstance(path[-1], int):
            yield Mutation(name, "removed", json.dumps(_changed(fields, path, remove=True)))
            yield Mutation(name, "doubled", _doubled(fields, path))
            yield Mutation(name, "unknown beside", json.dumps(_beside(fields, path)))
        for other in OTHERS:
            if not _same(_at(fields, path), other):
                changed = json.dumps(_changed(fields, path, value=other))
                yield Mutation(name, f"{other!r}"[:20], changed)
        for word in ("NaN", "Infinity"):
            text = json.dumps(_changed(fields, path, value="@@"))
            yield Mutation(name, word, text.replace('"@@"', word))


def _paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, inside in items:
        yield (*before, key)
        if isinstance(inside, dict | list):
            yield from _paths(inside, (*before, key))


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _changed(
    fields: dict[str, Any], path: tuple[str | int, ...], *, value: Any = None, remove: bool = False
) -> dict[str, Any]:
    whole = copy.deepcopy(fields)
    home = _at(whole, path[:-1])
    if remove:
        del home[path[-1]]
    else:
        home[path[-1]] = value
    return whole


def _beside(fields: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    whole = copy.deepcopy(fields)
    _at(whole, path[:-1])[f"{path[-1]}s"] = _at(fields, path)
    return whole


def _doubled(fields: dict[str, Any], path: tuple[str | int, ...]) -> str:
    """The same key twice in one object, the second time with nothing in it."""
    text = json.dumps(_changed(fields, path, value="@@"))
    key, value = json.dumps(path[-1]), json.dumps(_at(fields, path))
    return text.replace(f'{key}: "@@"', f"{key}: {value}, {key}: null")


@pytest.fixture(scope="session")
def every_mutation() -> Callable[[dict[str, Any]], list[Mutation]]:
    """All mutations of an artefact's fields."""
    return lambda fields: list(mutations(fields))


@pytest.fixture
def old_runs(tmp_path: Path) -> Path:
    """A copy of the Runs that eosin 0.1.0 wrote."""
    return Path(shutil.copytree(WRITTEN / "runs", tmp_path / "runs"))
