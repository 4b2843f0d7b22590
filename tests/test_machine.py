"""What this program runs on: cores, threads and folders as the environment says."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from eosin import machine
from eosin.errors import ConfigError
from eosin.machine import (
    available_cores,
    cache_folder,
    computing_threads,
    cpu_model,
    engine_versions,
    installed_versions,
    launched,
    reading_threads,
    software_versions,
)
from eosin.version import __version__


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that nobody launched beside others."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_cores_are_those_that_this_process_may_use_and_not_all_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert available_cores() == 3


@pytest.mark.parametrize(("told", "cores"), [(8, 8), (None, 1)])
def test_a_system_without_affinity_counts_all_its_cores_and_at_least_one(
    told: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert available_cores() == cores


@pytest.mark.parametrize("said", ["many", "-2", "1.5", " ", "²", "0,4"])
def test_a_number_of_threads_that_is_none_means_one_a_core(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(machine, "available_cores", lambda: 6)
    assert computing_threads() == 6


@pytest.mark.parametrize(
    ("processes", "threads"), [("", 8), ("1", 8), ("2", 4), ("3", 2), ("8", 1), ("9", 1), ("0", 8)]
)
def test_the_processes_of_one_machine_share_its_cores_for_reading(
    processes: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert reading_threads() == threads


def test_threads_that_were_asked_for_are_taken_whatever_the_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "four")
    assert reading_threads(1) == 1
    assert reading_threads(0) == 0
    with pytest.raises(ConfigError, match="LOCAL_WORLD_SIZE = 'four': want a number, as torchrun"):
        reading_threads()


@pytest.mark.parametrize(
    ("rank", "size", "found"),
    [
        (None, None, (0, 1)),
        ("", "", (0, 1)),
        ("0", "1", (0, 1)),
        ("2", "3", (2, 3)),
        ("0", None, (0, 1)),
        (None, "4", (0, 4)),
    ],
)
def test_a_process_knows_its_number_among_those_that_were_launched(
    rank: str | None, size: str | None, found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert launched() == found


@pytest.mark.parametrize(
    ("rank", "size", "said"),
    [
        ("4", "4", r"RANK = 4 of WORLD_SIZE = 4 processes: start them by torchrun"),
        ("1", "", r"RANK = 1 of WORLD_SIZE = 1 processes"),
        ("-1", "2", r"RANK = '-1': want a number"),
        ("first", "2", r"RANK = 'first': want a number"),
        ("²", "3", r"RANK = '²': want a number"),
        ("0", "1e3", r"WORLD_SIZE = '1e3': want a number"),
    ],
)
def test_a_number_of_a_process_that_cannot_be_is_named_with_its_variable(
    rank: str, size: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(ConfigError, match=said):
        launched()


def test_the_cache_lies_where_the_first_of_three_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EOSIN_CACHE", "")
    assert cache_folder() == tmp_path / "home" / ".cache" / "eosin"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "eosin"
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"  # itself, not a folder in it
    assert not list(tmp_path.iterdir())  # asking makes nothing


def test_a_user_without_a_home_has_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("EOSIN_CACHE", "")
    monkeypatch.setattr(Path, "home", homeless)
    assert not cache_folder().parent.is_dir()
    with pytest.raises(OSError):
        cache_folder().mkdir(parents=True)


def test_versions_are_those_that_are_installed_in_the_order_asked() -> None:
    asked = ("pydantic", "no-such-package-of-eosin", "numpy")
    assert installed_versions(asked) == {
        "pydantic": version("pydantic"),
        "numpy": version("numpy"),
    }
    assert list(installed_versions(reversed(asked))) == ["numpy", "pydantic"]
    assert installed_versions(()) == {}


def test_the_versions_that_numbers_depend_on_begin_with_eosin_and_python() -> None:
    found = software_versions()
    assert list(found)[:2] == ["eosin", "python"]
    assert (found["eosin"], found["python"]) == (__version__, platform.python_version())
    assert found["numpy"] == version("numpy")
    assert {"torch", "timm", "onnxruntime", "openvino"} >= set(engine_versions())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Xeon(R) Gold 6338 @ 2.0 GHz\nflags: a\n", "Xeon(R) Gold"),
        ("model name: first\nmodel name: second\n", "first"),
        ("model name : AMD: 7 \xff\n", "AMD: 7"),
    ],
)
def test_the_processor_is_called_as_it_calls_itself_first(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(machine, "_CPU_INFO", told)
    assert cpu_model().startswith(name)
    assert cpu_model() == cpu_model().strip()


def test_a_processor_that_does_not_say_its_name_is_called_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("Hardware : board\n")
    monkeypatch.setattr(platform, "processor", lambda: "")
    for place in ("cpuinfo", "none"):
        monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / place)
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        assert cpu_model() == "aarch64"
        monkeypatch.setattr(platform, "machine", lambda: "")
        assert cpu_model() == "unknown processor"
