"""Tables on disk: companions of their own, any text there and back, cells that are never run."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eosin.artefacts.codec import read_artefact, with_changes, write_artefact
from eosin.artefacts.looks import as_html
from eosin.artefacts.manifest import Manifest, ManifestSidecar, read_manifest
from eosin.artefacts.predictions import Provenance, make_predictions, read_predictions
from eosin.artefacts.tables import ERRORS, SIDECAR, companion, write_csv
from eosin.errors import DataError
from eosin.pixels.reading import SkippedFile, error_table_path, write_error_table
from eosin.protocol import Protocol
from eosin.tasks import Task

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("'=+-@\t\r\n \",;\x00a0≠＝")
# The name of a file is any bytes but two; those that are not UTF-8 are read as lone surrogates.
NAMES = (
    st.lists(st.sampled_from(b"'=+-@\t\r\n \",.a\xfc\xc3\xa9"), min_size=1).map(bytes)
    | st.binary(min_size=1)
).map(lambda name: os.fsdecode(b"n" + name.replace(b"\0", b"0").replace(b"/", b"1")))


def rows(names: list[str], **columns: list[str]) -> pd.DataFrame:
    count = len(names)
    plain = {"label": [""] * count, "patient": ["p"] * count, "magnification": ["40"] * count}
    return pd.DataFrame(
        {"path": names, **plain, "split": [""] * count, "fold": [""] * count, **columns}
    )


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_from_a_manifest_as_it_was(data: st.DataObject) -> None:
    classes = data.draw(st.lists(TEXTS.filter(bool), min_size=2, max_size=4, unique=True))
    names = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    column = st.lists(TEXTS, min_size=len(names), max_size=len(names))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        frame = rows(
            [str(home / name) for name in names],
            label=data.draw(
                st.lists(st.sampled_from(classes), min_size=len(names), max_size=len(names))
            ),
            patient=data.draw(column),
        ).assign(**{data.draw(TEXTS.map(lambda name: f"{name} x")): data.draw(column)})
        manifest = Manifest(frame, Task("any", tuple(classes)), data.draw(TEXTS))
        manifest.write(home / "m.csv")
        back = read_manifest(home / "m.csv")
        assert back.frame.equals(frame)
        assert back.frame.columns.tolist() == frame.columns.tolist()
        assert back.fingerprint == manifest.fingerprint
        assert (back.task, back.dataset, back.notes) == (manifest.task, manifest.dataset, ())


@given(cell=TEXTS)
@settings(max_examples=300, deadline=None)
def test_no_cell_begins_as_a_formula_and_each_has_its_own_form(cell: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        frame = pd.DataFrame({"cell": [cell, "'" + cell, "=" + cell]})
        write_csv(frame, path)
        with path.open(newline="", encoding="utf-8") as stream:
            written = [row["cell"] for row in csv.DictReader(stream)]
    assert not any(text.lstrip().startswith(tuple("=+-@＝＋－＠")) for text in written)
    assert len(set(written)) == 3


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_a_number_stays_a_number(
    tmp_path: Path,
) -> None:
    words = ["=1+1", "+cmd", "-5", "@SUM(A1)", "\t=1", "\r=1", "'=1", "'s Hertogenbosch", "3+"]
    frame = pd.DataFrame({"word": words, "number": [-0.5] * 9, "either": [None, -1, *"=bcdefg"]})
    write_csv(frame, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["word"] for row in table] == [
        *("'=1+1", "'+cmd", "'-5", "'@SUM(A1)", "'\t=1", "'\r=1", "''=1"),
        *("'s Hertogenbosch", "3+"),
    ]
    assert {row["number"] for row in table} == {"-0.5"}
    assert [row["either"] for row in table[:4]] == ["", "-1", "'=", "b"]


def test_the_error_table_runs_nothing_and_names_files_of_any_bytes(tmp_path: Path) -> None:
    path = error_table_path(tmp_path / "=x.csv")
    write_error_table([SkippedFile(Path(os.fsdecode(b"=M\xfcller.png")), "=empty")], path)
    assert path.read_bytes() == b"file,reason\n'=M\xfcller.png,'=empty\n"


def test_no_two_tables_share_a_companion() -> None:
    names = ("p", "p.csv", "p.CSV", "p.tsv", "pred.image", "pred.patient", "lr0.1", "lr0.01")
    found = {companion(Path("runs", name), end) for name in names for end in (SIDECAR, ERRORS)}
    assert len(found) == 2 * len(names)
    assert companion(Path("runs/p.csv"), SIDECAR) == Path("runs/p.csv.meta.json")


def test_writing_a_table_removes_what_the_first_version_wrote_beside_it(tmp_path: Path) -> None:
    table = Manifest(rows([str(tmp_path / "a.png")]), Task("t", ("a", "b")), "d")
    old = [tmp_path / f"m{end}" for end in (SIDECAR, ERRORS, ".partial.jsonl")]
    for version, left in (("1", []), ("2", old)):
        for path in old:
            path.write_text(f'{{\n  "format_version": {version},\n  "kind": "manifest"\n}}\n')
        table.write(tmp_path / "m.csv")
        assert [path for path in old if path.exists()] == left  # 2: those of a table named "m"
    assert read_manifest(tmp_path / "m.csv").frame.equals(table.frame)


def test_a_table_of_ten_thousand_rows_keeps_every_digit(tmp_path: Path) -> None:
    chances = np.random.default_rng(5).dirichlet((0.3, 0.3), 10_000)
    images = rows([str(tmp_path / f"{n}.png") for n in range(10_000)])
    task = Task("binary", ("benign", "malignant"), positive="malignant")
    make_predictions(images, chances, task=task).write(tmp_path / "p.csv")
    assert np.array_equal(read_predictions(tmp_path / "p.csv").probabilities, chances)


@pytest.mark.parametrize("kind", ["manifest", "predictions"])
def test_no_damage_to_a_field_of_a_sidecar_goes_unnoticed(
    kind: str, tmp_path: Path, every_mutation: Callable[[dict[str, object]], list[Any]]
) -> None:
    table, sidecar = tmp_path / "t.csv", tmp_path / "t.csv.meta.json"
    leaky = Protocol("image", "5-fold", leaky=True, seed=7)
    task = Task("binary", ("benign", "malignant"), positive="malignant")
    images, notes = rows([str(tmp_path / "a.png")], fold=["1"]), ("One image could not be read.",)
    if kind == "manifest":
        Manifest(images, task, "bci", leaky, notes, r"^(\d+)_").write(table)
    else:
        known = Provenance(("runs/a",), "bci", leaky, "test", "resnet18", 0.25, False, notes)
        chances = np.array([[0.25, 0.75]])
        make_predictions(images, chances, task=task, threshold=0.25, provenance=known).write(table)
    found = every_mutation(json.loads(sidecar.read_text()))
    assert len(found) > 400
    read = read_manifest if kind == "manifest" else read_predictions
    for mutation in found:
        sidecar.write_text(mutation.text)
        with pytest.raises(DataError, match=r"t\.csv\.meta\.json|t\.csv") as refused:
            read(table)
        assert len(str(refused.value)) < 1500, mutation


@pytest.mark.parametrize("name", ["by-image", "stain-notes"])
def test_no_damage_to_a_sidecar_of_0_1_0_hides_a_leak(
    name: str, tmp_path: Path, every_mutation: Callable[[dict[str, object]], list[Any]]
) -> None:
    """It has no checksum: what is still read calls itself leaky and has the same classes."""
    home = Path(shutil.copytree(Path(__file__).parent / "written_by_0_1_0/tables", tmp_path / "t"))
    table, sidecar = home / f"{name}.csv", home / f"{name}.meta.json"
    read: Any = read_manifest if name == "by-image" else read_predictions
    task, still = read(table).task, 0
    for mutation in every_mutation(json.loads(sidecar.read_text()))[::3]:
        sidecar.write_text(mutation.text)
        try:
            found = read(table)
        except DataError:
            continue
        still += 1
        protocol = found.protocol if name == "by-image" else found.provenance.protocol
        assert "(leaky)" in protocol.name, mutation
        assert found.task.classes == task.classes, mutation
        assert not mutation.field.startswith(("format_version", "kind", "images")), mutation
    assert still


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four images of two patients."""
    names = [str(tmp_path / f"{number}.png") for number in range(4)]
    labels, patients = ["benign", "malignant"] * 2, ["14-1", "14-1", "14-2", "14-2"]
    task = Task("binary", ("benign", "malignant"))
    return Manifest(rows(names, label=labels, patient=patients), task, "breakhis")


