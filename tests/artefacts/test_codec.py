"""Strict JSON: what is loose is refused, every fault is named, nothing is filled in silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from eosin.artefacts.codec import (
    DEEPEST,
    Artefact,
    Fields,
    Strict,
    parse_artefact,
    parse_fields,
    plain,
    read_artefact,
    read_fields,
    sealed,
    validated,
    with_changes,
    write_artefact,
)
from eosin.errors import ConfigError, DataError, ModelError


class Part(Strict):
    """A part."""

    name: str
    share: Annotated[float, Field(ge=0, le=1)]
    note: str = ""


class Whole(Artefact):
    """A file."""

    kind: Literal["whole"] = "whole"
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    limit: float | None


WHOLE = Whole(
    parts=(Part(name="Müller", share=0.1), Part(name="b", share=1.0, note="all")),
    by_name={"x": Part(name="x", share=0.0)},
    limit=None,
)


def read(fields: Fields, **options: object) -> Whole:
    return parse_artefact(Whole, fields, "w.json", fix="make it again", **options)  # type: ignore[arg-type]


def changed(**changes: object) -> Fields:
    """The whole under other fields, sealed as if they had always been so."""
    fields = {**plain(WHOLE), **changes}
    return {**fields, "checksum": sealed(WHOLE)["checksum"]}


def test_an_artefact_is_written_readable_and_comes_back_with_the_same_checksum(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep" / "w.json"
    write_artefact(WHOLE, path)
    assert read_artefact(Whole, path, fix="make it again") == WHOLE
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert '"Müller"' in text
    assert text.startswith('{\n  "format_version": 2,\n  "kind": "whole",')
    assert json.loads(text) == sealed(WHOLE)
    before = path.read_bytes()
    write_artefact(WHOLE, path)
    assert path.read_bytes() == before


def test_the_order_of_keys_and_the_spaces_between_them_may_change() -> None:
    turned = dict(reversed(sealed(WHOLE).items()))
    assert read(json.loads(json.dumps(turned, indent=7))) == WHOLE


@pytest.mark.parametrize(
    "number", [0.1, 1 / 3, 5e-324, 1e-17, 0.1 + 0.2, 0.30000000000000004, 1 - 2**-53]
)
def test_a_number_comes_back_to_the_last_bit(number: float) -> None:
    whole = with_changes(WHOLE, limit=number)
    assert read(json.loads(json.dumps(sealed(whole)))).limit == number


@pytest.mark.parametrize("field", ["parts", "by_name", "limit", "kind"])
def test_no_field_may_be_left_out_though_the_checksum_is_new(field: str) -> None:
    fields = {name: value for name, value in plain(WHOLE).items() if name != field}
    with pytest.raises(DataError, match=rf"w\.json: {field} is missing; make it again"):
        validated(Whole, fields, "w.json", fix="make it again")


def test_a_default_stands_in_for_nothing_however_deep() -> None:
    fields = json.loads(json.dumps(plain(WHOLE)))
    del fields["parts"][1]["note"]
    with pytest.raises(DataError, match=r"parts\[1\]\.note is missing"):
        validated(Whole, fields, "w.json", fix="make it again")
    fields = json.loads(json.dumps(plain(WHOLE)))
    del fields["by_name"]["x"]["note"]
    with pytest.raises(DataError, match=r"by_name\.x\.note is missing"):
        validated(Whole, fields, "w.json", fix="make it again")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": "0.5"}, "limit = '0.5': "),
        ({"limit": True}, "limit = True: "),
        ({"parts": [{"name": "a", "share": 2.0, "note": ""}]}, "parts[0].share = 2.0: input sh"),
        ({"parts": [{"name": 1, "share": 0.0, "note": ""}]}, "parts[0].name = 1: "),
        ({"parts": [{"share": 0.0, "note": ""}]}, "parts[0].name is missing"),
        ({"parts": {}}, "parts = {}: "),
        ({"by_name": {"y": {"name": "y", "share": 0, "note": "", "z": 1}}}, "by_name.y.z is unk"),
        ({"more": 1}, "more is unknown"),
        ({"kind": "half"}, "kind = 'half': "),
        ({"limit": "x" * 500}, "x..."),
    ],
)
def test_a_fault_is_named_by_its_place_value_and_reason(change: Fields, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(changed(**change))
    assert str(caught.value).startswith("w.json: ")
    assert said in str(caught.value)
    assert str(caught.value).endswith("; make it again")
    assert len(str(caught.value)) < 300


def test_of_very_many_faults_five_are_told() -> None:
    parts = [{"name": n, "share": 0.5, "note": ""} for n in range(50)]
    with pytest.raises(DataError) as caught:
        read(changed(parts=parts))
    assert str(caught.value).count("input should be a valid string") == 5


def test_a_sound_value_that_was_changed_by_hand_shows_in_the_checksum() -> None:
    for change in ({"limit": 0.5}, {"parts": []}):
        with pytest.raises(DataError, match="its checksum is not that of its fields"):
            read(changed(**change))
    assert read(changed()) == WHOLE
    for checksum in (None, "", "0" * 64):
        with pytest.raises(DataError, match="its checksum"):
            read({**sealed(WHOLE), "checksum": checksum})
    with pytest.raises(DataError, match="its checksum"):
        read(plain(WHOLE))


@pytest.mark.parametrize("version", [None, 0, -1, "2", 2.0, True, [2]])
def test_a_format_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(DataError, match=r"format_version = .* is no format of eosin's; make it"):
        read(changed(format_version=version))


def test_a_newer_format_asks_for_an_update_and_not_for_the_work_again() -> None:
    with pytest.raises(DataError) as caught:
        read(changed(format_version=3))
    assert str(caught.value) == (
        "w.json: written in format 3; this eosin reads up to 2: update eosin"
    )


def test_an_older_format_is_raised_where_that_can_be_and_else_refused() -> None:
    old = {"format_version": 1, "items": plain(WHOLE)["parts"]}

    def upgrade(fields: Fields) -> Fields:
        rest = {"kind": "whole", "by_name": plain(WHOLE)["by_name"], "limit": None}
        return {**rest, "parts": fields["items"]}

    assert read(old, upgrade=upgrade) == WHOLE
    assert old == {"format_version": 1, "items": plain(WHOLE)["parts"]}
    with pytest.raises(DataError, match="written in format 1, which is not read any more; make"):
        read(old)
    with pytest.raises(DataError, match=r"not whole \(KeyError\('items'\) in format 1\); make it"):
        read({"format_version": 1}, upgrade=upgrade)
    with pytest.raises(DataError, match=r"parts\[0\] = 1"):
        read({"format_version": 1, "items": [1]}, upgrade=upgrade)


def test_the_error_is_of_the_kind_that_was_asked_for(tmp_path: Path) -> None:
    for kind in (ModelError, ConfigError):
        with pytest.raises(kind, match="no such file"):
            read_artefact(Whole, tmp_path / "w.json", fix="make it again", error=kind)
        with pytest.raises(kind, match="is missing"):
            read({"format_version": 2}, error=kind)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("[1]", "want a JSON object, found list"),
        ("3", "want a JSON object, found int"),
        ("null", "want a JSON object, found NoneType"),
        ("{'a': 1}", "not strict JSON"),
        ('{"a": 1,}', "not strict JSON"),
        ('{"a": 1} {}', "not strict JSON"),
        ("", "not strict JSON"),
    ],
)
def test_loose_json_is_refused_with_what_is_loose(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_fields(text.encode(), "w.json", fix="make it again")
    assert said in str(caught.value)
    assert str(caught.value).endswith("make it again")


def test_json_may_be_as_deep_as_the_limit_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a": ' + b"[" * depth + b"]" * depth + b"}"

    assert parse_fields(nested(DEEPEST), "w.json", fix="")
    with pytest.raises(DataError, match=f"nested more than {DEEPEST} deep"):
        parse_fields(nested(DEEPEST + 1), "w.json", fix="")
    wide = json.dumps({"a": [[n] for n in range(2000)]}).encode()
    assert len(parse_fields(wide, "w.json", fix="")["a"]) == 2000  # type: ignore[arg-type]


def test_what_cannot_be_read_as_a_file_is_told_apart_from_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"w\.json: no such file; make it again"):
        read_fields(tmp_path / "w.json", fix="make it again")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); make it again"):
        read_fields(tmp_path, fix="make it again")


def test_a_text_that_no_encoding_has_is_refused_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(json.dumps(changed(kind="\udce9")))
    with pytest.raises(DataError, match=r"w\.json"):
        read_artefact(Whole, tmp_path / "w.json", fix="make it again")


def test_a_changed_copy_is_validated_and_the_original_stays() -> None:
    assert with_changes(WHOLE, limit=0.5).limit == 0.5
    assert WHOLE.limit is None
    for wrong in ({"limit": "0.5"}, {"limit": float("nan")}, {"unknown": 1}):
        with pytest.raises(ValueError):
            with_changes(WHOLE, **wrong)
    with pytest.raises(ValueError, match="frozen"):
        WHOLE.limit = 1.0  # type: ignore[misc]
