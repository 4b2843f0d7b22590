"""The stain steps of a study: their words, what they cannot be, and what each of them changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.folder import read_folder
from eosin.errors import ConfigError
from eosin.study.cells import StudyResult
from eosin.study.config import read_study
from eosin.study.plan import Cell, plan
from eosin.study.stains import Staining
from eosin.study.study import run_study, some_of_each
from eosin.study.table import stain_rows, write_study
from eosin.training.config import TrainingConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILE = """
dataset = "breakhis"
protocols = ["image 2-fold", "patient 2-fold"]
backbones = ["test_efficientnet"]
stains = ["none", "macenko", "macenko per patient"]
recipe = "recipe.toml"
weights = "none"
freeze = true
image_size = 32
device = "cpu"
resamples = 100
"""


def study_file(folder: Path, **lines: str) -> Path:
    """The miniature study with some keys set otherwise, and a recipe of quick heads beside it."""
    (folder / "recipe.toml").write_text("probe_c = [0.1]\ninner_folds = 2\n")
    kept = [line for line in FILE.splitlines() if line.partition(" ")[0] not in lines]
    path = folder / "stain.toml"
    path.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in lines.items())]))
    return path


@pytest.fixture(scope="module")
def stained(
    drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyResult, Path]:
    """The miniature study of stain steps, done, and its folder."""
    folder = tmp_path_factory.mktemp("stained")
    images = drawn_breakhis.paths[0].parent
    found = run_study(read_study(study_file(folder), root=images), folder / "out")
    write_study(found, folder / "out")
    return found, folder / "out"


@pytest.mark.parametrize(
    ("text", "method", "per", "jitter", "exchange"),
    [
        ("none", "none", "image", 0.0, 0.0),
        ("vahadane", "vahadane", "image", 0.0, 0.0),
        ("macenko per patient", "macenko", "patient", 0.0, 0.0),
        ("none + jitter 0.2", "none", "image", 0.2, 0.0),
        ("none + exchange 0.5 + jitter 0.1", "none", "image", 0.1, 0.5),
        ("  reinhard  per patient +  jitter 0.2", "reinhard", "patient", 0.2, 0.0),
    ],
)
def test_a_step_is_read_from_its_words(
    text: str, method: str, per: str, jitter: float, exchange: float
) -> None:
    step = Staining.parse(text)
    assert (step.method, step.per, step.jitter, step.exchange) == (method, per, jitter, exchange)


@pytest.mark.parametrize(
    "text",
    [
        "ruifrok",
        "none per patient",
        "macenko per slide",
        "none + jitter",
        "none + jitter 1.5",
        "none + jitter 0",
        "none + blur 0.2",
        "none + jitter 0.1 + jitter 0.2",
        "",
    ],
)
def test_a_step_that_is_unknown_lists_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError, match=r"none, reinhard, macenko, vahadane.*\+ jitter SHARE"):
        Staining.parse(text)


def test_a_step_sets_the_training_and_leaves_the_rest_of_the_recipe() -> None:
    recipe = TrainingConfig(epochs=3, warmup_epochs=0)
    training = Staining.parse("macenko per patient + jitter 0.2").settings(recipe)
    assert (training.stain, training.stain_per, training.stain_jitter) == (
        "macenko",
        "patient",
        0.2,
    )
    assert Staining.parse("none").settings(training) == recipe


def test_jitter_on_a_frozen_network_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    file = study_file(tmp_path, stains='["none", "none + jitter 0.2"]')
    with pytest.raises(ConfigError, match=r"'none \+ jitter 0\.2'.*freeze = true.*study of their"):
        read_study(file, root=tmp_path)


def test_stains_that_a_method_takes_away_cannot_be_exchanged(tmp_path: Path) -> None:
    file = study_file(tmp_path, stains='["vahadane + exchange 0.5"]', freeze="false")
    with pytest.raises(ConfigError, match="takes away the stains"):
        read_study(file, root=tmp_path)


def test_an_unknown_step_in_a_study_names_the_file_and_the_key(tmp_path: Path) -> None:
    file = study_file(tmp_path, stains='["none", "vahadene"]')
    with pytest.raises(ConfigError, match=r"stain\.toml: stains = .*'vahadene' is unknown"):
        read_study(file, root=tmp_path)


def test_a_recipe_with_a_stain_step_of_its_own_would_hide_what_none_means(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    (tmp_path / "recipe.toml").write_text('stain = "macenko"')
    with pytest.raises(ConfigError, match=r"recipe\.toml has a stain step of its own"):
        read_study(file, root=tmp_path)


def test_each_step_has_a_folder_of_its_own_and_none_keeps_the_plain_one(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path), root=tmp_path)
    design = study.config.designs[0]
    names = [
        Cell.single(design, 7, "test_efficientnet", stain=text).name
        for text in ("none", "macenko per patient", "none + jitter 0.2")
    ]
    assert names == [
        "image_2-fold/seed-7/test_efficientnet",
        "image_2-fold/seed-7/macenko_per_patient/test_efficientnet",
        "image_2-fold/seed-7/none+jitter_0.2/test_efficientnet",
    ]


def test_the_runs_of_a_study_hold_the_step_that_their_cell_names(
    stained: tuple[StudyResult, Path],
) -> None:
    found, _ = stained
    assert found.failures == ()
    steps = {}
    for result in found.results:
        fold = result.run.open_members()[0]
        step = fold.record.preprocessing.stain
        steps[result.cell.stain] = step and (step.method, step.per)
    assert steps == {
        "none": None,
        "macenko": ("macenko", "image"),
        "macenko per patient": ("macenko", "patient"),
    }


def test_every_step_is_set_beside_none_under_its_own_protocol(
    stained: tuple[StudyResult, Path],
) -> None:
    found, folder = stained
    rows = stain_rows(found.results, resamples=100)
    assert [(row.protocol, row.stain) for row in rows] == [
        ("image-level (leaky), 2-fold", "macenko"),
        ("image-level (leaky), 2-fold", "macenko per patient"),
        ("patient-level, 2-fold", "macenko"),
        ("patient-level, 2-fold", "macenko per patient"),
    ]
    table = pd.read_csv(folder / "study.csv")
    plain = table[table["level"] == "image"].set_index(["protocol", "stain"])["accuracy"]
    for row in rows:
        gain = plain[row.protocol, row.stain] - plain[row.protocol, "none"]
        assert row.effects[0].change.value == pytest.approx(gain)


def test_the_page_and_a_table_beside_it_say_what_the_steps_change(
    stained: tuple[StudyResult, Path],
) -> None:
    _, folder = stained
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert "What stain normalisation changes" in page
    assert "48 images of 12 patients at patient level" in page
    effects = pd.read_csv(folder / "stain-effects.csv")
    assert len(effects) == 2 * 2 * 3  # steps, protocols, figures
    assert set(effects["patients"]) == {12}


def test_a_study_without_stain_steps_has_no_such_section(
    stained: tuple[StudyResult, Path], tmp_path: Path
) -> None:
    found, _ = stained
    plain = tuple(result for result in found.results if result.cell.stain == "none")
    page, _ = write_study(
        StudyResult(found.study, found.images, found.patients, plain, ()), tmp_path
    )
    assert "What stain" not in page.read_text(encoding="utf-8")
    assert not (tmp_path / "stain-effects.csv").exists()


def test_a_study_may_take_some_images_of_each_patient_and_says_how_many(
    drawn_breakhis: Manifest,
) -> None:
    some = some_of_each(drawn_breakhis, 2)
    counts = some.frame["patient"].value_counts()
    assert set(some.patients) == set(drawn_breakhis.patients)
    assert counts.max() == 2
    assert some.notes[-1] == (
        f"At most 2 images of each patient, drawn at random: {counts.sum()} of 48."
    )
    assert some_of_each(drawn_breakhis, 2).fingerprint == some.fingerprint


def test_images_without_patients_cannot_be_drawn_by_patient(drawn_breakhis: Manifest) -> None:
    folder = drawn_breakhis.paths[0].parent.parent
    with pytest.raises(ConfigError, match="patient_pattern"):
        some_of_each(read_folder(folder).manifest, 2)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("study-stain.toml", 6),
        ("study-stain-idc.toml", 5),
        ("study-stain-jitter.toml", 4),
        ("study-stain-published.toml", 2),
    ],
)
def test_the_shipped_studies_of_stain_put_every_step_under_both_protocols(
    name: str, steps: int
) -> None:
    study = read_study(CONFIGS / name, root=Path())
    cells = plan(study)
    assert {cell.design.by for cell in cells} == {"image", "patient"}
    assert len({cell.stain for cell in cells}) == steps
    assert len(cells) == 2 * steps * len(study.config.backbones)
