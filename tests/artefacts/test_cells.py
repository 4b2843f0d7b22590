"""Cells of a CSV: who separates them, what a spreadsheet makes of them, which row is at fault."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eosin.artefacts.cells import (
    as_meant,
    as_text,
    parse_cells,
    require_cells,
    require_columns,
    separator,
)
from eosin.data.slides import SlideSources, read_slides
from eosin.errors import DataError

TABLE = Path("t.csv")


def cells(data: bytes | str, *, key: str = "path") -> pd.DataFrame:
    raw = data if isinstance(data, bytes) else data.encode()
    return parse_cells(raw, TABLE, kind="manifest", fix="write it again", key=key)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("path,label\na;b;c,d", ","),
        ("path;label\na,b;c", ";"),
        ("path\tlabel\n", "\t"),
        ("label;path", ";"),
        ('"path";"a,b"\n', ";"),
        ("path\n", ","),  # a single column
        ("", ","),
        ("name|path\n", ","),  # no such mark: the comma, so that what is missing is said
        ('"path', ","),  # never closed
    ],
)
def test_the_mark_is_the_one_that_finds_the_columns_in_the_first_line(text: str, mark: str) -> None:
    assert separator(text, ["path"]) == mark


def test_all_columns_must_be_found_and_the_comma_is_tried_first() -> None:
    assert separator("path,a;label,b", ["path"]) == ","
    assert separator("path,a;label;b", ["label"]) == ";"
    assert separator("path;label,a;b", ["path", "b"]) == ";"


def test_rows_have_the_numbers_that_a_spreadsheet_gives_them_and_empty_lines_count() -> None:
    frame = cells("path,label\na.png,x\n\n\nb.png,y\n")
    assert frame.index.tolist() == [2, 5]
    assert frame["label"].tolist() == ["x", "y"]


def test_a_cell_of_several_lines_is_one_cell_of_one_row() -> None:
    frame = cells('path,note\na.png,"two\nlines"\nb.png,"a ""word"""\n')
    assert frame["note"].tolist() == ["two\nlines", 'a "word"']
    assert frame.index.tolist() == [2, 3]


