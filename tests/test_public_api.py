"""What users import: every class that a public function takes or returns, and any kind of path."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import pandas as pd
import pytest

import eosin
from eosin.progress import Shown, shown

# Names of types, not of classes: nobody has to make one.
_ALIASES = {
    "Path", "StrPath", "ImagesLike", "Sequence", "Mapping", "Iterator", "Callable", "Literal",
    "None", "By", "Vote", "Level", "TaskName", "PatientUnit", "Readings", "Module",
}  # fmt: skip


class Folder(os.PathLike[str]):
    """A PathLike that is no Path."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __fspath__(self) -> str:
        return self.path


def test_every_class_that_a_public_function_takes_or_returns_is_exported() -> None:
    functions = [getattr(eosin, name) for name in eosin.__all__]
    functions = [each for each in functions if inspect.isfunction(each)]
    assert len(functions) > 20
    for each in functions:
        signature = inspect.signature(each)
        said = [p.annotation for p in signature.parameters.values()] + [signature.return_annotation]
        named = {name for text in said for name in re.findall(r"\b[A-Z]\w+", str(text))}
        assert named - _ALIASES <= set(eosin.__all__), each.__name__


def test_the_list_of_public_names_is_what_type_checkers_see() -> None:
    text = Path(str(eosin.__file__)).read_text(encoding="utf-8")
    seen = text[text.index("if TYPE_CHECKING") : text.index("__all__")]
    names = re.findall(r"\b(?!eosin\b)\w+", re.sub(r"from [\w.]+ import", "", seen))
    assert sorted({*names, "__version__"} - {"if", "TYPE_CHECKING"}) == eosin.__all__


@pytest.mark.parametrize("kind", [str, Folder], ids=["str", "PathLike"])
def test_a_path_is_a_text_or_path_like_from_images_to_report(
    kind: type, tmp_path: Path, small_probe: eosin.TrainingConfig
) -> None:
    def at(name: str) -> str | Folder:
        return kind(tmp_path / name)

    options = eosin.SyntheticOptions(patients=12, images=24, size=64, seed=3)
    images = eosin.write_synthetic(at("drawn"), options)
    manifest = eosin.split_by_fractions(
        eosin.read_breakhis(at("drawn/images")).manifest, (0.5, 0.25, 0.25), seed=1
    )
    manifest.write(at("m.csv"))
    trained = eosin.train(eosin.read_manifest(at("m.csv")), at("run"), small_probe)
    predictions = eosin.predict(
        eosin.read_run(at("run")), kind(images[0]), eosin.PredictOptions(allow_seen=True)
    ).predictions
    predictions.write(at("p.csv"))
    assert eosin.read_predictions(at("p.csv")).frame["path"].tolist() == [str(images[0])]
    assert trained.predictions is not None
    evaluation = eosin.evaluate_predictions(trained.predictions)
    evaluation.write(at("e.json"))
    assert eosin.read_evaluation(at("e.json")) == evaluation
    page = eosin.write_report(trained.run, trained.predictions, at("r.html"))
    assert page == tmp_path / "r.html"
    assert page.is_file()


def test_a_path_of_weights_may_be_a_path_in_settings(tmp_path: Path) -> None:
    config = eosin.TrainingConfig(weights=tmp_path / "w.safetensors")  # type: ignore[arg-type]
    assert config.weights == str(tmp_path / "w.safetensors")


def test_settings_of_the_library_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(eosin.ConfigError, match="unknown key 'backbon'; did you mean 'backbone'"):
        eosin.TrainingConfig(backbon="resnet18")  # type: ignore[call-arg]
    with pytest.raises(eosin.ConfigError, match=r"optimizer = 'adamW'.*'adamw' or 'adam'"):
        eosin.TrainingConfig(optimizer="adamW")  # type: ignore[arg-type]
    with pytest.raises(eosin.ConfigError, match=r"unknown option 'allow_sen'.*'allow_seen'"):
        eosin.PredictOptions(allow_sen=True)  # type: ignore[call-arg]
    with pytest.raises(eosin.ConfigError, match="unknown settings 'frozn'; did you mean 'frozen'"):
        eosin.read_config("frozn")


def test_settings_that_come_along_are_found_by_name(tmp_path: Path) -> None:
    assert eosin.read_config("frozen").backbone == "efficientnetv2-b0@stride4+8+16"
    assert eosin.read_study("study-breakhis100x", root=tmp_path).config.dataset == "breakhis"
    with pytest.raises(eosin.ConfigError, match="`frozen` alone names the one that eosin brings"):
        eosin.read_config(tmp_path / "frozen.toml")


def test_progress_true_shows_and_false_shows_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_probe: eosin.TrainingConfig
) -> None:
    assert isinstance(shown(True), Shown)
    eosin.write_synthetic(
        tmp_path, eosin.SyntheticOptions(patients=8, images=16, size=64), progress=False
    )
    manifest = eosin.read_breakhis(tmp_path / "images").manifest
    divided = eosin.split_by_fractions(manifest, (0.5, 0.25, 0.25), seed=1)
    fine = small_probe.with_overrides({"freeze": False, "epochs": 1, "cache": False})
    assert capsys.readouterr().out == ""
    eosin.train(divided, tmp_path / "run", fine, progress=True)
    assert "epoch   1/1" in capsys.readouterr().out


def test_a_missing_extra_is_named_by_the_library_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "eosin.training.estimator", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r'ImageClassifier.*pip install "eosin\[train\]"'):
        _ = eosin.ImageClassifier


def test_frames_of_tables_are_tables_and_may_be_called(drawn_breakhis: eosin.Manifest) -> None:
    assert isinstance(drawn_breakhis.frame, pd.DataFrame)
    assert drawn_breakhis.frame() is drawn_breakhis.frame
