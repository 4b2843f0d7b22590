"""What verbs refuse before they read or write anything, each with the sentence that helps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.data.splits import split_by_fractions
from eosin.errors import ConfigError, DataError, EosinError
from eosin.networks.hub import pull_run

ROOT = typer.main.get_command(app)
RESUME = "--resume continues and --overwrite starts again; give one of them"
SLIDES_ONLY = "are for whole slides, and none is given"
SENTENCES = {
    "embed a.png -o e.h5ad --backbone b --resume --overwrite": RESUME,
    "embed a.png -o e.h5ad --backbone b --fit squash": "--fit 'squash' --dtype 'float32': want",
    "embed a.png -o e.h5ad --backbone b --dtype float64": "want stretch or crop, and float32 or",
    "split m.csv -o s.csv --folds 5 --fractions 0.7 0.2 0.1": "give either --folds or --fractions",
    "split m.csv -o s.csv --folds 5 --keep-test": "(with --keep-test), not both",
    "split m.csv -o s.csv --by site --keep-test": "--keep-test needs --fractions",
    "data breakhis d -o m.csv --split eva --task binary": "--split eva settles task and folds",
    "data breakhis d -o m.csv --split eva-clean --folds f.txt": "leave --task and --folds out",
    "data pseudo-patients m.csv -o p.csv --weights w.safetensors": "--weights needs --backbone",
    "data download cifar -o d": "no dataset 'cifar' is known; want one of",
    "checklist run p.csv -o card.html --standard model-card": "a model card is Markdown; name it",
    "demo --out .": "not empty; name another folder with --out, or remove it",
    "bench run --batch 1,two": "batch '1,two': want whole numbers such as 1,16",
    "predict run a.png m.csv -o p.csv": "give one manifest or image files, not both: m.csv",
    "predict run m.csv m.csv -o p.csv": "give one manifest or image files, not both: m.csv",
    "predict run a.png -o p.csv --mpp 0.5": SLIDES_ONLY,
    "predict run a.png -o p.csv --merged": SLIDES_ONLY,
    "predict run a.png -o p.csv --gzip": SLIDES_ONLY,
    "predict run a.png -o p.csv --sets raps": "sets 'raps' are unknown; want lac or aps",
    "predict run a.png -o p.csv --coverage 1.5": "coverage 1.5 must be at least 0.5 and below 1",
    "predict run a.png -o p.csv": "run: not a finished Run (no run.json); finish it with",
    "stress run m.csv -o d": "run: not a finished Run (no run.json); finish it with",
    "ensemble run run -o d": "run: not a finished Run (no run.json); finish it with",
    "push run lab/name --public": "run: not a finished Run (no run.json); finish it with",
    "export run -o graph --check m.csv --check a.png": "image files to --check, not both: m.csv",
    "train s.csv -o out --fold one": "--fold 'one': want a fold number or all",
    "train s.csv -o out --fold -1": "--fold '-1': want a fold number or all",
    "train s.csv -o out --fold ²": "--fold '²': want a fold number or all",
    "train m.csv -o out": "divide it with `eosin split`",
    "train s.csv -o out --backbone resnet18 --epochs 3 --freeze --adapters 2": "adapters = 2",
    "study nonesuch -o out": "unknown settings 'nonesuch'; known: ",
    "study study.toml -o out": "names no root; give the folder of the images with --data",
    "explain a.png -o cams": "a.png: not a finished Run folder; name at least one",
    "init d --config nonesuch": "unknown settings 'nonesuch'; known: ",
    "init d --config study-stain": "study-stain",
    "power p.csv --effect 0.1": "p.csv: no such file",
    "evaluate none.csv -o e.json": "none.csv: no such file",
    "report run none.csv -o r.html": "run: not a finished Run (no run.json); finish it with",
    "slide info none.svs": "none.svs: cannot be read (No such file or directory)",
    "review export none.db -o n.csv": "none.db: no such record; `eosin serve --db` makes one",
    "pull lab/runs/name -o out": "'lab/runs/name': want OWNER/NAME",
    "pull name -o out": "'name': want OWNER/NAME",
}


@pytest.fixture
def place(drawn_breakhis: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, a manifest, the same divided, a study and an empty folder ``run``."""
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("a.png", np.full((32, 32, 3), 200, np.uint8))
    drawn_breakhis.write("m.csv")
    split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0).write("s.csv")
    Path("study.toml").write_text(
        'dataset = "breakhis"\nprotocols = ["patient 3-fold"]\nbackbones = ["test_resnet"]\n'
    )
    Path("run").mkdir()
    return tmp_path


@pytest.mark.parametrize("words", SENTENCES)
def test_what_cannot_be_meant_is_refused_in_a_sentence_and_nothing_is_left_behind(
    words: str, place: Path
) -> None:
    before = sorted(place.rglob("*"))
    with pytest.raises(EosinError) as refused:
        ROOT.main(words.split(), standalone_mode=False)
    assert SENTENCES[words] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(place.rglob("*")) == before


def test_the_limit_of_pixels_of_one_command_is_not_that_of_the_next(
    place: Path, tmp_path: Path
) -> None:
    words = ["data", "folder", "set", "-o", "n.csv"]
    for name in ("one", "two"):
        (place / "set" / name).mkdir(parents=True)
        assert cv2.imwrite(f"set/{name}/1_a.png", np.full((60, 60, 3), 200, np.uint8))
    with pytest.raises(EosinError, match="megapixels"):
        ROOT.main([*words, "--max-megapixels", "0.002"], standalone_mode=False)
    ROOT.main(words, standalone_mode=False)
    assert Path("n.csv").is_file()


def test_what_a_verb_of_folders_is_told_to_write_over_an_input_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.csv: is an input of this command"):
        ROOT.main(["split", "m.csv", "-o", "m.csv"], standalone_mode=False)


def test_a_hub_that_cannot_be_reached_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"lab/run: the hub cannot be reached .*; try again"
    ) as told:
        pull_run("lab/run", tmp_path / "out", endpoint="http://127.0.0.1:1")
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
