"""What may be written over what: a file of the same kind that eosin wrote, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.outputs import (
    ERRORS,
    MANIFEST,
    PAGE,
    PICTURE,
    PREDICTIONS,
    WEIGHTS,
    Output,
    document,
    require_output,
    require_output_folder,
    table,
)
from eosin.artefacts.predictions import make_predictions
from eosin.errors import ConfigError, DiskError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.files import write_json, write_text
from eosin.networks.classifier import build_classifier, save_classifier
from eosin.pixels.reading import SkippedFile, write_error_table
from eosin.reporting.canvas import new_figure, write_png
from eosin.reporting.html import render

KINDS: dict[str, Output] = {
    "manifest": MANIFEST,
    "predictions": PREDICTIONS,
    "errors": ERRORS,
    "evaluation": document("evaluation"),
    "bench": document("bench"),
    "page": PAGE,
    "picture": PICTURE,
    "weights": WEIGHTS,
}


@pytest.fixture(scope="module")
def written(drawn_breakhis: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of every kind, as eosin writes it."""
    folder = tmp_path_factory.mktemp("written")
    drawn_breakhis.write(folder / "manifest")
    values = np.full((len(drawn_breakhis), 2), 0.5)
    predictions = make_predictions(drawn_breakhis.frame, values, task=drawn_breakhis.task)
    predictions.write(folder / "predictions")
    write_error_table([SkippedFile(Path("a.png"), "is empty")], folder / "errors")
    evaluate_predictions(predictions, resamples=100).write(folder / "evaluation")
    write_json(folder / "bench", {"kind": "bench", "format_version": 1})
    page = {"title": "t", "ribbon": None, "contents": ()}
    write_text(folder / "page", render("page.html", page))
    write_png(new_figure()[0], folder / "picture")
    save_classifier(build_classifier("test_efficientnet", classes=2, seed=0), folder / "weights")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_replaced_by_one_of_its_own_kind_and_by_no_other(
    kind: str, written: Path
) -> None:
    for name in KINDS:
        if name == kind:
            require_output(written / name, KINDS[kind])
        else:
            with pytest.raises(ConfigError, match=f"{name}: lies there already and is no "):
                require_output(written / name, KINDS[kind])


