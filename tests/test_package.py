"""What is handed out: one version, the same dependencies everywhere, files that pass the checks."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from eosin.version import __version__

ROOT = Path(__file__).resolve().parents[1]
# What conda calls otherwise, or brings along with another package.
CONDA = {"matplotlib": "matplotlib-base", "opencv-python-headless": "opencv", "pyvips-binary": None}


def wanted() -> dict[str, str]:
    """The base dependencies of pyproject.toml, and from which version."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        lines = tomllib.load(file)["project"]["dependencies"]
    return dict(line.split(">=") for line in lines)


def test_there_is_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    recipe = (ROOT / "packaging" / "conda" / "meta.yaml").read_text("utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert f'version = "{__version__}"' in recipe


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = (ROOT / "packaging" / "conda" / "meta.yaml").read_text("utf-8")
    part = recipe.split("  run:\n")[1].split("\n\n")[0]
    asked = dict(re.findall(r"- ([\w-]+) >=([\d.]+)", part))
    assert asked.pop("python") == "3.11"
    named = {CONDA.get(name, name): version for name, version in wanted().items()}
    named.pop(None)  # type: ignore[call-overload]
    assert asked == named


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = str(tmp_path_factory.mktemp("dist"))
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return Path(wheel), Path(sdist)


def test_wheel_and_sdist_pass_the_checks_of_the_index(built: tuple[Path, Path]) -> None:
    pytest.importorskip("twine", reason="needs twine")
    pytest.importorskip("check_wheel_contents", reason="needs check-wheel-contents")
    for command in (["twine", "check", "--strict", *built], ["check_wheel_contents", built[0]]):
        line = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_brings_types_templates_and_scripts_along(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as inside:
        held = {name for name in inside.namelist() if not name.endswith(".py")}
    assert "eosin/py.typed" in held
    for folder in ("reporting/templates", "server/templates", "server/static"):
        here = {
            f"eosin/{path.relative_to(ROOT / 'src' / 'eosin').as_posix()}"
            for path in (ROOT / "src" / "eosin" / folder).rglob("*")
            if path.is_file()
        }
        assert here
        assert here <= held


def test_the_sdist_can_be_built_and_tested_from(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as inside:
        held = {name.partition("/")[2] for name in inside.getnames()}
    assert {"pyproject.toml", "LICENSE", "CITATION.cff", "configs/frozen.toml"} <= held
    assert "tests/conftest.py" in held


def test_no_lock_names_a_registry() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert len(locks) >= 5
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|index-url", text), lock.name


def test_workflows_run_what_anybody_can_run() -> None:
    workflows = {path.name: path.read_text("utf-8") for path in (ROOT / ".github").rglob("*.yml")}
    assert ".ci/run" in workflows["checks.yml"]
    rules = (ROOT / "Makefile").read_text("utf-8")
    for name in re.findall(r"run: make ([\w-]+)", "\n".join(workflows.values())):
        assert f"\n{name}:" in rules, name
