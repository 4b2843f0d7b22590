"""Names of models beside each other."""

from __future__ import annotations

from eosin.artefacts.predictions import Provenance
from eosin.evaluation.alignment import model_names


def test_models_keep_their_plain_names_where_these_are_distinct():
    provenances = [
        Provenance(model="efficientnet_b0", runs=("runs/a",)),
        Provenance(model="tf_efficientnetv2_b0", runs=("runs/b",)),
        Provenance(runs=("runs/c",)),
    ]
    assert model_names(provenances) == ("efficientnet_b0", "tf_efficientnetv2_b0", "c")


def test_models_of_one_name_are_told_apart_by_run_folder_then_by_number():
    provenances = [
        Provenance(model="efficientnet_b0", runs=("runs/frozen",)),
        Provenance(model="efficientnet_b0", runs=("runs/tuned",)),
        Provenance(model="efficientnet_b0", runs=("other/tuned",)),
        Provenance(),
    ]
    assert model_names(provenances) == (
        "efficientnet_b0 (frozen)",
        "efficientnet_b0 (tuned) #1",
        "efficientnet_b0 (tuned) #2",
        "model",
    )
