"""The feature cache: by content, and nothing lost or trusted that is damaged."""

from __future__ import annotations

import errno
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.preprocessing import Preprocessing
from eosin.data.splits import split_by_fractions
from eosin.errors import EosinWarning, ModelError
from eosin.networks.classifier import build_classifier
from eosin.networks.torch_engine import TorchEngine
from eosin.training import features as features_room
from eosin.training.config import TrainingConfig
from eosin.training.features import FeatureCache, compute_features
from eosin.training.train import train

SPEC = Preprocessing(size=32)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(build_classifier("test_efficientnet", classes=2, seed=0), device="cpu")


def test_a_second_call_computes_nothing_and_gives_the_same_values(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    paths, cache = drawn_breakhis.paths[:8], FeatureCache.of(engine, SPEC, root=tmp_path)
    first = compute_features(paths, engine, SPEC, cache=cache)
    second = compute_features(paths, engine, SPEC, cache=cache)
    assert (first.computed, second.computed) == (8, 0)
    np.testing.assert_array_equal(first.values, second.values)


def test_a_renamed_image_is_found_by_its_content(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    cache = FeatureCache.of(engine, SPEC, root=tmp_path / "cache")
    compute_features(drawn_breakhis.paths[:2], engine, SPEC, cache=cache)
    renamed = tmp_path / "renamed.png"
    shutil.copy(drawn_breakhis.paths[1], renamed)
    assert compute_features([renamed], engine, SPEC, cache=cache).computed == 0


def test_another_network_or_another_size_has_a_cache_of_its_own(
    engine: TorchEngine, tmp_path: Path
) -> None:
    other = TorchEngine(build_classifier("test_efficientnet", classes=2, seed=1), device="cpu")
    folders = {
        FeatureCache.of(engine, SPEC, root=tmp_path).folder,
        FeatureCache.of(engine, Preprocessing(size=48), root=tmp_path).folder,
        FeatureCache.of(other, SPEC, root=tmp_path).folder,
    }
    assert len(folders) == 3


def test_the_head_does_not_change_the_cache(engine: TorchEngine, tmp_path: Path) -> None:
    before = FeatureCache.of(engine, SPEC, root=tmp_path)
    other = TorchEngine(build_classifier("test_efficientnet", classes=5, seed=0), device="cpu")
    other.classifier.backbone.load_state_dict(engine.classifier.backbone.state_dict())
    assert FeatureCache.of(other, SPEC, root=tmp_path) == before


def test_a_damaged_cache_file_is_computed_again(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    cache = FeatureCache.of(engine, SPEC, root=tmp_path)
    first = compute_features(drawn_breakhis.paths[:3], engine, SPEC, cache=cache)
    (shard,) = cache.folder.glob("*.npz")
    shard.write_bytes(shard.read_bytes()[:100])
    again = compute_features(drawn_breakhis.paths[:3], engine, SPEC, cache=cache)
    assert again.computed == 3
    np.testing.assert_array_equal(first.values, again.values)


def test_an_unreadable_image_is_named_and_the_others_are_kept(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    broken = tmp_path / "SOB_B_A-14-1-100-001.png"
    broken.write_bytes(drawn_breakhis.paths[0].read_bytes()[:300])
    cache = FeatureCache.of(engine, SPEC, root=tmp_path / "cache")
    paths = [drawn_breakhis.paths[0], broken, drawn_breakhis.paths[1]]
    found = compute_features(paths, engine, SPEC, cache=cache)
    assert found.indices.tolist() == [0, 2]
    assert [item.path for item in found.skipped] == [broken]
    assert len(found.values) == 2


def test_kept_features_that_are_not_finite_are_computed_again(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    cache = FeatureCache.of(engine, SPEC, root=tmp_path)
    first = compute_features(drawn_breakhis.paths[:3], engine, SPEC, cache=cache)
    (shard,) = cache.folder.glob("*.npz")
    kept = dict(np.load(shard))
    kept["features"][1, 7] = np.nan
    np.savez(shard, **kept)
    again = compute_features(drawn_breakhis.paths[:3], engine, SPEC, cache=cache)
    assert again.computed == 3
    np.testing.assert_array_equal(first.values, again.values)


def test_features_that_are_not_finite_name_the_network_and_are_not_kept(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    network = build_classifier("test_efficientnet", classes=2)
    network.backbone.bn1.weight.data.fill_(1e38)
    broken = TorchEngine(network, device="cpu")
    cache = FeatureCache.of(broken, SPEC, root=tmp_path)
    with pytest.raises(
        ModelError, match="'test_efficientnet' answers with values that are not fin"
    ):
        compute_features(drawn_breakhis.paths[:3], broken, SPEC, cache=cache)
    assert cache.read() == {}


def in_the_way(path: Path) -> Path:
    """A folder that nobody can make, whoever he is: a file lies where one above it should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    return path / "cache"


def test_a_cache_that_cannot_be_written_is_done_without_and_that_is_said_once(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_room, "SHARD", 2)
    paths, root = drawn_breakhis.paths[:6], in_the_way(tmp_path / "home")
    cache = FeatureCache.of(engine, SPEC, root=root)
    with warnings.catch_warnings(record=True, action="default") as said:
        without = compute_features(paths, engine, SPEC, cache=cache)
    (warning,) = said
    assert issubclass(warning.category, EosinWarning)
    assert str(warning.message) == (
        f"{root}: no cache of features (Not a directory), so that they are computed anew each "
        "time; name a folder that can be written in EOSIN_CACHE"
    )
    kept = FeatureCache.of(engine, SPEC, root=tmp_path / "good")
    np.testing.assert_array_equal(
        without.values, compute_features(paths, engine, SPEC, cache=kept).values
    )


def test_a_damaged_file_in_a_cache_that_may_not_be_changed_is_computed_again(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache.of(engine, SPEC, root=tmp_path)
    compute_features(drawn_breakhis.paths[:2], engine, SPEC, cache=cache)
    (shard,) = cache.folder.glob("*.npz")
    shard.write_bytes(b"damaged")

    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for name in ("unlink", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.warns(EosinWarning, match="no cache of features .Read-only file system"):
        again = compute_features(drawn_breakhis.paths[:2], engine, SPEC, cache=cache)
    assert again.computed == 2


def test_a_user_without_a_home_trains_without_a_cache(
    drawn_breakhis: Manifest,
    small_probe: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    split = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    train(split, tmp_path / "cached", small_probe)
    for name in ("EOSIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(EosinWarning, match="no cache of features"):
        train(split, tmp_path / "bare", small_probe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "cached"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("bare", "cached")]
    assert weights[0] == weights[1]


def test_what_a_killed_training_left_in_the_cache_is_swept_by_the_next(
    drawn_breakhis: Manifest, engine: TorchEngine, tmp_path: Path
) -> None:
    cache = FeatureCache.of(engine, SPEC, root=tmp_path)
    cache.folder.mkdir(parents=True)
    (cache.folder / f".a.npz.{'0' * 16}.part").write_bytes(b"half")
    compute_features(drawn_breakhis.paths[:2], engine, SPEC, cache=cache)
    assert [path.suffix for path in cache.folder.iterdir()] == [".npz"]
