"""The feature cache: by content, and nothing lost or trusted that is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ModelError
from eosin.networks.classifier import build_classifier
from eosin.networks.torch_engine import TorchEngine
from eosin.training.features import FeatureCache, compute_features

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
    assert found.places.tolist() == [0, 2]
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
