"""ImageClassifier keeps scikit-learn's promises, and ours on patients."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import eosin
from eosin.errors import ConfigError, DataError, EosinWarning, ModelError
from eosin.networks.backbones import register_backbone
from eosin.networks.weights import load_classifier

Arrays = tuple[list[str], np.ndarray, np.ndarray]
SMALL = {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "device": "cpu"}


class Mean(torch.nn.Module):
    """Knows nothing but the colour of an image: three features, no weights to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) * self.scale


@pytest.fixture(scope="module")
def arrays(drawn_breakhis: eosin.Manifest) -> Arrays:
    """48 files, their labels, their 12 patients."""
    frame = drawn_breakhis.frame
    return frame["path"].tolist(), frame["label"].to_numpy(), frame["patient"].to_numpy()


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    """24 plain files, red or blue, two of each of 12 patients."""
    import cv2

    folder = tmp_path_factory.mktemp("coloured")
    paths, labels, patients = [], [], []
    for number in range(24):
        colour = (30, 30, 200) if number % 4 < 2 else (200, 30, 30)  # BGR
        picture = np.full((32, 32, 3), colour, np.uint8) + np.uint8(number)
        paths.append(str(folder / f"{number // 2}_{number}.png"))
        cv2.imwrite(paths[-1], picture)
        labels.append("red" if number % 4 < 2 else "blue")
        patients.append(number // 2)
    return paths, np.array(labels), np.array(patients)


def test_it_is_cross_validated_by_patient_and_in_a_pipeline(coloured: Arrays) -> None:
    paths, y, groups = coloured
    model = eosin.ImageClassifier(Mean(), image_size=32)
    alone = cross_val_score(
        model, paths, y, groups=groups, cv=GroupKFold(3), params={"groups": groups},
        error_score="raise",
    )  # fmt: skip
    assert alone.tolist() == [1.0, 1.0, 1.0]
    piped = Pipeline([("names", FunctionTransformer(list)), ("network", clone(model))])
    again = cross_val_score(
        piped, np.array(paths), y, groups=groups, cv=GroupKFold(3),
        params={"network__groups": groups}, error_score="raise",
    )  # fmt: skip
    assert again.tolist() == alone.tolist()


def test_probabilities_follow_the_files_and_the_sorted_classes(arrays: Arrays) -> None:
    paths, y, groups = arrays
    model = eosin.ImageClassifier(**SMALL).fit(paths, y, groups=groups)
    assert model.classes_.tolist() == ["benign", "malignant"]
    found = model.predict_proba([*paths[::-1], paths[0]])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[:48][::-1], model.predict_proba(np.array(paths)[:, None]))
    assert found[-1].tolist() == found[47].tolist()
    assert (model.predict(paths) == model.classes_[found[:48][::-1].argmax(axis=1)]).all()
    assert model.score(paths, y) == np.mean(model.predict(paths) == y)
    assert model.run_.record.train_patients == tuple(sorted(set(groups)))


def test_it_is_cloned_pickled_and_keeps_the_type_of_labels(arrays: Arrays) -> None:
    paths, y, groups = arrays
    model = eosin.ImageClassifier(**SMALL)
    assert model.get_params()["image_size"] == 32
    assert clone(model).get_params() == model.get_params()
    model.fit(paths, y == "malignant", groups=groups)
    assert model.predict(paths[:2]).dtype == bool
    copied = pickle.loads(pickle.dumps(model))
    assert copied.run_.folder != model.run_.folder
    assert copied.predict_proba(paths).tolist() == model.predict_proba(paths).tolist()


def test_fine_tuning_keeps_whole_patients_for_validation(arrays: Arrays) -> None:
    paths, y, groups = arrays
    settings = {"epochs": 1, "cache": False}
    model = eosin.ImageClassifier(**SMALL, freeze=False, settings=settings)
    record = model.fit(paths, y, groups=groups).run_.record
    assert not set(record.train_patients) & set(record.val_patients)
    assert set(record.train_patients) | set(record.val_patients) == set(groups)


def test_patients_are_named_by_a_pattern_or_missed_aloud(coloured: Arrays) -> None:
    paths, y, _ = coloured
    named = eosin.ImageClassifier(Mean(), image_size=32, patient_pattern=r"^(\d+)_").fit(paths, y)
    assert len(named.run_.record.train_patients) == 12
    with pytest.warns(EosinWarning, match="give groups=patients"):
        eosin.ImageClassifier(Mean(), image_size=32).fit(paths, y)
    with pytest.raises(DataError, match="finds nobody"):
        eosin.ImageClassifier(Mean(), image_size=32, patient_pattern="^(P)").fit(paths, y)


def test_wrong_settings_and_unreadable_files_are_named(arrays: Arrays, tmp_path: Path) -> None:
    paths, y, groups = arrays
    with pytest.raises(ConfigError, match="unknown key 'epoch'; did you mean 'epochs'"):
        eosin.ImageClassifier(**SMALL, settings={"epoch": 2}).fit(paths, y, groups=groups)
    model = eosin.ImageClassifier(**SMALL).fit(paths, y, groups=groups)
    (tmp_path / "half.png").write_bytes(Path(paths[0]).read_bytes()[:900])
    with pytest.raises(DataError, match=r"half\.png"):
        model.predict([paths[0], str(tmp_path / "half.png")])


def test_a_module_of_the_users_own_is_a_backbone_of_every_verb(
    drawn_breakhis: eosin.Manifest, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=4), torch.nn.ReLU())
    register_backbone("mine", module, size=64)
    divided = eosin.split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=1)
    config = eosin.TrainingConfig(backbone="mine", weights="own", freeze=True, device="cpu")
    trained = eosin.train(divided, tmp_path / "run", config)
    kept = load_classifier(eosin.read_run(tmp_path / "run")).state_dict()
    assert torch.equal(kept["backbone.module.0.weight"], module[0].weight)
    (explained,) = eosin.explain([trained.run], divided.paths[0])
    assert isinstance(explained, eosin.Explanation)
    assert explained.members[0].backbone == "mine"
    with pytest.raises(ModelError, match="'own' belongs to a module of your own"):
        eosin.train(divided, tmp_path / "b", config.with_overrides({"weights": "none"}))
    with pytest.raises(ConfigError, match="the name is taken"):
        register_backbone("resnet18", module)
    register_backbone("wrong", torch.nn.Flatten(0), size=64)
    with pytest.raises(ModelError, match=r"'wrong': answers with shape \(12288,\)"):
        eosin.train(divided, tmp_path / "c", config.with_overrides({"backbone": "wrong"}))
    with pytest.raises(ModelError, match="one of your own is registered first"):
        eosin.train(divided, tmp_path / "d", config.with_overrides({"backbone": "not-mine"}))


@pytest.mark.parametrize("nobody", [None, float("nan")])
def test_images_whose_patient_is_missing_are_not_taken_for_one_patient(
    coloured: Arrays, nobody: object
) -> None:
    paths, y, groups = coloured
    named = groups.astype(object)
    named[[0, 5]] = nobody
    with pytest.raises(DataError, match=r"0_0\.png: names no patient"):
        eosin.ImageClassifier(**SMALL).fit(paths, y, groups=named)