STRANGERS: dict[str, bytes] = {
    "image": cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes(),
    "table": b"name,grade\nA,1\n",
    "words": "Müller told me".encode(),
    "latin": "Müller".encode("latin-1"),
    "JSON": b'{"kind": "package"}',
    "broken JSON": b'{"kind": "evaluation"',
    "HTML": b"<!DOCTYPE html><title>eosin</title>",
    "bytes": bytes(range(256)) * 9,
    "NULs": bytes(5000),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_eosin_did_not_write_is_never_replaced(stranger: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(STRANGERS[stranger])
    for kind in KINDS.values():
        with pytest.raises(ConfigError, match="name another output, or move that one away"):
            require_output(path, kind)
        with pytest.raises(ConfigError):
            require_output_folder(tmp_path, {"out": kind})
    assert path.read_bytes() == STRANGERS[stranger]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_and_an_empty_file_may_be_written_over(kind: str, tmp_path: Path) -> None:
    require_output(tmp_path / "new" / "out", KINDS[kind])
    (tmp_path / "empty").touch()
    require_output(tmp_path / "empty", KINDS[kind])
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_table_without_rows_of_an_earlier_study_is_replaced(tmp_path: Path) -> None:
    path, kind = tmp_path / "study.csv", table("table of a study", "model")
    pd.DataFrame([]).to_csv(path, index=False)
    require_output(path, kind)
    path.write_text("scanner\nA\n")
    with pytest.raises(ConfigError, match=r"study\.csv"):
        require_output(path, kind)


def test_an_edited_manifest_is_one_whatever_the_order_of_its_columns(
    written: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(written / "manifest", dtype=str)
    frame[sorted(frame.columns)].assign(scanner="A").to_csv(tmp_path / "m.csv", index=False)
    require_output(tmp_path / "m.csv", MANIFEST)


def linked(written: Path, folder: Path) -> Path:
    (folder / "link").symlink_to(written)
    return folder / "link"


def hard_linked(written: Path, folder: Path) -> Path:
    os.link(written, folder / "twin")
    return folder / "twin"


def roundabout(written: Path, folder: Path) -> Path:
    return written.parent / ".." / written.parent.name / written.name


@pytest.mark.parametrize("spelt", [linked, hard_linked, roundabout])
def test_an_input_is_known_however_it_is_spelt(
    spelt: Callable[[Path, Path], Path], written: Path, tmp_path: Path
) -> None:
    path = written / "evaluation"
    with pytest.raises(ConfigError, match="is an input of this command"):
        require_output(spelt(path, tmp_path), document("evaluation"), inputs=[path])


def test_a_companion_may_not_be_an_input_or_a_folder(written: Path, tmp_path: Path) -> None:
    sidecar = tmp_path / "p.csv.meta.json"
    sidecar.symlink_to(written / "evaluation")
    with pytest.raises(ConfigError, match="is an input"):
        require_output(
            tmp_path / "p.csv", PREDICTIONS, inputs=[written / "evaluation"], beside=[sidecar]
        )
    sidecar.unlink()
    sidecar.mkdir()
    with pytest.raises(DiskError, match=r"p\.csv\.meta\.json: is a folder"):
        require_output(tmp_path / "p.csv", PREDICTIONS, beside=[sidecar])


def test_the_records_of_a_run_and_its_out_of_fold_table_are_inputs_but_not_what_was_made_with_it(
    written: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(Path(__file__).parent / "written_by_0_1_0" / "runs", runs)
    (member, *_) = json.loads((runs / "folds" / "run.json").read_text())["members"]
    for folder in (runs / "folds", runs / "trained"):
        shutil.copy(written / "predictions", folder / "predictions.csv")
    shutil.copy(written / "predictions", runs / "folds" / member["path"] / "new.csv")
    require_output(
        runs / "folds" / member["path"] / "new.csv", PREDICTIONS, inputs=[runs / "folds"]
    )
    require_output(runs / "trained" / "predictions.csv", PREDICTIONS, inputs=[runs / "trained"])
    for name in ("predictions.csv", "run.json", f"{member['path']}/run.json"):
        with pytest.raises(ConfigError, match="is an input of this command"):
            require_output(runs / "folds" / name, PREDICTIONS, inputs=[runs / "folds"])


def test_a_picture_in_a_folder_of_images_that_is_read_is_not_replaced(
    written: Path, tmp_path: Path
) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    picture = tmp_path / "images" / "a" / "SOB_B_A-14-1-100-001.png"
    picture.write_bytes((written / "picture").read_bytes())
    with pytest.raises(ConfigError, match="is an input"):
        require_output(picture, PICTURE, inputs=[tmp_path / "images"])
    require_output(tmp_path / "images" / "a" / "sheet.png", PICTURE, inputs=[tmp_path / "images"])


def test_a_folder_that_holds_a_run_is_for_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a Run; name another folder"):
        require_output_folder(tmp_path, {})
    require_output_folder(tmp_path, {}, run=True)


def test_pictures_that_are_read_are_not_drawn_over(tmp_path: Path) -> None:
    overlays = tmp_path / "cams" / "overlays"
    overlays.mkdir(parents=True)
    holds = {"overlays": None}
    for read in (overlays / "a.png", overlays, tmp_path / "cams", tmp_path):
        with pytest.raises(ConfigError, match=r"overlays: would be written, and .* is read"):
            require_output_folder(tmp_path / "cams", holds, inputs=[read])
    require_output_folder(tmp_path / "cams", holds, inputs=[tmp_path / "cams" / "new.png"])


def test_a_folder_that_is_the_commands_own_may_hold_no_input(tmp_path: Path) -> None:
    (tmp_path / "out" / "run").mkdir(parents=True)
    with pytest.raises(ConfigError, match="out/run is read"):
        require_output_folder(tmp_path / "out", {}, inputs=[tmp_path / "out" / "run"], whole=True)
    require_output_folder(tmp_path / "out" / "run", {}, inputs=[tmp_path / "out"], whole=True)


def test_a_name_that_records_cannot_hold_is_refused(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.csv"), "a\0b.csv"):
        with pytest.raises(ConfigError, match="not a name in UTF-8"):
            require_output(tmp_path / name, PREDICTIONS)


def test_a_mark_counts_where_a_file_of_that_kind_has_it(written: Path, tmp_path: Path) -> None:
    picture = (written / "picture").read_bytes()
    (tmp_path / "archive").write_bytes(b"other bytes" + picture)  # a picture inside of something
    with pytest.raises(ConfigError, match="is no PNG picture"):
        require_output(tmp_path / "archive", PICTURE)
    page = (written / "page").read_bytes()
    (tmp_path / "page").write_bytes(b"<!-- saved by a browser -->" + page)
    require_output(tmp_path / "page", PAGE)


@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [
        *(("out", "out/a.png"), ("out", "out/sub/a.png"), ("out", "out"), ("./out", "out")),
        *(("link", "out/a.png"), ("out", "link/a.png"), ("link", "link/a.png")),
    ],
)
def test_inputs_in_a_folder_are_known_as_they_are_spelt_and_where_links_lead(
    written_as: str, read_as: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out", "elsewhere"):
        Path(name).mkdir()
        Path(name, "a.png").touch()
    Path("out", "sub").symlink_to(tmp_path / "elsewhere")
    Path("link").symlink_to("out")
    with pytest.raises(ConfigError, match="is read; name another output folder"):
        require_output_folder(Path(written_as), {}, inputs=[Path(read_as)], whole=True)
    require_output_folder(
        Path(written_as), {}, inputs=[Path("elsewhere/a.png"), tmp_path], whole=True
    )


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "file", tmp_path / "out" / "overlays"):
        path.touch()
    with pytest.raises(DiskError, match="file: is a file, and a folder is to be written"):
        require_output_folder(tmp_path / "file", {})
    with pytest.raises(DiskError, match="overlays: is a file, and a folder is to be written"):
        require_output_folder(tmp_path / "out", {"overlays": None})
