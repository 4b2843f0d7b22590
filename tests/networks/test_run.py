"""A Run folder: its files, its members, what its networks are called, what is taken into it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eosin.artefacts.codec import with_changes
from eosin.artefacts.graph import Graph, Parity
from eosin.artefacts.run import Bag, EnsembleRun, ExportedRun, FoldsRun, TrainedRun
from eosin.errors import ModelError
from eosin.files import sha256_of
from eosin.networks.run import RECORD_NAME, WEIGHTS_NAME, Run, read_run, write_run
from eosin.networks.taking_in import take_in

Make = Callable[..., TrainedRun]
FoldsOf = Callable[[Path, Sequence[Run]], FoldsRun]


@pytest.fixture
def kept(make_record: Make) -> Callable[..., Run]:
    """Writes a Run whose weights are these bytes."""

    def keep(folder: Path, data: bytes = b"weights", **changes: object) -> Run:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS_NAME).write_bytes(data)
        digest = sha256_of(folder / WEIGHTS_NAME)
        return write_run(folder, make_record(weights_sha256=digest, **changes))

    return keep


def exported(folder: Path, record: TrainedRun) -> Run:
    folder.mkdir()
    for name in ("model.onnx", "model.onnx.data"):
        (folder / name).write_bytes(name.encode())
    graph = Graph(
        format="onnx",
        precision="fp32",
        files={path.name: sha256_of(path) for path in folder.iterdir()},
        outputs=("logits", "features"),
        map_size=None,
        no_maps="tokens",
        family="vit",
        parity=Parity(16, "synthetic tissue", "onnxruntime", 0.0),
    )
    own = {**dict(record), "kind": "run/exported", "graph": graph}
    return write_run(folder, ExportedRun.model_validate(own))


def test_a_run_is_read_back_as_it_was_written_and_its_record_marks_it_finished(
    tmp_path: Path, kept: Callable[..., Run]
) -> None:
    run = kept(tmp_path / "run")
    assert read_run(tmp_path / "run") == read_run(str(tmp_path / "run")) == run
    assert run.sha256 == sha256_of(tmp_path / "run" / RECORD_NAME)
    assert (
        str(run) == f"Run {tmp_path / 'run'} (trained): test_efficientnet; patient-level, 70/15/15"
    )
    (tmp_path / "run" / RECORD_NAME).unlink()
    with pytest.raises(ModelError, match=r"not a finished Run \(no run\.json\); finish it with"):
        read_run(tmp_path / "run")


def test_each_kind_of_run_knows_the_files_that_it_is_loaded_from(
    tmp_path: Path, kept: Callable[..., Run], make_record: Make, folds_of: FoldsOf
) -> None:
    trained = kept(tmp_path / "trained")
    graph = exported(tmp_path / "graph", trained.record)
    folds = write_run(tmp_path / "folds", folds_of(tmp_path / "folds", [trained]))
    gated = Bag(aggregator="abmil", share=None, attention_sha256="d" * 64)
    slides = kept(tmp_path / "slides", bag=gated)
    digest = sha256_of(trained.weights_path)
    assert trained.files == {WEIGHTS_NAME: digest}
    assert set(graph.files) == {"model.onnx", "model.onnx.data"}
    assert folds.files == {}
    assert slides.files == {WEIGHTS_NAME: digest, "attention.safetensors": "d" * 64}
    assert [run.exported for run in (trained, graph, folds)] == [False, True, False]
    assert graph.graph is not None
    assert trained.graph is None


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        (WEIGHTS_NAME, "lost", r"model\.safetensors: missing; copy the whole folder again"),
        (WEIGHTS_NAME, "changed", r"model\.safetensors: changed since run\.json was written"),
        (RECORD_NAME, "lost", r"run\.json: changed while the Run was in use; start anew"),
        (RECORD_NAME, "changed", r"run\.json: changed while the Run was in use; start anew"),
    ],
)
def test_a_run_that_is_no_longer_what_was_read_is_refused(
    name: str, fault: str, said: str, tmp_path: Path, kept: Callable[..., Run]
) -> None:
    run = kept(tmp_path / "run")
    run.require_unchanged()
    path = run.folder / name
    if fault == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match=said):
        run.require_unchanged()


def test_a_fault_of_a_member_is_found_from_the_outside(
    tmp_path: Path, kept: Callable[..., Run], folds_of: FoldsOf
) -> None:
    runs = [kept(tmp_path / name, name.encode(), fold=n) for n, name in enumerate("abc")]
    outer = write_run(tmp_path / "outer", folds_of(tmp_path / "outer", runs))
    outer.require_intact()
    (tmp_path / "outer" / "c" / WEIGHTS_NAME).unlink()
    outer.require_files()  # its own
    with pytest.raises(ModelError, match=r"outer/c/model\.safetensors: missing"):
        outer.require_intact()
    write_run(tmp_path / "outer" / "b", with_changes(runs[1].record, seed=7))
    with pytest.raises(ModelError, match=r"outer/b: changed since it became a member of .*outer"):
        read_run(tmp_path / "outer").open_members()
    (tmp_path / "outer" / "a" / RECORD_NAME).unlink()
    with pytest.raises(ModelError, match=r"outer/a: member of .*outer is missing; put it back"):
        read_run(tmp_path / "outer").leaves()


def test_networks_are_called_by_as_much_of_their_folder_as_tells_them_apart(
    tmp_path: Path, kept: Callable[..., Run], folds_of: FoldsOf
) -> None:
    single, fold = kept(tmp_path / "bh"), kept(tmp_path / "cv" / "fold-2", fold=2)
    assert single.frame()["model"].tolist() == ["bh"]
    assert fold.frame()["model"].tolist() == ["cv/fold-2"]
    pairs = []
    for outer, seed in (("x", 1), ("y", 3)):
        home = tmp_path / "whole" / outer
        inner = [kept(home / "in" / f"fold-{n}", fold=n, seed=seed) for n in (1, 2)]
        write_run(home / "in", folds_of(home / "in", inner))
        pairs.append(write_run(home, folds_of(home, [read_run(home / "in")])))
    pairs.append(kept(tmp_path / "whole" / "z", seed=5))
    whole = write_run(tmp_path / "whole", folds_of(tmp_path / "whole", pairs))
    frame = whole.frame()
    assert frame["model"].tolist() == [
        *("x/in/fold-1", "x/in/fold-2", "y/in/fold-1", "y/in/fold-2", "whole/z")
    ]
    assert frame["fold"].tolist()[:4] == [1, 2, 1, 2]
    assert frame[["train_patients", "val_patients", "size"]].to_numpy().tolist() == [[2, 1, 64]] * 5


def test_the_same_network_inside_twice_is_one(
    tmp_path: Path, kept: Callable[..., Run], folds_of: FoldsOf
) -> None:
    run = kept(tmp_path / "a")
    twice = write_run(tmp_path / "twice", folds_of(tmp_path / "twice", [run, run]))
    assert [member.path for member in twice.record.inside] == ["a", "a-2"]
    assert len(list(twice.walk())) == 3
    assert [leaf.folder.name for leaf in twice.leaves()] == ["a"]


def test_members_from_elsewhere_get_names_of_their_own_and_those_inside_keep_theirs(
    tmp_path: Path, kept: Callable[..., Run]
) -> None:
    outer = tmp_path / "outer"
    runs = [
        kept(tmp_path / "x" / "bh", seed=1),
        kept(tmp_path / "y" / "bh", seed=2),
        kept(tmp_path / "cv" / "fold-1", seed=3),
        kept(tmp_path / "cv" / "fold-2", seed=4),
        kept(outer / "deep" / "own", seed=5),
    ]
    members = take_in(outer, runs)
    assert [each.path for each in members] == ["bh", "bh-2", "cv", "cv-2", "deep/own"]
    assert [each.sha256 for each in members] == [run.sha256 for run in runs]
    for member, run in zip(members, runs, strict=True):
        assert read_run(outer / member.path).record == run.record


def test_a_run_that_lies_where_a_member_would_go_is_never_written_over(
    tmp_path: Path, kept: Callable[..., Run]
) -> None:
    inside = kept(tmp_path / "study" / "bh", b"of the study", seed=1)
    other = kept(tmp_path / "other" / "bh", b"of the other", seed=2)
    for runs, paths in (
        ([inside, other], ["bh", "bh-2"]),
        ([other, inside], ["bh-2", "bh"]),
        ([other], ["bh-2"]),  # and so it is when the study's own is no member
    ):
        assert [each.path for each in take_in(tmp_path / "study", runs)] == paths
        assert inside.weights_path.read_bytes() == b"of the study"
        inside.require_unchanged()
        read_run(tmp_path / "study" / "bh-2").require_intact()
    assert not (tmp_path / "study" / "bh-3").exists()  # a second time it is the same one


def test_a_member_is_linked_with_its_learning_curve_or_copied_and_stays_as_it_was(
    tmp_path: Path, kept: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept(tmp_path / "bh")
    (run.folder / "history.csv").write_text("epoch\n")
    (run.folder / "predictions.csv").write_text("path\n")
    take_in(tmp_path / "linked", [run])
    here = tmp_path / "linked" / "bh"
    assert sorted(path.name for path in here.iterdir()) == [
        *("history.csv", WEIGHTS_NAME, RECORD_NAME)
    ]
    assert (here / WEIGHTS_NAME).samefile(run.weights_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    take_in(tmp_path / "copied", [run])
    there = tmp_path / "copied" / "bh"
    assert not (there / WEIGHTS_NAME).samefile(run.weights_path)
    assert (there / WEIGHTS_NAME).read_bytes() == b"weights"
    kept(tmp_path / "again", b"other weights").weights_path.replace(run.weights_path)
    for folder in (here, there):  # the source was trained again
        read_run(folder).require_intact()


def test_a_run_of_members_is_taken_in_whole(
    tmp_path: Path, kept: Callable[..., Run], folds_of: FoldsOf
) -> None:
    runs = [kept(tmp_path / name, name.encode(), seed=n) for n, name in enumerate("ab")]
    pair = write_run(tmp_path / "pair", folds_of(tmp_path / "pair", runs))
    (member,) = take_in(tmp_path / "outer", [pair])
    taken = read_run(tmp_path / "outer" / member.path)
    taken.require_intact()
    assert [leaf.weights_path.read_bytes() for leaf in taken.leaves()] == [b"a", b"b"]
    fused = EnsembleRun.model_validate(
        {
            **{k: v for k, v in dict(pair.record).items() if k not in ("kind", "members")},
            "vote": "fusion",
            "weights": (),
            "weights_sha256": "0" * 64,
            "members": pair.record.inside,
        }
    )
    with pytest.raises(ModelError, match=r"pair/model\.safetensors: missing"):
        write_run(tmp_path / "pair", fused).require_files()
