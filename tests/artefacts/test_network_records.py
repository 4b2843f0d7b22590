"""What a Run keeps of its network: preprocessing, graph, reference, bags, context, members."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from eosin.artefacts.codec import with_changes
from eosin.artefacts.graph import Graph, Parity
from eosin.artefacts.int8 import Int8Trial, Quality, Speed
from eosin.artefacts.preprocessing import (
    ColourTarget,
    MacenkoStep,
    Preprocessing,
    ReinhardStep,
    StainTarget,
    VahadaneStep,
)
from eosin.artefacts.reference import Range, Reference
from eosin.artefacts.run import (
    Bag,
    Context,
    EnsembleRun,
    FoldsRun,
    Member,
    Scale,
    TrainedRun,
)
from eosin.errors import ConfigError, ModelError
from eosin.protocol import Protocol
from eosin.tasks import Task

Make = Callable[..., TrainedRun]
SEEN_AS: TypeAdapter[Preprocessing] = TypeAdapter(Preprocessing)
GRAPH: TypeAdapter[Graph] = TypeAdapter(Graph)
RUIFROK = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))  # of Ruifrok & Johnston 2001, nearly of length 1


def unit(*stain: float) -> tuple[float, float, float]:
    length = math.hypot(*stain)
    red, green, blue = (value / length for value in stain)
    return red, green, blue


TARGET = StainTarget((unit(*RUIFROK[0]), unit(*RUIFROK[1])), (1.9, 1.0))
COLOURS = ColourTarget((60.0, 20.0, -10.0), (10.0, 5.0, 5.0))


@pytest.mark.parametrize(
    ("size", "fine"), [(15, False), (16, True), (4096, True), (4097, False), (-224, False)]
)
def test_an_image_size_has_two_ends_and_both_belong_to_it(size: int, fine: bool) -> None:
    if fine:
        assert Preprocessing(size=size).size == size
    else:
        with pytest.raises(ConfigError, match=f"image size {size} is outside 16 to 4096 pixels"):
            Preprocessing(size=size)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fit": "pad"}, r"fit 'pad' is unknown; want one of \['stretch', 'crop'\]"),
        ({"interpolation": "cubic"}, r"interpolation 'cubic' is unknown; want one of \['area', "),
        ({"std": (0.2, 0.0, 0.2)}, r"std \(0.2, 0.0, 0.2\) must be positive"),
        ({"std": (0.2, 0.2, -1.0)}, "must be positive"),
        ({"stain": ReinhardStep(COLOURS, per="slide")}, "stain per 'slide': want one of"),
    ],
)
def test_a_preprocessing_that_cannot_be_done_is_refused(change: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Preprocessing(**change)


@pytest.mark.parametrize(
    "seen",
    [
        Preprocessing(),
        Preprocessing(size=299, fit="crop", mean=(0.0, 0.5, 1.0), std=(0.1, 0.2, 0.3)),
        Preprocessing(interpolation="bicubic"),
        Preprocessing(stain=ReinhardStep(COLOURS, per="patient")),
        Preprocessing(stain=MacenkoStep(TARGET, beta=0.15, alpha=1.0)),
        Preprocessing(stain=VahadaneStep(TARGET, penalty=0.1, per="patient")),
    ],
)
def test_a_preprocessing_comes_back_from_json_with_its_stain_step(seen: Preprocessing) -> None:
    text = SEEN_AS.dump_json(seen)
    assert SEEN_AS.validate_json(text, strict=True) == seen
    assert (b'"interpolation"' in text) is (seen.interpolation != "area")
    assert hash(seen) == hash(SEEN_AS.validate_json(text))  # batches are kept by it


def test_a_stain_step_of_another_method_or_with_fields_of_another_is_refused() -> None:
    step = SEEN_AS.dump_python(Preprocessing(stain=MacenkoStep(TARGET, beta=0.15, alpha=1.0)))
    for change in ({"method": "vahadane"}, {"method": "none"}, {"beta": 2.0}, {"alpha": 26.0}):
        changed = {**step, "stain": {**step["stain"], **change}}
        with pytest.raises(ValidationError):
            SEEN_AS.validate_python(changed)
    assert SEEN_AS.validate_python(step).stain == MacenkoStep(TARGET, beta=0.15, alpha=1.0)


@pytest.mark.parametrize(
    ("stains", "most", "said"),
    [
        ((RUIFROK[0], (0.1, 0.1, 0.1)), (1.9, 1.0), "are not of unit length"),
        ((unit(1, 1, 1), unit(1, 1, 1)), (1.9, 1.0), "are not two separable ones"),
        ((unit(1, 0, 0), unit(1, 0.02, 0)), (1.9, 1.0), "are not two separable ones"),
        ((unit(1, 0, 0), unit(0, 1, 0)), (1.9, 0.01), "max_concentration .* is below 0.02"),
        ((unit(1, 0, 0), unit(0, 1, 0)), (-1.0, 1.0), "max_concentration .* is below 0.02"),
    ],
)
def test_stains_that_no_image_can_be_brought_to_are_refused(
    stains: Any, most: tuple[float, float], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        StainTarget(stains, most)


def test_stains_three_degrees_apart_are_two() -> None:
    apart = math.radians(3)
    near = StainTarget(((1.0, 0.0, 0.0), (math.cos(apart), math.sin(apart), 0.0)), (0.02, 0.02))
    assert near.max_concentration == (0.02, 0.02)


def graph(**changes: Any) -> Graph:
    fields = {
        "format": "onnx",
        "precision": "fp32",
        "files": {"model.onnx": "a" * 64, "model.onnx.data": "b" * 64},
        "outputs": ("logits", "features", "maps"),
        "map_size": (7, 7),
        "no_maps": "",
        "family": "EfficientNetV2",
        "parity": Parity(16, "synthetic tissue", "onnxruntime", 1e-6, 1e-3),
    }
    return Graph(**{**fields, **changes})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"model.xml": "a" * 64}}, r"graph.files = \['model.xml'\] lack model.onnx"),
        ({"format": "openvino"}, "lack model.xml"),
        *(
            ({"files": {"model.onnx": "a" * 64, name: "b" * 64}}, "is no file in the Run's own")
            for name in ("..", ".", "", "a/b", "a\\b", "C:b", "a\0b")
        ),
        ({"outputs": ("logits",)}, "want logits, features, maybe maps"),
        ({"outputs": ("features", "logits")}, "want logits, features, maybe maps"),
        ({"outputs": ("logits", "features", "maps", "maps")}, "want logits, features"),
        ({"outputs": ("logits", "features", "rest"), "no_maps": "x"}, "a rest without maps"),
        ({"no_maps": "tokens"}, "graph.no_maps = 'tokens' contradicts"),
        ({"outputs": ("logits", "features")}, "graph.no_maps = '' contradicts"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(change: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        graph(**change)


def test_the_file_that_an_engine_opens_is_that_of_the_format() -> None:
    assert graph().file == "model.onnx"
    files = {"model.xml": "a" * 64, "model.bin": "b" * 64}
    assert graph(format="openvino", files=files).file == "model.xml"
    with_rest = graph(outputs=("logits", "features", "maps", "rest"))
    assert GRAPH.validate_json(GRAPH.dump_json(with_rest), strict=True) == with_rest


def test_an_int8_graph_was_kept_where_no_bar_failed() -> None:
    trial = Int8Trial(
        method="NNCF",
        failed=(),
        calibrated_on="128 images",
        judged_on="46 images",
        fp32=Quality(0.717, 0.102),
        int8=Quality(0.717, 0.1),
        probabilities_mean=0.0,
        probabilities_most=0.0,
        feature_cosine=1.0,
        speed=Speed("openvino", 2, 16, 15, 88.0, 163.7, 1.86, 1.8, 1.9),
    )
    assert trial.kept
    assert not replace(trial, failed=("accuracy falls",)).kept


@pytest.mark.parametrize(
    ("fields", "fine"),
    [
        ({"aggregator": "mean", "share": None, "attention_sha256": None}, True),
        ({"aggregator": "topk", "share": 1.0, "attention_sha256": None}, True),
        ({"aggregator": "abmil", "share": None, "attention_sha256": "a" * 64}, True),
        ({"aggregator": "topk", "share": None, "attention_sha256": None}, False),
        ({"aggregator": "topk", "share": 0.0, "attention_sha256": None}, False),
        ({"aggregator": "topk", "share": 1.5, "attention_sha256": None}, False),
        ({"aggregator": "max", "share": 0.5, "attention_sha256": None}, False),
        ({"aggregator": "abmil", "share": None, "attention_sha256": None}, False),
        ({"aggregator": "mean", "share": None, "attention_sha256": "a" * 64}, False),
        ({"aggregator": "abmil", "share": None, "attention_sha256": "A" * 64}, False),
    ],
)
def test_a_bag_has_what_its_rule_needs_and_nothing_of_another(fields: Any, fine: bool) -> None:
    if fine:
        assert Bag.model_validate(fields).aggregator == fields["aggregator"]
    else:
        with pytest.raises(ValidationError, match=r"share|attention_sha256"):
            Bag.model_validate(fields)


CONTEXT = Context(window=3, pitch=50.0, weight=2.0, alone_temperature=1.5, alone_threshold=0.4)
BAG = Bag(aggregator="mean", share=None, attention_sha256=None)


@pytest.mark.parametrize(
    "change",
    [
        *({"window": 4}, {"pitch": 0.0}, {"weight": -0.1}, {"alone_temperature": 0.0}),
        *({"alone_threshold": 1.1}, {"weight": math.inf}),
    ],
)
def test_a_context_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        with_changes(CONTEXT, **change)


def test_a_scale_without_um_px_is_one_and_of_no_pixels_is_none() -> None:
    assert Scale(size=224, mpp=None).mpp is None
    for wrong in ({"size": 0, "mpp": None}, {"size": 224, "mpp": 0.0}):
        with pytest.raises(ValidationError):
            Scale.model_validate(wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_patients": ("a", "b", "a")}, "train_patients names a patient twice"),
        ({"train_patients": ("a", "")}, "or one without a name"),
        ({"val_patients": ("c", "c")}, "val_patients names a patient twice"),
        ({"task": Task("her2", ("0", "1+", "2+"))}, "threshold = 0.5 belongs to two classes"),
        ({"threshold": None, "context": CONTEXT}, "context.alone_threshold = 0.4, threshold ="),
        (
            {"context": with_changes(CONTEXT, alone_threshold=None)},
            "context.alone_threshold = None, threshold = 0.5",
        ),
        ({"context": CONTEXT, "bag": BAG}, "context belongs to Runs that answer for images"),
        ({"val_patients": ("14-4659", "x")}, "'14-4659' stands in train_patients and val_pa"),
        ({"fingerprint": "f0"}, "fingerprint"),
        ({"temperature": 0.0}, "temperature"),
        ({"fold": -1}, "fold"),
        ({"weights_sha256": None}, "weights_sha256"),
    ],
)
def test_a_record_of_one_network_holds_to_its_own_rules(
    change: dict[str, object], said: str, make_record: Make
) -> None:
    with pytest.raises(ValidationError) as caught:
        make_record(**change)
    assert said in str(caught.value)


def test_a_patient_on_both_sides_stands_in_a_record_only_under_a_leaky_name(
    make_record: Make,
) -> None:
    leaky = Protocol("image", "5-fold", leaky=True)
    record = make_record(protocol=leaky, val_patients=("14-4659", "14-9"))
    assert record.seen_patients == {"14-4659", "14-13418", "14-9"}


def test_a_reference_of_another_network_is_refused(make_record: Make) -> None:
    parts = dict.fromkeys(("familiarity", "acquisition", "calibration"))
    own = Reference(sha256="c" * 64, weights_sha256="0" * 64, **parts)
    assert make_record(reference=own).files_beside == {"reference.safetensors": "c" * 64}
    with pytest.raises(ValidationError, match="is of another network than"):
        make_record(reference=with_changes(own, weights_sha256="1" * 64))


def test_the_files_beside_a_record_are_what_it_was_learnt_with(make_record: Make) -> None:
    assert make_record().files_beside == {}
    assert make_record(bag=BAG).files_beside == {}
    gated = Bag(aggregator="abmil", share=None, attention_sha256="d" * 64)
    assert make_record(bag=gated).files_beside == {"attention.safetensors": "d" * 64}


def outer(record: TrainedRun, **changes: object) -> dict[str, object]:
    members = (Member(path="a", sha256="a" * 64), Member(path="b/c", sha256="b" * 64))
    own = {k: v for k, v in dict(record).items() if k != "kind"}
    return {**own, "weights_sha256": None, "members": members, **changes}


def test_who_owns_weights_and_how_members_vote(make_record: Make) -> None:
    record = make_record()
    folds = FoldsRun.model_validate(outer(record, vote=None))
    hard = EnsembleRun.model_validate(outer(record, vote="hard", weights=()))
    fused = EnsembleRun.model_validate(
        outer(record, vote="fusion", weights=(), weights_sha256="e" * 64)
    )
    shares = EnsembleRun.model_validate(outer(record, vote="weighted", weights=(0.25, 0.75)))
    assert [r.owns_weights for r in (record, folds, hard, fused)] == [True, False, False, True]
    assert [r.voting for r in (record, folds, hard)] == [("soft", ()), ("soft", ()), ("hard", ())]
    assert shares.voting == ("weighted", (0.25, 0.75))
    assert record.inside == ()
    assert [member.path for member in folds.inside] == ["a", "b/c"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": ()}, "members"),
        ({"members": (Member(path="a", sha256="a" * 64),) * 2}, "members name a folder twice"),
        ({"context": CONTEXT}, "context and bag belong to the Runs of single networks inside"),
        ({"bag": BAG}, "context and bag belong to the Runs of single networks inside"),
        ({"vote": "loud"}, "vote"),
        ({"vote": "fusion"}, "weights_sha256 belongs to a fusion head"),
        ({"weights_sha256": "e" * 64}, "weights_sha256 belongs to a fusion head"),
        ({"weights": (0.5, 0.5)}, "of 2 members"),
        ({"vote": "weighted", "weights": (1.0,)}, "of 2 members"),
        ({"vote": "weighted", "weights": ()}, "of 2 members"),
        ({"vote": "weighted", "weights": (0.5, 0.6)}, "do not sum to 1"),
        ({"vote": "weighted", "weights": (-0.5, 1.5)}, "weights"),
    ],
)
def test_an_ensemble_votes_as_it_says(
    change: dict[str, object], said: str, make_record: Make
) -> None:
    with pytest.raises(ValidationError) as caught:
        EnsembleRun.model_validate(outer(make_record(), vote="soft", weights=()) | change)
    assert said in str(caught.value)


def test_a_range_has_its_low_end_below_and_may_be_one_value() -> None:
    assert Range(low=1.0, high=1.0).high == 1.0
    with pytest.raises(ValidationError, match=r"low = 2\.0 lies above high = 1\.0"):
        Range(low=2.0, high=1.0)
