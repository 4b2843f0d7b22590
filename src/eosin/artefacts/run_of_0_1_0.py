"""Records of Runs as eosin 0.1.0 wrote them, in today's fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eosin.artefacts.codec import Fields


def kind_of_0_1_0(fields: Fields) -> object:
    """What the record is of, in today's words."""
    if fields.get("kind") == "run/single":
        return "run/exported" if "graph" in fields else "run/trained"
    return fields.get("kind")


def from_0_1_0(fields: Fields) -> Fields:
    """One record of format 1 in the fields of format 2; KeyError or TypeError where it is none."""
    fields = dict(fields)
    kind = kind_of_0_1_0(fields)
    vote, members, choices = fields.pop("vote"), fields.pop("members"), fields["choices"]
    weights_sha256 = fields["weights_sha256"] or None
    if not isinstance(members, list) or not isinstance(choices, dict):
        raise TypeError(f"members = {members!r}, choices = {choices!r}")
    preprocessing = fields["preprocessing"]
    if not isinstance(preprocessing, dict):
        raise TypeError(f"preprocessing = {preprocessing!r}")
    fields |= {
        "kind": kind,
        "preprocessing": {"stain": None, **preprocessing},
        "weights_sha256": weights_sha256,
        "context": None,
        "scale": None,
        "bag": None,
        "reference": None,
    }
    if kind in ("run/trained", "run/exported"):
        if vote or members:
            raise TypeError(f"vote = {vote!r}, members = {members!r} of one network")
        if kind == "run/exported":
            graph = fields["graph"]
            if not isinstance(graph, dict):
                raise TypeError(f"graph = {graph!r}")
            fields["graph"] = {"int8": None, **graph}
        return fields
    fields["members"] = members
    if kind == "run/folds":
        return {**fields, "vote": vote or None, "weights_sha256": None}
    weights = choices.get("weights", [])
    rest = {name: value for name, value in choices.items() if name != "weights"}
    return {**fields, "vote": vote, "weights": weights, "choices": rest}
