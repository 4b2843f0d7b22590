"""Protocol: a leak is in the name, and what cannot be claimed is said in words."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from eosin.artefacts.values import NamedProtocol
from eosin.protocol import UNKNOWN, UNSPLIT, Protocol

ON_DISK: TypeAdapter[Protocol] = TypeAdapter(NamedProtocol)


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (UNSPLIT, "unsplit"),
        (Protocol("patient", "5-fold", seed=7), "patient-level, 5-fold"),
        (Protocol("image", "70/15/15", leaky=True), "image-level (leaky), 70/15/15"),
        (Protocol("slide", "5-fold", leaky=True), "slide-level (leaky), 5-fold"),
        (
            Protocol("image", "5-fold", patients_known=False),
            "image-level (patients unknown), 5-fold",
        ),
        (Protocol("official", "fold 1", leaky=True), "official split (leaky), fold 1"),
        (Protocol("external"), "external images"),
        (
            Protocol("official", "test folder", patients_known=False),
            "official split (patients unknown), test folder",
        ),
    ],
)
def test_the_name_carries_the_leak_and_what_is_unknown(protocol: Protocol, name: str) -> None:
    assert protocol.name == name
    assert json.loads(json.dumps(protocol.to_dict()))["name"] == name


@pytest.mark.parametrize(
    "protocol", [UNSPLIT, UNKNOWN, Protocol("image", "5-fold", leaky=True, seed=7)]
)
def test_a_protocol_comes_back_from_json_as_it_was(protocol: Protocol) -> None:
    assert ON_DISK.validate_json(json.dumps(protocol.to_dict()), strict=True) == protocol
    assert json.loads(ON_DISK.dump_json(protocol)) == protocol.to_dict()


def test_a_leak_and_unknown_patients_are_warned_of_in_plain_words() -> None:
    assert Protocol("patient", "5-fold").warning is None
    leak = Protocol("image", "5-fold", leaky=True).warning
    assert leak is not None
    assert "remembering patients" in leak
    unknown = Protocol("image", "5-fold", patients_known=False).warning
    assert unknown is not None
    assert "intervals are too narrow" in unknown


def test_a_name_written_by_hand_does_not_hide_a_leak() -> None:
    fields = {**Protocol("image", "5-fold", leaky=True).to_dict(), "name": "patient-level, 5-fold"}
    with pytest.raises(ValidationError, match="its name and warning"):
        ON_DISK.validate_json(json.dumps(fields))


def test_an_unknown_unit_is_refused_with_those_there_are() -> None:
    fields = {**UNSPLIT.to_dict(), "unit": "person", "name": "person-level"}
    with pytest.raises(ValidationError, match=r"should be 'unsplit', 'patient'"):
        ON_DISK.validate_json(json.dumps(fields))
