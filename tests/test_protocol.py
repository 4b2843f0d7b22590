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


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (Protocol("patient", "5-fold", pseudo=True), "pseudo-patient, 5-fold"),
        (Protocol("patient", leaky=True, pseudo=True), "pseudo-patient (leaky)"),
        (Protocol("image", "5-fold", pseudo=True), "image-level (pseudo-patients), 5-fold"),
        (Protocol("site", "3 sites"), "leave-one-site-out, 3 sites"),
        (
            Protocol("scanner", patients_known=False),
            "leave-one-scanner-out (patients unknown)",
        ),
        (Protocol("external", patients_known=False), "external images (patients unknown)"),
        (Protocol("image", leaky=True, patients_known=False), "image-level (leaky)"),
        (UNKNOWN, "unsplit"),
    ],
)
def test_pseudo_patients_sites_and_scanners_are_called_what_they_are(
    protocol: Protocol, name: str
) -> None:
    assert protocol.name == name
    assert ON_DISK.validate_json(json.dumps(protocol.to_dict())) == protocol


def test_pseudo_patients_are_warned_of_before_all_else_and_their_leak_beside_it() -> None:
    whole = Protocol("patient", "5-fold", pseudo=True).warning
    torn = Protocol("image", "5-fold", leaky=True, patients_known=False, pseudo=True).warning
    assert whole is not None
    assert torn is not None
    assert "a leak cannot be ruled out, and intervals may be too narrow" in whole
    assert "training and test" not in whole
    assert "Some of them stand in training and test here." in torn


def test_a_leak_is_warned_of_before_unknown_patients() -> None:
    both = Protocol("image", leaky=True, patients_known=False).warning
    assert both == Protocol("image", leaky=True).warning
    assert UNSPLIT.warning is None
    assert UNKNOWN.warning == Protocol("image", patients_known=False).warning


def test_a_protocol_says_that_it_is_of_pseudo_patients_only_where_it_is() -> None:
    assert "pseudo" not in UNSPLIT.to_dict()
    assert Protocol("patient", pseudo=True).to_dict()["pseudo"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": None}, "its name and warning"),
        ({"warning": None}, "its name and warning"),
        ({"leaky": False}, "its name and warning"),
        ({"pseudo": True}, "its name and warning"),
        ({"unit": "patient"}, "its name and warning"),
        ({"design": "10-fold"}, "its name and warning"),
        ({"leaky": "yes"}, "leaky"),
        ({"seed": "7"}, "seed"),
        ({"design": 5}, "design"),
    ],
)
def test_no_field_of_a_leaky_protocol_changes_alone(change: dict[str, object], said: str) -> None:
    leaky = Protocol("image", "5-fold", leaky=True, seed=7).to_dict()
    with pytest.raises(ValidationError, match=said):
        ON_DISK.validate_json(json.dumps({**leaky, **change}), strict=True)
    for bare in ([], "image-level", 3):
        with pytest.raises(ValidationError):
            ON_DISK.validate_json(json.dumps(bare), strict=True)
