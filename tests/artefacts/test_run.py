"""A Run's record says everything, holds to it, and lets nothing loosen the guard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.codec import sealed
from eosin.artefacts.graph import Graph, Parity
from eosin.artefacts.int8 import Int8Trial, Quality, Speed
from eosin.artefacts.run import EnsembleRun, ExportedRun, FoldsRun, Member, TrainedRun, read_record
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.errors import ModelError
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.run import read_run, write_run
from eosin.protocol import Protocol
from eosin.tasks import Task

Make = Callable[..., TrainedRun]
TRIAL = Int8Trial(
    method="NNCF, mixed preset 3.4.0",
    failed=("accuracy falls by 2.2 points, from 0.717 to 0.696 (at most 0.5)",),
    calibrated_on="128 training images of 16 patients",
    judged_on="46 validation images of 4 patients",
    fp32=Quality(0.717, 0.102),
    int8=Quality(0.696, 0.1),
    probabilities_mean=0.011,
    probabilities_most=0.09,
    feature_cosine=0.985,
    speed=Speed("openvino", 2, 16, 15, 88.0, 163.7, 1.86, 1.8, 1.9),
)


def graph() -> Graph:
    return Graph(
        format="openvino",
        precision="fp32",
        files={"model.xml": "a" * 64, "model.bin": "b" * 64},
        outputs=("logits", "features"),
        map_size=None,
        no_maps="tokens",
        family="EfficientNetV2",
        parity=Parity(16, "synthetic tissue", "openvino", 1e-6),
        int8=TRIAL,
    )


def four_kinds(make_record: Make) -> list[Any]:
    """A record of each kind that uses every field."""
    trained = make_record(
        patient_pattern=r"^(\d+)_",
        training={"epochs": 3, "lr": 0.1, "name": None},
        choices={"strength": 0.5, "inner_log_loss": {"0.5": 0.7}},
        notes=("One image could not be read.",),
        fold=2,
    )
    own = {**dict(trained)}
    members = (Member(path="a", sha256="a" * 64), Member(path="b/c", sha256="b" * 64))
    outer = {**own, "weights_sha256": None, "members": members, "val_patients": ()}
    return [
        trained,
        ExportedRun.model_validate({**own, "kind": "run/exported", "graph": graph()}),
        FoldsRun.model_validate({**outer, "kind": "run/folds", "vote": None, "fold": None}),
        EnsembleRun.model_validate(
            {**outer, "kind": "run/ensemble", "vote": "weighted", "weights": (0.25, 0.75)}
        ),
    ]


def write_fields(path: Path, fields: dict[str, Any]) -> Path:
    path.write_text(json.dumps(fields))
    return path


def test_each_kind_of_record_comes_back_as_it_went(make_record: Make, tmp_path: Path) -> None:
    for record in four_kinds(make_record):
        write_run(tmp_path, record)
        again = read_record(tmp_path / "run.json")
        assert type(again) is type(record)
        assert again == record


@pytest.mark.parametrize("kind", range(4))
def test_no_damage_to_a_field_of_a_record_goes_unnoticed(
    kind: int, make_record: Make, tmp_path: Path, every_mutation: Any
) -> None:
    record = four_kinds(make_record)[kind]
    path = tmp_path / "run.json"
    found = every_mutation(sealed(record))
    assert len(found) > 900
    for mutation in found:
        path.write_text(mutation.text)
        with pytest.raises(ModelError, match=r"run\.json") as refused:
            read_record(path)
        assert len(str(refused.value)) < 1500, mutation


def test_no_damage_to_a_record_of_0_1_0_loosens_the_guard(
    old_runs: Path, every_mutation: Any
) -> None:
    """It has no checksum: what is still read must guard the same patients."""
    path = old_runs / "trained" / "run.json"
    before = read_record(path)
    fields = json.loads(path.read_text())
    guarded = ("train_patients", "val_patients", "protocol", "format_version", "kind", "task")
    checked = 0
    for mutation in every_mutation(fields):
        path.write_text(mutation.text)
        try:
            after = read_record(path)
        except ModelError:
            checked += mutation.field.startswith(guarded)
            continue
        assert after.protocol == before.protocol or mutation.field.startswith("protocol"), mutation
        others = mutation.field in ("train_patients", "val_patients")
        others = others and mutation.change in ("['x']", "[]")  # sound lists: nothing tells
        if not others and not mutation.field.startswith(("train_patients.", "val_patients.")):
            assert after.seen_patients == before.seen_patients, mutation
        assert 0 < after.temperature < float("inf")
        assert after.threshold is None or 0 <= after.threshold <= 1
    assert checked > 300


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_patients": "p1,p2"}, "train_patients = 'p1,p2'"),
        ({"train_patients": []}, "train_patients"),
        ({"threshold": "0.4"}, "threshold = '0.4'"),
        ({"threshold": -5}, "threshold = -5"),
        ({"temperature": 0}, "temperature = 0"),
        ({"seed": "x"}, "seed = 'x'"),
        ({"members": ["x"]}, "members"),
        ({"format_version": 3}, "update eosin"),
        ({"val_patients": ["14-4659"]}, "'14-4659' stands in train_patients and val_patients"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_value(
    change: dict[str, Any], said: str, make_record: Make, tmp_path: Path
) -> None:
    fields = {**sealed(make_record()), **change}
    with pytest.raises(ModelError) as refused:
        read_record(write_fields(tmp_path / "run.json", fields))
    assert said in str(refused.value)
    assert str(tmp_path / "run.json") in str(refused.value)


def test_a_protocol_that_forgot_that_it_leaks_is_refused(make_record: Make, tmp_path: Path) -> None:
    leaky = make_record(protocol=Protocol("image", "5-fold", leaky=True))
    fields = sealed(leaky)
    del fields["protocol"]["leaky"]  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"protocol\.leaky is missing|its name and warning"):
        read_record(write_fields(tmp_path / "run.json", fields))
    fields = sealed(leaky)
    fields["protocol"]["leaky"] = False  # type: ignore[index]
    with pytest.raises(ModelError, match="its name and warning"):
        read_record(write_fields(tmp_path / "run.json", fields))


def test_loose_json_is_refused(make_record: Make, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    text = json.dumps(sealed(make_record()))
    deep = text.replace('"training": {}', f'"training": {{"x": {"[" * 30}{"]" * 30}}}')
    endless = text.replace('"training": {}', f'"training": {{"x": {"[" * 5000}')
    for loose, said in (
        (text.replace('"seed": 0', '"seed": 0, "seed": 1'), "'seed' stands twice"),
        (text.replace("1.25", "NaN"), "NaN is no number"),
        (deep, "nested more than 20 deep"),
        (endless, "nested too deeply|not strict JSON"),  # as deep as the Python at hand reads
        (text[:-1], "not strict JSON"),
        ("[]", "want a JSON object"),
        ("\ufeff" + text, "not strict JSON"),
    ):
        path.write_text(loose, encoding="utf-8")
        with pytest.raises(ModelError, match=said):
            read_record(path)
    path.write_bytes(b"\xff" + text.encode())
    with pytest.raises(ModelError, match="not strict JSON"):
        read_record(path)
    path.write_bytes(b" " * (64 * 2**20 + 1))
    with pytest.raises(ModelError, match="larger than 64 MiB"):
        read_record(path)


@pytest.mark.parametrize(
    "path", ["/etc", "../other", "a/../../other", "", "C:x", "a\\b", "a\0b", "~/x"]
)
def test_a_member_outside_the_runs_folder_is_refused(
    path: str, make_record: Make, tmp_path: Path
) -> None:
    fields = sealed(four_kinds(make_record)[2])
    fields["members"][0]["path"] = path  # type: ignore[index]
    with pytest.raises(ModelError, match=r"members|member "):
        read_record(write_fields(tmp_path / "run.json", fields))


def test_a_member_that_is_a_link_out_of_the_folder_is_refused(
    make_record: Make, folds_of: Callable[..., FoldsRun], tmp_path: Path
) -> None:
    inside = write_run(tmp_path / "outer" / "fold-1", make_record())
    outer = write_run(tmp_path / "outer", folds_of(tmp_path / "outer", [inside]))
    assert [run.folder.name for run in outer.walk()] == ["outer", "fold-1"]
    inside.folder.rename(tmp_path / "elsewhere")
    inside.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="a link out of"):
        read_run(outer.folder).open_members()


def test_runs_inside_runs_end_somewhere(
    make_record: Make, folds_of: Callable[..., FoldsRun], tmp_path: Path
) -> None:
    folders = [tmp_path.joinpath(*["in"] * depth) for depth in range(10, -1, -1)]
    run = write_run(folders[0], make_record())
    for folder in folders[1:]:
        run = write_run(folder, folds_of(folder, [run]))
    with pytest.raises(ModelError, match="more than 8 deep"):
        list(run.walk())


def test_a_member_from_elsewhere_is_taken_in_and_outlives_its_source(
    make_record: Make, folds_of: Callable[..., FoldsRun], tmp_path: Path
) -> None:
    runs = [
        write_run(tmp_path / name / "fold-1", make_record(seed=seed))
        for seed, name in enumerate("ab")
    ]
    for run in runs:
        run.weights_path.write_bytes(b"weights")
    outer = write_run(tmp_path / "outer", folds_of(tmp_path / "outer", runs))
    shutil.rmtree(tmp_path / "a")
    assert [member.path for member in outer.record.inside] == ["a", "b"]
    assert [run.weights_path.read_bytes() for run in outer.leaves()] == [b"weights"] * 2


def test_a_graph_names_files_of_its_own_folder_only() -> None:
    for files in ({"../model.xml": "a" * 64}, {"other.xml": "a" * 64}, {}):
        with pytest.raises(ModelError, match=r"graph\.files"):
            replace(graph(), files=files)
    assert not TRIAL.kept


def test_runs_of_0_1_0_are_read_with_the_same_meaning(old_runs: Path) -> None:
    kinds = {
        "trained": TrainedRun,
        "stained": TrainedRun,
        "exported": ExportedRun,
        "folds": FoldsRun,
        "weighted": EnsembleRun,
        "fusion": EnsembleRun,
    }
    for name, kind in kinds.items():
        record = read_run(old_runs / name).record
        assert type(record) is kind
        assert record.train_patients[0] == "14-10001" or record.train_patients[0] == "14-10002"
        assert record.protocol.unit == "patient"
        assert record.task == Task("binary", ("benign", "malignant"), positive="malignant")
    weighted = read_run(old_runs / "weighted").record
    assert isinstance(weighted, EnsembleRun)
    assert sum(weighted.weights) == pytest.approx(1)
    assert weighted.threshold == 0.4988077422768833
    assert "weights" not in weighted.choices
    stained = read_run(old_runs / "stained").record.preprocessing.stain
    assert stained is not None
    assert (stained.method, stained.per) == ("vahadane", "patient")
    assert len(read_run(old_runs / "folds").leaves()) == 3


@pytest.fixture(scope="module")
def drawn_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawn")
    return write_synthetic(folder, SyntheticOptions(patients=12, images=48, size=64, seed=3))


@pytest.mark.parametrize("damaged", ["g.onnx", ["ab", "c"], None, 3])
def test_a_graph_of_0_1_0_that_is_none_is_a_sentence(damaged: object, old_runs: Path) -> None:
    path = old_runs / "exported" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "graph": damaged}))
    with pytest.raises(ModelError, match=r"run\.json"):
        read_run(path.parent)


@pytest.mark.parametrize("name", ["trained", "stained", "weighted", "fusion", "exported"])
def test_runs_of_0_1_0_say_what_they_said(
    name: str, old_runs: Path, drawn_images: list[Path]
) -> None:
    wanted = pd.read_csv(Path(__file__).parent / "written_by_0_1_0" / "malignant.csv")
    found = predict(read_run(old_runs / name), drawn_images, PredictOptions(allow_seen=True))
    frame = found.predictions.frame
    said = frame.set_index(frame["path"].map(lambda path: Path(path).name))["p_malignant"]
    # On another processor a byte after the stain step may be rounded the other way.
    near = 2e-5 if name in ("stained", "weighted") else 2e-6
    np.testing.assert_allclose(said[wanted["file"]], wanted[name], atol=near)
