"""Strict JSON: one way to read and write every artefact, and to say what is wrong with one.

A model of an artefact is a pydantic model: types are not coerced, all keys are known and, on disk,
all there. What JSON lets through is refused here: doubled keys, NaN, deep nesting, huge files.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eosin.errors import DataError, EosinError
from eosin.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

FORMAT_VERSION = 2  # 1 is what eosin 0.1.0 wrote
MOST_BYTES = 64 * 2**20
DEEPEST = 20

Fields = dict[str, object]
Model = TypeVar("Model", bound="Strict")


class Strict(BaseModel):
    """A part of an artefact: types are not coerced, unknown keys and NaN are refused, frozen."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class Artefact(Strict):
    """A whole file; each model adds its ``kind``, a literal."""

    format_version: Literal[2] = 2


def read_artefact(
    model: type[Model],
    path: Path,
    *,
    fix: str,
    upgrade: Callable[[Fields], Fields] | None = None,
    error: type[EosinError] = DataError,
) -> Model:
    """Read one artefact from a JSON file.

    Args:
        model: of the artefact.
        path: the file.
        fix: what the user can do where the file will not do, e.g. ``"train the Run again"``.
        upgrade: from the fields of format 1 to those of format 2; None where there was no format 1.
        error: raised, naming the file, the field, the value and the fix.
    """
    return parse_artefact(
        model, read_fields(path, fix=fix, error=error), path, fix=fix, upgrade=upgrade, error=error
    )


def parse_artefact(
    model: type[Model],
    fields: Fields,
    source: object,
    *,
    fix: str,
    upgrade: Callable[[Fields], Fields] | None = None,
    error: type[EosinError] = DataError,
) -> Model:
    """The artefact that ``fields`` are; errors as ``read_artefact``, naming ``source``."""
    version = fields.get("format_version")
    if type(version) is not int or version < 1:
        raise error(f"{source}: format_version = {version!r} is no format of eosin's; {fix}")
    if version > FORMAT_VERSION:
        raise error(
            f"{source}: written in format {version}; this eosin reads up to {FORMAT_VERSION}: "
            "update eosin"
        )
    said = fields.get("checksum")
    if version == FORMAT_VERSION:  # an older file has none, and may not pretend to be older
        fields = {name: value for name, value in fields.items() if name != "checksum"}
    else:
        if upgrade is None:
            raise error(f"{source}: written in format {version}, which is not read any more; {fix}")
        try:
            fields = {**upgrade(fields), "format_version": FORMAT_VERSION}
        except (KeyError, TypeError, AttributeError) as fault:
            raise error(f"{source}: not whole ({fault!r} in format {version}); {fix}") from fault
    found = validated(model, fields, source, fix=fix, error=error)
    if version == FORMAT_VERSION and said != _checksum(fields):
        raise error(f"{source}: its checksum is not that of its fields: changed by hand? {fix}")
    return found


def validated(
    model: type[Model],
    fields: Mapping[str, object],
    source: object,
    *,
    fix: str,
    error: type[EosinError] = DataError,
) -> Model:
    """A model from plain JSON values; ``error`` names every faulty field with its value."""
    try:
        found = model.model_validate_json(json.dumps(fields))
    except ValidationError as faults:
        said = "; ".join(_sentence(fault) for fault in faults.errors(include_url=False)[:5])
        raise error(f"{source}: {said}; {fix}") from faults
    except EosinError as fault:  # a value's own check, which knows what it wants
        raise error(f"{source}: {fault}; {fix}") from fault
    except ValueError as fault:  # a text that no encoding has
        raise error(f"{source}: {fault}; {fix}") from fault
    absent = _absent(plain(found), fields)  # a default stands in for nothing on disk
    if absent:
        raise error(f"{source}: {absent} is missing; {fix}")
    return found


def plain(value: Strict) -> Fields:
    """The model as plain JSON values, floats at full precision."""
    fields: Fields = value.model_dump(mode="json")
    return fields


def sealed(value: Artefact) -> Fields:
    """The artefact as plain JSON values, with a checksum of them all.

    Types and ranges cannot tell a field that was changed to another sound value, or a threshold
    that was taken away where None is one; the checksum can.
    """
    fields = plain(value)
    return {**fields, "checksum": _checksum(fields)}


def with_changes(value: Model, **changes: object) -> Model:
    """A copy with other values in some fields, validated again; ValueError where they are wrong."""
    return type(value).model_validate({**dict(value), **changes})


def write_artefact(value: Artefact, path: Path) -> None:
    """Write an artefact as indented JSON with its checksum, in one step."""
    write_json(path, sealed(value))


def read_fields(path: Path, *, fix: str, error: type[EosinError] = DataError) -> Fields:
    """The keys and values of a JSON object in a file; ``error`` where JSON is loose or wrong."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise error(f"{path}: larger than {MOST_BYTES // 2**20} MiB; {fix}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise error(f"{path}: no such file; {fix}") from None
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror}); {fix}") from fault
    return parse_fields(data, path, fix=fix, error=error)


def parse_fields(
    data: bytes, source: object, *, fix: str, error: type[EosinError] = DataError
) -> Fields:
    """The same from bytes that were read already."""
    try:
        fields = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as fault:
        reason = "nested too deeply" if isinstance(fault, RecursionError) else fault
        raise error(f"{source}: not strict JSON ({reason}); {fix}") from fault
    if not isinstance(fields, dict):
        raise error(f"{source}: want a JSON object, found {type(fields).__name__}; {fix}")
    if _depth(fields) > DEEPEST:
        raise error(f"{source}: nested more than {DEEPEST} deep; {fix}")
    return fields


def _checksum(fields: Fields) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _sentence(fault: ErrorDetails) -> str:
    """``temperature = -1: input should be greater than 0``."""
    field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in fault["loc"]).lstrip(".")
    message = fault["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if fault["type"] == "missing":
        return f"{field or 'the whole'} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{field} is unknown"
    value = repr(fault["input"])
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return f"{field or 'the whole'} = {shown}: {message}"


def _absent(whole: object, fields: object, name: str = "") -> str | None:
    """The first field of ``whole``, as it would be written, that ``fields`` lack."""
    if isinstance(whole, dict) and isinstance(fields, dict):
        for key, value in whole.items():
            inside = f"{name}.{key}".lstrip(".")
            found = _absent(value, fields[key], inside) if key in fields else inside
            if found:
                return found
    elif isinstance(whole, list) and isinstance(fields, list):
        for index, pair in enumerate(zip(whole, fields, strict=False)):
            if found := _absent(*pair, f"{name}[{index}]"):
                return found
    return None


def _once(pairs: list[tuple[str, object]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return fields


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _depth(fields: object) -> int:
    """How deep lists and objects are nested; a plain value is 0 deep."""
    deepest, waiting = 0, [(fields, 0)]
    while waiting:
        value, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict | list):
            inside = value.values() if isinstance(value, dict) else value
            waiting.extend((item, depth + 1) for item in inside)
    return deepest
