"""Settings and options: validated, refused with the nearest known name, read from flat TOML."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic_core import ErrorDetails

# In the wheel the files lie in the package, in a checkout beside ``src``.
_FOLDERS = (Path(__file__).parent / "configs", Path(__file__).parents[2] / "configs")
_OF_A_VALUE = "Value error, "


class Settings(BaseModel):
    """Named values that are checked when they are given: ConfigError says what is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    if not TYPE_CHECKING:  # a type checker knows the fields by name

        def __init__(self, **given: object) -> None:
            try:
                super().__init__(**given)
            except ValidationError as error:
                known = list(type(self).model_fields)
                faults = "; ".join(_sentence(fault, known) for fault in error.errors())
                raise ConfigError(f"{type(self).__name__}: {faults}") from error


SettingsModel = TypeVar("SettingsModel", bound=Settings)
Options = TypeVar("Options")


def validated(
    model: type[SettingsModel], given: Mapping[str, object], *, source: str
) -> SettingsModel:
    """A settings value; ConfigError naming ``source``, each faulty key, its value and the fix."""
    try:
        return model(**given)
    except ConfigError as error:
        faults = str(error).removeprefix(f"{model.__name__}: ")
        raise ConfigError(f"{source}: {faults}") from error


def checked_options(kind: type[Options]) -> type[Options]:
    """A dataclass of options that answers an unknown name with ConfigError and the nearest one."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # it is a dataclass
    begin = kind.__init__

    @wraps(begin)
    def checked(self: Options, *args: object, **given: object) -> None:
        for name in given:
            if name not in known:
                said = unknown_name(name, known, what="option")
                raise ConfigError(f"{kind.__name__}: {said}")
        begin(self, *args, **given)

    kind.__init__ = checked  # type: ignore[method-assign,assignment]
    return kind


def unknown_name(name: str, known: Collection[str], *, what: str) -> str:
    """``unknown key 'epoch'; did you mean 'epochs'?``, or all names where none is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}"


def settings_file(name: str | os.PathLike[str]) -> Path:
    """A file of settings, by its path or, where eosin brings it along, by its name: ``frozen``.

    Raises:
        ConfigError: there is neither; the message names the nearest of those that come along.
    """
    path = Path(name)
    shipped = {file.stem: file for folder in _FOLDERS for file in folder.glob("*.toml")}
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    if path.name not in shipped:
        said = unknown_name(path.name, sorted(shipped), what="settings")
        raise ConfigError(f"{said}; or give the path of a TOML file")
    return shipped[path.name]


def read_flat_toml(path: Path) -> dict[str, object]:
    """The keys and values of a TOML file without tables.

    Raises:
        ConfigError: no such file, not TOML, or a table in it; the message names the file.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        brought = f"; `{path.stem}` alone names the one that eosin brings along"
        known = any((folder / path.name).is_file() for folder in _FOLDERS)
        raise ConfigError(f"{path}: no such settings file{brought if known else ''}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8; save the settings as UTF-8") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error
    tables = [key for key, value in fields.items() if isinstance(value, dict)]
    if tables:
        raise ConfigError(f"{path}: settings are flat; write [{tables[0]}]'s keys without a table")
    return fields


def _sentence(fault: ErrorDetails, known: list[str]) -> str:
    if not fault["loc"]:
        return fault["msg"].removeprefix(_OF_A_VALUE)
    key = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return unknown_name(key, known, what="key")
    message = fault["msg"].removeprefix(_OF_A_VALUE)
    return f"{key} = {fault['input']!r}: {message[0].lower()}{message[1:]}"
