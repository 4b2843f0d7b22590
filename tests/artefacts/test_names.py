"""Names of files: valid text of any bytes, and patterns that no name can hold up."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pandas as pd
import pytest

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.artefacts.names import PatientPattern
from eosin.artefacts.run import read_record
from eosin.errors import ConfigError, ModelError
from eosin.files import valid_text
from eosin.tasks import Task

RUNS = Path(__file__).parent / "written_by_0_1_0" / "runs"
NAMES = (
    "8863_idx5_x1001_y951_class0.png",
    "TCGA-A1-A0SB-01Z_3.tif",
    "Müller_1.png",
    "Zoë 12 a.tif",
    "患者12_3.png",
    "a]b[1]_2.JPG",
    "AB12_1.png",
    "٣٤_1.png",
)


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"^(\d+)_", r"(?P<p>x)", r"^(\w+)_", r"(\w+)_", r"^([^_]+)_", r"^(TCGA-\w\w-\w{4})"),
        *(r"^([]a-b]+)", r"([^]]+)_", r"^([A-Z]{,3}\d+)_", r"(\S+)\s(\d+)", r"^([\w-]+?)\.\w+\Z"),
        *(r"(?i)(müller)", r"(\D+)(\d)", r"([\d\s]+)", r"^(?:p-)?(\d+)", r"(\W)", r"\_(\d)"),
    ],
)
def test_ordinary_patterns_find_what_python_finds(pattern: str) -> None:
    for name in NAMES:
        match = re.search(pattern, name)
        wanted = (match[1], match.end(1)) if match and match[1] else None
        assert PatientPattern(pattern).search(name) == wanted, name


@pytest.mark.parametrize("pattern", [r"^((.+)+)+Z", r"^(.*?,){20}P", r"^(a|aa)+$"])
def test_a_pattern_made_to_hang_answers_at_once(pattern: str) -> None:
    begun = time.perf_counter()
    assert PatientPattern(pattern).search("a," * 100) is None
    assert time.perf_counter() - begun < 1.0


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"^(\d+_", r"is no regular expression .*missing \)"),
        (r"^\d+_", "has no group"),
        (r"(\d+)(?=_)", r"is no regular expression .*\(\?=.*look-around"),
        (r"(?<!x)(\d+)", r"is no regular expression .*look-around"),
        (r"(\d)\1", r"is no regular expression .*back-references"),
        ("(caf\udce9)", "is no regular expression"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_named_with_the_reason(
    pattern: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        PatientPattern(pattern)
    assert repr(pattern) in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the engine itself keeps quiet


def test_a_manifest_does_not_take_a_pattern_that_cannot_be_used() -> None:
    frame = pd.DataFrame([dict.fromkeys(COLUMNS, "") | {"path": "/x/a.png"}])
    with pytest.raises(ConfigError, match="has no group"):
        Manifest(frame, Task("t", ("0", "1")), "x", patient_pattern="x")


def test_a_run_does_not_take_a_pattern_that_cannot_be_used(tmp_path: Path) -> None:
    fields = json.loads((RUNS / "trained" / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**fields, "patient_pattern": r"(\d+)(?=_)"}))
    with pytest.raises(ModelError, match=r"run\.json: patient pattern .*\(\?=_\).* look-around"):
        read_record(tmp_path / "run.json")
    (tmp_path / "run.json").write_text(json.dumps({**fields, "patient_pattern": r"^(\d+)_"}))
    assert read_record(tmp_path / "run.json").patient_pattern == r"^(\d+)_"


def test_stray_bytes_of_a_name_become_escapes_and_valid_names_stay() -> None:
    assert valid_text(os.fsdecode(b"caf\xe9 1.png")) == r"caf\xe9 1.png"
    assert valid_text("Müller 患者.png") == "Müller 患者.png"


def test_a_pattern_is_applied_to_the_valid_text_of_a_name() -> None:
    name = os.fsdecode(b"caf\xe9_12_3.png")
    assert PatientPattern(r"_(\d+)_").search(name) == ("12", 10)
    assert PatientPattern(r"^([^_]+)_").search(name) == (r"caf\xe9", 7)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        (r"^([^]_]+)_", "a]b_1.png", None),  # the first ] after ^ belongs to the class
        (r"^([^]\w]+)", "-.]1.png", ("-.", 2)),
        (r"^([]\d]+)", "]٣4_1.png", ("]٣4", 3)),
        (r"^(\d*)_", "_1.png", None),  # nobody is called nothing
        (r"(?:(\d+)_)?x", "x.png", None),
        (r"([\[\]]\d)", "a[1]2.png", ("[1", 3)),
    ],
)
def test_brackets_in_a_class_and_groups_that_find_nothing(
    pattern: str, name: str, found: tuple[str, int] | None
) -> None:
    assert PatientPattern(pattern).search(name) == found
