"""Tables on disk: companions of their own, any text there and back, cells that are never run."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.artefacts.predictions import make_predictions, read_predictions
from eosin.artefacts.tables import ERRORS, SIDECAR, companion, write_csv
from eosin.pixels.reading import SkippedFile, error_table_path, write_error_table
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
    import numpy as np

    chances = np.random.default_rng(5).dirichlet((0.3, 0.3), 10_000)
    images = rows([str(tmp_path / f"{n}.png") for n in range(10_000)])
    task = Task("binary", ("benign", "malignant"), positive="malignant")
    make_predictions(images, chances, task=task).write(tmp_path / "p.csv")
    assert np.array_equal(read_predictions(tmp_path / "p.csv").probabilities, chances)
