"""The page on deployment tells the truth: ten lines, whose commands and options exist."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from eosin.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
OPENING = PAGE.split("\n## ", 1)[0]


def test_the_way_to_a_machine_without_pytorch_is_at_most_ten_lines() -> None:
    lines = re.findall(r"^    (.+)$", OPENING, flags=re.MULTILINE)
    assert 8 <= len(lines) <= 10
    for verb in ("export", "predict", "explain", "evaluate", "report"):
        assert any(re.search(rf"\beosin {verb} ", line) for line in lines), verb


def test_every_option_on_the_page_is_one_of_its_command() -> None:
    commands = re.findall(r"\beosin ([a-z]+)([^\n`]* -[^\n`]*)", PAGE)
    assert len(commands) >= 6
    for verb, words in commands:
        help_page = CliRunner().invoke(app, [verb, "--help"], terminal_width=200).output
        for option in re.findall(r"(?<= )--?[a-z][a-z0-9-]*", words):
            assert option in help_page, f"eosin {verb} has no {option}"


def test_the_locks_on_the_page_are_in_the_checkout_and_hold_no_pytorch() -> None:
    locks = set(re.findall(r"requirements-[a-z]+\.lock", PAGE))
    assert locks == {"requirements-onnx.lock", "requirements-openvino.lock"}
    for name in locks:
        packages = re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text(), flags=re.MULTILINE)
        engine = name.removeprefix("requirements-").removesuffix(".lock")
        assert {"onnx": "onnxruntime"}.get(engine, engine) in packages
        assert not {"torch", "torchvision", "timm", "scikit-learn"} & set(packages)
