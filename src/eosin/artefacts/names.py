"""Names of files as text: made valid where they are not UTF-8, and the patient that one gives."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated

from pydantic import AfterValidator

from eosin.errors import ConfigError
from eosin.files import valid_text

_TOKEN = re.compile(r"\\.|[\[\]]|\{,(?=\d+\})", re.DOTALL)
_SPACE = r"\s\v\p{Z}"
_WORD = r"\p{L}\p{N}_"
_IN_CLASS = {r"\d": r"\p{Nd}", r"\D": r"\P{Nd}", r"\w": _WORD, r"\s": _SPACE}
_OUTSIDE = {
    **{r"\d": r"\p{Nd}", r"\D": r"\P{Nd}", r"\Z": r"\z", "{,": "{0,"},
    **{r"\w": f"[{_WORD}]", r"\W": f"[^{_WORD}]", r"\s": f"[{_SPACE}]", r"\S": f"[^{_SPACE}]"},
}


class PatientPattern:
    r"""A regular expression whose first group, found in the name of a file, is the patient.

    The syntax is Python's without look-around and back-references, and ``\b`` knows English
    letters only. The time a search takes grows with the length of the name and no faster (RE2), so
    that an expression from somebody else's file cannot hold a prediction up.

    Attributes:
        text: the expression.

    Raises:
        ConfigError: ``text`` is no such expression, or has no group.
    """

    def __init__(self, text: str) -> None:
        import re2

        self.text = text
        options = re2.Options()
        options.log_errors = False
        try:
            self._engine = re2.compile(_as_re2(text), options)
        except (re2.error, UnicodeEncodeError) as fault:
            raise ConfigError(
                f"patient pattern {text!r} is no regular expression that can be used "
                f"({_reason(fault)}); correct it; look-around and back-references do not work"
            ) from fault
        if self._engine.groups == 0:
            raise ConfigError(
                f"patient pattern {text!r} has no group; put the patient in brackets, "
                r"e.g. ^(\d+)_"
            )

    def search(self, name: str) -> tuple[str, int] | None:
        """The patient in ``name`` and where it ends there; None where there is none."""
        match = self._engine.search(valid_text(name))
        return (match[1], match.end(1)) if match and match[1] else None


@cache
def patient_pattern(text: str) -> PatientPattern:
    """The pattern of this text, compiled once; errors as ``PatientPattern``."""
    return PatientPattern(text)


def _usable(text: str) -> str:
    if text:
        patient_pattern(text)
    return text


PatternText = Annotated[str, AfterValidator(_usable)]  # of an artefact: empty, or a usable pattern


def _as_re2(text: str) -> str:
    r"""The expression as RE2 spells it: there ``\w``, ``\d`` and ``\s`` mean ASCII alone."""
    opened = -1  # where the character class begins that the token is in

    def spelled(token: re.Match[str]) -> str:
        nonlocal opened
        found = token[0]
        if opened < 0:
            opened = token.end() + text.startswith("^", token.end()) if found == "[" else -1
            return _OUTSIDE.get(found, found)
        if found == "]" and token.start() > opened:
            opened = -1
        return _IN_CLASS.get(found, found)

    return _TOKEN.sub(spelled, text)


def _reason(fault: Exception) -> str:
    said = fault.args[0] if fault.args else fault
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(fault)