def test_cells_stay_text_and_a_header_without_rows_is_an_empty_table() -> None:
    frame = cells("path,fold,p\na.png,01,1e5\nb.png,NA,\n")
    assert frame["fold"].tolist() == ["01", "NA"]
    assert frame["p"].tolist() == ["1e5", ""]
    empty = cells("path,label\n")
    assert (len(empty), empty.columns.tolist()) == (0, ["path", "label"])


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_codings_of_other_programs_give_the_same_cells(
    ends: str, coding: str
) -> None:
    text = ends.join(["path,label", "Müller 患者.png,=1", ""])
    frame = cells(text.encode(coding))
    assert frame.to_dict("records") == [{"path": "Müller 患者.png", "label": "=1"}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a readable manifest table (it is empty)"),
        (b"\xff\xfea", "truncated data); write it again"),  # UTF-16 that ends in the middle
        (b"PK\x03\x04zip", "is a workbook, not a table; save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0old", "is a workbook, not a table; save it as CSV UTF-8"),
        (b'path,a\n"x,1\n', "not a readable manifest table"),
        (b"file,label\na,b\n", "not a manifest table: it has no column 'path'"),
        (b"Path,label\na,b\n", "not a manifest table: it has no column 'path'"),
        (b"path,a,a\nx,1,2\n", "the column 'a' stands twice; keep one of the two"),
        (b"path,=a,'=a\nx,1,2\n", "the column '=a' stands twice"),
        (b"path,a\nx\n", "row 2: has 1 cells, the header 2; correct it"),
        (b"path;a\nx;1\ny;1;2\n", "row 3: has 3 cells, the header 2; a cell with a semicolon"),
        (b"path\ta\nx\t1\t2\n", "row 2: has 3 cells, the header 2; a cell with a tab"),
        (b"path,a\nx,\xff\n", "row 2: a = '\\udcff': is not UTF-8; save the table as UTF-8"),
    ],
)
def test_what_is_no_such_table_is_named_with_file_row_and_fix(data: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        cells(data)
    assert str(caught.value).startswith("t.csv")
    assert said in str(caught.value)


def test_a_path_may_be_any_bytes_and_other_columns_may_not() -> None:
    frame = cells(b"path,label\ncaf\xe9.png,x\n")
    assert frame["path"].tolist() == ["caf\udce9.png"]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_empty_last_column_is_dropped_only_where_every_row_has_it(end: bytes) -> None:
    every = cells(b"path,label,\na,x,\nb,y," + end)
    assert every.columns.tolist() == ["path", "label"]
    rows_alone = cells(b"path,label\na,x,\nb,y," + end)
    assert rows_alone.columns.tolist() == ["path", "label"]
    with pytest.raises(DataError, match="row 3"):
        cells(b"path,label,\na,x,\nb,y" + end)
    kept = cells(b"path,label,\na,x,1\nb,y," + end)
    assert kept.columns.tolist() == ["path", "label", ""]


def test_labels_of_slides_are_a_table_by_another_key_whose_names_may_be_any_bytes(
    tmp_path: Path,
) -> None:
    frame = cells(b"slide,label\nM\xfcller.svs,positive\n", key="slide")
    assert frame["slide"].tolist() == ["M\udcfcller.svs"]
    labels = tmp_path / "labels.csv"
    labels.write_bytes(b"slide,label\na.svs,b\xe9nin\n")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    with pytest.raises(DataError, match=r"labels\.csv, row 2: label = .*save the table as UTF-8"):
        read_slides(tmp_path / "slides", SlideSources(labels=labels))


def test_many_rows_share_their_equal_cells() -> None:
    frame = cells("path,label\n" + "".join(f"{n}.png,carcinoma\n" for n in range(200)))
    assert len({id(cell) for cell in frame["label"]}) == 1
    assert frame["path"].nunique() == 200


def test_missing_columns_are_all_named_beside_those_that_are_wanted() -> None:
    frame = pd.DataFrame({"path": ["a"], "fold": ["1"]})
    require_columns(frame, ["path"], what="a table")
    with pytest.raises(DataError) as caught:
        require_columns(frame, ["path", "label", "patient"], what="m.csv: a manifest")
    assert str(caught.value) == (
        "m.csv: a manifest needs the columns ['path', 'label', 'patient']; "
        "missing: ['label', 'patient']"
    )


def test_the_first_row_that_will_not_do_is_named_with_its_cells() -> None:
    frame = pd.DataFrame({"a": ["1", "x", "y"], "b": ["", "2", "3"]}, index=[2, 5, 6])
    require_cells(TABLE, frame, [True] * 3, "want a number", columns=["a"])
    with pytest.raises(DataError) as caught:
        require_cells(TABLE, frame, [True, False, False], "want a number", columns=["a", "b"])
    assert str(caught.value) == "t.csv, row 5: a = 'x', b = '2': want a number"


def test_a_huge_cell_is_shown_shortened() -> None:
    frame = pd.DataFrame({"a": ["9" * 5000]}, index=[2])
    with pytest.raises(DataError) as caught:
        require_cells(TABLE, frame, [False], "want a number", columns=["a"])
    assert len(str(caught.value)) < 250
    assert "999..." in str(caught.value)


@given(st.text(max_size=6) | st.text("'=+-@ \t\r\n＝1a", max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_cell_goes_to_text_and_comes_back(cell: str) -> None:
    written = as_text(cell)
    assert isinstance(written, str)
    assert as_meant(written) == cell


@pytest.mark.parametrize("cell", [1, -0.5, None, True])
def test_what_is_no_text_is_not_changed(cell: object) -> None:
    assert as_text(cell) is cell


@pytest.mark.parametrize(
    ("cell", "meant"),
    [("'=1", "=1"), ("''=1", "'=1"), ("'a", "'a"), ("'", "'"), ("=1", "=1"), ("' -x", " -x")],
)
def test_an_apostrophe_goes_only_where_it_kept_a_formula_from_running(
    cell: str, meant: str
) -> None:
    assert as_meant(cell) == meant
