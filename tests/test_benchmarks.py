"""Benchmarks run seldom, so every name that they ask of eosin is looked up here."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


def imported_from_eosin(script: Path) -> list[tuple[str, str]]:
    """Each ``from eosin.module import name`` anywhere in a script, as (module, name)."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("eosin")
        for alias in node.names
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_name_that_a_benchmark_imports_from_eosin_is_there(script: str) -> None:
    missing = [
        f"{module}.{name}"
        for module, name in imported_from_eosin(FOLDER / script)
        if not hasattr(import_module(module), name)
    ]
    assert not missing
