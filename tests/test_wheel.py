"""What is installed: the settings come along in the wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_brings_every_settings_file_along(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as inside:
        held = {Path(name).name for name in inside.namelist() if name.startswith("eosin/configs/")}
    assert held == {path.name for path in (ROOT / "configs").glob("*.toml")}
    assert "frozen.toml" in held


def test_the_wheel_brings_the_migrations_of_the_record_along(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    folder = ROOT / "src" / "eosin" / "server" / "migrations"
    with zipfile.ZipFile(wheel) as inside:
        held = {name for name in inside.namelist() if name.startswith("eosin/server/migrations/")}
    here = {f"eosin/{path.relative_to(ROOT / 'src' / 'eosin')}" for path in folder.rglob("*.py")}
    assert held == here
    assert "eosin/server/migrations/env.py" in held
    assert len(held) > 1
