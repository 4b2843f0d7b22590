"""Flat TOML settings: read, validated, and refused with the nearest known key."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, TypeVar

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

Settings = TypeVar("Settings", bound="BaseModel")


def read_flat_toml(path: Path) -> dict[str, object]:
    """The keys and values of a TOML file without tables.

    Raises:
        ConfigError: no such file, not TOML, or a table in it; the message names the file.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such settings file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8; save the settings as UTF-8") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error
    tables = [key for key, value in fields.items() if isinstance(value, dict)]
    if tables:
        raise ConfigError(f"{path}: settings are flat; write [{tables[0]}]'s keys without a table")
    return fields


def validated(model: type[Settings], fields: Mapping[str, object], *, place: str) -> Settings:
    """A settings value; ConfigError naming ``place``, each faulty key, its value and the fix."""
    from pydantic import ValidationError

    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        known = list(model.model_fields)
        faults = "; ".join(_sentence(fault, known) for fault in error.errors())
        raise ConfigError(f"{place}: {faults}") from error


def _sentence(fault: ErrorDetails, known: list[str]) -> str:
    if not fault["loc"]:
        return fault["msg"].removeprefix("Value error, ")
    key = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"unknown key {key!r}; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key} = {fault['input']!r}: {message[0].lower()}{message[1:]}"