def as_semicolons(text: str) -> bytes:
    return b"\xef\xbb\xbf" + text.replace(",", ";").encode()


def as_unicode_text(text: str) -> bytes:
    return text.replace(",", "\t").encode("utf-16")


def with_a_comma_after_each_row(text: str) -> bytes:
    header, *rows = text.splitlines()
    return "\n".join([header, *(f"{row}," for row in rows)]).encode()


def with_a_comma_after_each_line(text: str) -> bytes:
    return "\r\n".join(f"{line}," for line in text.splitlines()).encode()


@pytest.mark.parametrize(
    "saved",
    [
        as_semicolons,
        as_unicode_text,
        with_a_comma_after_each_row,
        with_a_comma_after_each_line,
    ],
)
def test_a_manifest_saved_by_another_program_is_read_where_that_is_certain(
    manifest: Manifest, tmp_path: Path, saved: Callable[[str], bytes]
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    path.write_bytes(saved(path.read_text()))
    back = read_manifest(path)
    assert back.frame.equals(manifest.frame)
    assert back.notes == manifest.notes


def test_a_table_that_no_program_reads_with_certainty_is_named_as_what_it_is(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bh.csv"
    manifest.write(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], f"{lines[2]},", *lines[3:]]))
    wanted = (
        r"bh.csv, row 3: .* a cell with a comma in it needs quotes, and a comma at the end goes"
    )
    with pytest.raises(DataError, match=wanted):
        read_manifest(path)
    path.write_bytes("\n".join([*lines[:2], f"{lines[2]},"]).replace(",", ";").encode())
    with pytest.raises(DataError, match=r"row 3: .* a cell with a semicolon in it needs quotes"):
        read_manifest(path)
    path.write_bytes(b"PK\x03\x04" + bytes(80))
    with pytest.raises(
        DataError, match=r"bh.csv: is a workbook, not a table; save it as CSV UTF-8"
    ):
        read_manifest(path)
    path.write_text("path|label\n" * 2)
    with pytest.raises(DataError, match=r"cells between commas, semicolons or tabs"):
        read_manifest(path)


def test_a_sidecar_that_counts_other_rows_of_the_same_bytes_is_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    path, sidecar = tmp_path / "bh.csv", tmp_path / "bh.csv.meta.json"
    manifest.write(path)
    known = read_artefact(ManifestSidecar, sidecar, fix="")
    write_artefact(with_changes(known, rows=5), sidecar)
    with pytest.raises(DataError, match=r"meta\.json: rows = 5, but the table has 4; write it aga"):
        read_manifest(path)


def test_a_long_table_shows_its_beginning_and_how_much_more_there_is(manifest: Manifest) -> None:
    shown = as_html("a <title>", pd.concat([manifest.frame] * 400)[["patient"]])
    assert shown.count("<tr") == 13  # with the header
    assert "<p>1,588 more rows</p>" in shown
    assert "a &lt;title&gt;" in shown
    assert "more rows" not in as_html("t", manifest.frame)
