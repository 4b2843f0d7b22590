"""The parts of a study without any training: protocols, plans, keys, what is kept, its table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.artefacts.run import TrainedRun
from eosin.data.splits import split_by_fractions
from eosin.errors import ConfigError, DataError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.networks.run import Run
from eosin.protocol import Protocol
from eosin.study import estimate
from eosin.study.cells import Result, Workshop, cells_work, divide, reason_of
from eosin.study.config import Design, StudyFile, read_study
from eosin.study.kept import comparison_groups, heatmap_groups, make_once
from eosin.study.plan import Cell, plan, trainings
from eosin.study.scaling import Times, scale
from eosin.study.table import draws_rows, leakage_rows, result_frame, result_rows, title_of

LEAKY, HONEST = Protocol("image", "3-fold", leaky=True), Protocol("patient", "3-fold")
DESIGNS = {"image 3-fold": LEAKY, "patient 3-fold": HONEST}


@pytest.fixture
def study(tmp_path: Path, miniature: str) -> Callable[..., StudyFile]:
    """The miniature study with some of its lines written otherwise."""

    def read(*changes: tuple[str, str], **options: object) -> StudyFile:
        text = miniature
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "s.toml").write_text(text)
        return read_study(tmp_path / "s.toml", root=tmp_path, **options)  # type: ignore[arg-type]

    return read


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("accession 5-fold", {"by": "patient", "folds": 5, "fractions": ()}),
        ("image 70/15/15", {"by": "image", "folds": None, "fractions": (0.70, 0.15, 0.15)}),
        ("official 85/15", {"by": "image", "fractions": (0.85, 0.15)}),
        ("training 70/15/15", {"by": "image", "drop_test": True, "keep_test": False}),
        ("training 5-fold", {"by": "image", "folds": 5, "drop_test": True}),
        ("official 85/15", {"keep_test": True, "drop_test": False, "slug": "official_85-15"}),
        ("scanner leave-one-out", {"by": "scanner", "leave_one_out": True, "folds": None}),
        ("site 2-fold", {"by": "site", "leave_one_out": False, "folds": 2}),
        ("  patient 5-fold ", {"text": "patient 5-fold", "slug": "patient_5-fold"}),
        ("eva-clean", {"eva": "eva-clean", "by": "patient", "folds": None, "slug": "eva-clean"}),
        ("patient 5-fold", {"eva": None}),
    ],
)
def test_a_protocol_says_what_it_keeps_whole_and_what_becomes_of_the_test_set(
    text: str, facts: dict[str, object]
) -> None:
    design = Design.parse(text)
    assert {name: getattr(design, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("patient 70/15/16", "want 3 shares that sum to 100"),
        ("patient 70/30", "want 3 shares that sum to 100"),
        ("official 70/15/15", "want 2 shares that sum to 100"),
        ("patient five-fold", "no folds and no shares"),
        ("official 5-fold", "no folds and no shares"),
        ("patient 1-fold", "no folds and no shares"),
        ("site 0-fold", "no folds and no shares"),
        ("image", "no folds and no shares"),
        ("hospital 5-fold", "'hospital' is none of"),
        ("eva-dirty", "'eva-dirty' is none of"),
        ("", "'' is none of"),
    ],
)
def test_a_protocol_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf'{why}.*want e\.g\. "patient 5-fold"'):
        Design.parse(text)


def test_each_protocol_divides_the_images_as_it_says(drawn_breakhis: Manifest) -> None:
    tested = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=1)
    held = set(tested.frame[tested.frame["split"] == "test"]["path"])
    kept = divide(tested, Design.parse("official 80/20"), 3).frame
    assert set(kept[kept["split"] == "test"]["path"]) == held
    dropped = divide(tested, Design.parse("training 3-fold"), 3)
    assert not held & set(dropped.frame["path"])
    assert dropped.folds == (1, 2, 3)
    folds = divide(drawn_breakhis, Design.parse("patient 3-fold"), 3)
    assert folds.protocol.name == "patient-level, 3-fold"
    assert (
        folds.fingerprint == divide(drawn_breakhis, Design.parse("patient 3-fold"), 3).fingerprint
    )
    assert (
        folds.fingerprint != divide(drawn_breakhis, Design.parse("patient 3-fold"), 4).fingerprint
    )


def test_cells_are_planned_by_protocol_seed_and_step_with_ensembles_after_their_members(
    study: Callable[..., StudyFile],
) -> None:
    found = study(
        ("seeds = [7]", 'seeds = [7, 8]\nstains = ["none", "macenko"]'),
        ('votes = ["soft", "weighted"]', 'votes = ["soft"]\ngroups = ["all"]'),
    )
    cells = plan(found)
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * 2 * 3
    keys = [(cell.design.text, cell.seed, cell.stain) for cell in cells]
    assert keys == sorted(keys, key=lambda key: list(dict.fromkeys(keys)).index(key))
    assert [cell.model for cell in cells[:3]] == ["test_efficientnet", "test_resnet", "all soft"]
    assert trainings(cells) == 2 * 2 * 2 * 2 * 3
    for row, cell in enumerate(cells):
        assert all(cells.index(member) < row for member in cell.members)
        assert len(cell.members) == (2 if cell.vote else 0)
    assert cells[5].name == "image_3-fold/seed-7/macenko/all_soft"


def test_backbones_of_the_command_line_take_the_place_of_the_files(
    study: Callable[..., StudyFile],
) -> None:
    cells = plan(study(backbones=["test_vit"]))
    assert {cell.model for cell in cells} == {"test_vit"}  # one alone makes no ensemble


def test_a_family_of_several_votes_and_all_of_one_family_are_no_second_group(
    study: Callable[..., StudyFile],
) -> None:
    one = study(('"test_resnet"', '"test_efficientnet@stride8"'))
    names = {cell.model for cell in plan(one) if cell.vote == "soft"}
    assert names == {"efficientnet soft"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"design": Design.parse("patient 5-fold")},
        {"stain": "macenko"},
        {"backbones": ("test_resnet",)},
        {"vote": "soft"},
    ],
)
def test_a_cells_key_differs_with_each_part_of_the_question(
    change: dict[str, object], study: Callable[..., StudyFile]
) -> None:
    training = study().training
    cell = Cell.single(Design.parse("patient 3-fold"), 7, "test_efficientnet")
    keys = [each.key(training, "f", 200) for each in (cell, replace(cell, **change))]  # type: ignore[arg-type]
    assert keys[0] != keys[1]
    other = training.with_overrides({"inner_folds": 4})
    asked = [(training, "f", 200), (training, "f", 201), (training, "g", 200), (other, "f", 200)]
    assert len({cell.key(*each) for each in asked}) == 4


def test_a_cell_waits_for_its_members_and_for_the_one_whose_features_it_shares(
    study: Callable[..., StudyFile], drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    frozen = study()
    cells = plan(frozen)
    work = cells_work(Workshop(frozen, drawn_breakhis, tmp_path), cells)
    assert work.after is not None
    for row, cell in enumerate(cells):
        before = {cells[k] for k in work.after[row]}
        if cell.vote:
            assert before == set(cell.members)
        else:
            assert all(each.backbones == cell.backbones for each in before)
    assert [work.after[row] for row in (0, 4)] == [[], [0]]  # the second protocol, same features
    tuned = study(("freeze = true", "freeze = false"), ("heatmaps = 2", "epochs = 1"))
    alone = cells_work(Workshop(tuned, drawn_breakhis, tmp_path), plan(tuned))
    assert alone.after is not None
    assert alone.after[4] == []


def test_a_reason_is_our_own_sentence_or_the_kind_of_a_librarys_error() -> None:
    assert reason_of(DataError("x.png: is empty")) == "x.png: is empty"
    assert reason_of(RuntimeError("out of memory")) == "RuntimeError: out of memory"


def test_what_is_made_is_made_once_and_again_where_its_facts_change(tmp_path: Path) -> None:
    made: list[int] = []

    def make(fault: bool = False) -> None:
        made.append(len(made))
        if fault:
            raise OSError("no room")

    assert make_once(tmp_path, {"images": 2}, make)
    assert not make_once(tmp_path, {"images": 2}, make)
    assert make_once(tmp_path, {"images": 3}, make)
    with pytest.raises(OSError, match="no room"):
        make_once(tmp_path, {"images": 4}, lambda: make(True))
    assert make_once(tmp_path, {"images": 3}, make)  # what failed left no proof of the old one
    assert len(made) == 4
    assert json.loads((tmp_path / "made-from.json").read_text())["facts"] == {"images": 3}


@pytest.fixture(scope="module")
def result(
    patients_table: Callable[..., Predictions], make_record: Callable[..., TrainedRun]
) -> Callable[..., Result]:
    """A finished cell of twelve patients of four images, of which so many are right."""

    @cache
    def scored(protocol: str, right: int) -> dict[str, Any]:
        truth = np.where(np.tile(np.arange(4) < right, (12, 1)), 0.8, 0.2)
        table = patients_table(truth, Provenance(protocol=DESIGNS[protocol], dataset="breakhis"))
        image, patient = (
            evaluate_predictions(table, level=level, resamples=40)  # type: ignore[arg-type]
            for level in ("image", "patient")
        )
        return {"predictions": table, "image": image, "patient": patient}

    def make(model: str, protocol: str, right: int, **changes: object) -> Result:
        cell = replace(Cell.single(Design.parse(protocol), 7, model), **changes)  # type: ignore[arg-type]
        run = Run(Path("/study/cells") / cell.name / "run", make_record(), "0" * 64)
        return Result(cell=cell, run=run, seconds=12.5, **scored(protocol, right))

    return make


def test_the_table_has_a_row_a_model_and_level_with_the_figures_of_its_evaluation(
    result: Callable[..., Result], tmp_path: Path
) -> None:
    found = [
        result("test_resnet", "patient 3-fold", 3, stain="macenko"),
        replace(result("test_resnet", "image 3-fold", 4), patient=None),
    ]
    frame = result_frame(found)
    assert list(frame["level"]) == ["image", "patient", "image"]
    assert list(frame["leaky"]) == [False, False, True]
    assert list(frame["stain"]) == ["macenko", "macenko", "none"]
    assert list(frame["accuracy"]) == [0.75, 1.0, 1.0]
    assert list(frame["images"]) == [48] * 3
    assert list(frame["seconds"]) == [12.5] * 3
    assert [title_of(each) for each in found] == ["test_resnet, macenko", "test_resnet"]
    names = [row.name for row in result_rows(found, tmp_path)]
    assert names == ["test_resnet\nmacenko, seed 7"] * 2 + ["test_resnet\nseed 7"]
    assert not any(row.report for row in result_rows(found, tmp_path))  # no page lies there


def test_leakage_pairs_a_leaky_result_with_its_twin_of_model_seed_and_step(
    result: Callable[..., Result],
) -> None:
    found = [
        result("test_resnet", "image 3-fold", 4),
        result("test_vit", "image 3-fold", 4),  # no honest twin
        result("test_resnet", "patient 3-fold", 2),
        result("test_resnet", "patient 3-fold", 1, stain="macenko"),
        result("test_resnet", "patient 3-fold", 3, seed=8),
    ]
    (row,) = leakage_rows(found, resamples=40)
    assert row.model == "test_resnet, seed 7"  # there are several seeds
    accuracy = row.leaks[0]
    assert (accuracy.leaky, accuracy.honest, accuracy.added.value) == (1.0, 0.5, 0.5)
    assert (row.leaky_protocol, row.honest_protocol) == (LEAKY.name, HONEST.name)
    assert leakage_rows(found[2:], resamples=40) == ()


def test_draws_are_of_models_that_have_every_seed_of_folds(result: Callable[..., Result]) -> None:
    found = [
        result(model, "patient 3-fold", right, seed=seed)
        for model, right, seeds in (
            ("test_resnet", 2, (7, 8, 9)),
            ("test_vit", 3, (7, 8, 9)),
            ("test_efficientnet", 3, (7, 8)),
        )
        for seed in seeds
    ]
    first, second = draws_rows(found, resamples=40)
    assert (first.model, first.against, first.gains) == ("test_resnet", "", ())
    assert (second.model, second.against) == ("test_vit", "test_resnet")
    assert first.figures[0].mean.value == 0.5
    assert second.gains[0].mean.value == 0.25
    assert draws_rows([found[0], found[3]], resamples=40) == ()  # one seed of each


def test_models_are_compared_by_protocol_and_seed_and_drawn_by_stain_step_too(
    result: Callable[..., Result],
) -> None:
    found = [
        result("test_resnet", "patient 3-fold", 3),
        result("test_resnet", "patient 3-fold", 3, stain="macenko"),
        result("test_vit", "patient 3-fold", 3, vote="soft"),
        result("test_vit", "patient 3-fold", 3, seed=8),
    ]
    assert comparison_groups(found) == [found[:3]]  # one alone is compared with nobody
    assert heatmap_groups(found) == [[found[0]], [found[1]], [found[3]]]


@pytest.mark.parametrize(
    ("freeze", "passes"),
    # of 48 images each; of 2 epochs, 3 folds, and three times a forward pass for a training step
    [(True, (1, 0)), (False, (2 * 3 * 3, 2 * 3 * 3))],
)
def test_a_frozen_backbone_pays_for_each_image_once_and_a_tuned_one_every_epoch_and_fold(
    freeze: bool,
    passes: tuple[int, int],
    study: Callable[..., StudyFile],
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = study(
        ("freeze = true", f"freeze = {str(freeze).lower()}"),
        ("heatmaps = 2", "epochs = 2"),
        ('"test_efficientnet", "test_resnet"', '"test_resnet"'),
        ('votes = ["soft", "weighted"]', "votes = []"),
    )
    clock = SimpleNamespace(perf_counter=iter(range(1000)).__next__)  # a second at each look
    monkeypatch.setattr(estimate, "time", clock)
    found = estimate.estimate_study(replace(made, root=images), tmp_path)
    assert (found.cells, found.trainings, found.faults) == (2, 6, {})
    image = 1 / 4  # a batch of four a second
    hours = [count * 48 * image / 3600 for count in passes]
    assert found.protocols["hours"].tolist() == pytest.approx(hours)
    assert found.networks["hours"].tolist() == pytest.approx([sum(hours)])
    assert found.seconds == pytest.approx(3600 * sum(hours))


def test_more_workers_are_never_slower_and_never_more_efficient() -> None:
    times = Times(blocks=137, block=2.0, driver=0.2, start=3.0, stragglers=0.1, slowness=4.0)
    found = [scale(times, workers, seed=5) for workers in (1, 2, 3, 7, 20, 200)]
    for less, more in pairwise(found):
        assert more.seconds <= less.seconds + 1e-9
        assert 0 < more.efficiency <= less.efficiency + 1e-9 <= 1 + 1e-9
    assert all(each.seconds >= times.blocks * times.driver for each in found)
    assert scale(times, 7, seed=5) == found[3]
