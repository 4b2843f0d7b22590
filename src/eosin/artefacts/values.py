"""Types of artefacts' fields: counts, shares, digests, and a protocol with its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from eosin.protocol import Protocol

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _require_own_name(fields: object) -> object:
    """Take name and warning off again; ValueError where they are not what the fields say."""
    if not isinstance(fields, Mapping):
        return fields
    own = {key: value for key, value in fields.items() if key not in ("name", "warning")}
    try:
        protocol = Protocol(**own)
        said, meant = (
            [values.get(key) for key in ("name", "warning")]
            for values in (fields, protocol.to_dict())
        )
    except (TypeError, AttributeError):  # the fields themselves are wrong, and named by their types
        return own
    if said != meant:
        raise ValueError(f"its name and warning {said} are not those of its fields, {meant}")
    return own


# On disk a protocol has the name and the warning that follow from it; they may not contradict it.
NamedProtocol = Annotated[
    Protocol,
    BeforeValidator(_require_own_name),
    PlainSerializer(Protocol.to_dict, return_type=dict),
]
