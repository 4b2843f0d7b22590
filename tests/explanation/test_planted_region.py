"""A network that can only use a planted region is explained by that region."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation
from eosin.explanation.localisation import Localisation, localisation
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.training.config import TrainingConfig
from eosin.training.train import train

SIDE, RADIUS = 128, 28


@dataclass(frozen=True)
class Planted:
    """Synthetic benign tissue, half of it with a dark nest at a position of its own."""

    manifest: Manifest
    regions: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Benign tissue everywhere; images called malignant have a nest, and nothing else differs."""
    out = tmp_path_factory.mktemp("planted")
    drawn = write_synthetic(out, SyntheticOptions(patients=32, images=128, size=SIDE, seed=5))
    rng, regions = np.random.default_rng(0), {}
    benign = [path for path in drawn if "_B_" in path.name]
    tissue = [read_image(path) for path in benign]
    for number, path in enumerate(drawn):
        image, mask = tissue[number % len(tissue)].copy(), np.zeros((SIDE, SIDE), np.uint8)
        if "_M_" in path.name:
            x, y = (int(v) for v in rng.integers(RADIUS, SIDE - RADIUS, 2))
            cv2.circle(mask, (x, y), RADIUS, 1, thickness=-1)
            image[mask > 0] = (0.35 * image[mask > 0] + (40, 10, 70)).astype(np.uint8)
            regions[str(path.resolve())] = mask > 0
        cv2.imwrite(str(path), image[..., ::-1])
    manifest = split_by_fractions(read_breakhis(out / "images").manifest, (0.6, 0.15, 0.25), seed=0)
    return Planted(manifest, regions)


@pytest.fixture(scope="module")
def run(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = TrainingConfig(
        backbone="test_efficientnet",
        weights="none",
        freeze=True,
        probe_rule="least-loss",  # the patients are all alike here, so that none has to be spared
        patients_alike=False,
        image_size=SIDE,
        device="cpu",
    )
    return train(planted.manifest, tmp_path_factory.mktemp("run") / "probe", config).run


def found(run: Run, planted: Planted, method: str) -> list[Localisation]:
    """How well the maps of test images lie on what was planted in them."""
    test = planted.manifest.in_split("test")
    nests = test.where(test.frame["label"] == "malignant")
    options = ExplainOptions(method=method, target="malignant")  # type: ignore[arg-type]
    scores = []
    for explanation in explain([run], nests.paths, options):
        assert isinstance(explanation, Explanation)
        region = planted.regions[str(Path(explanation.path).resolve())]
        score = localisation(explanation.members[0].values, region)
        assert score is not None
        scores.append(score)
    return scores


def test_the_network_sees_the_nest(run: Run, planted: Planted) -> None:
    scored = predict(run, planted.manifest, PredictOptions()).predictions
    right = (scored.label_index == scored.predicted_index).mean()
    assert right > 0.75  # by chance 0.5


def test_the_map_lights_the_planted_region_of_patients_never_met(
    run: Run, planted: Planted
) -> None:
    scores = found(run, planted, "gradcam")
    assert len(scores) >= 10
    area = np.mean([score.area for score in scores])
    assert np.mean([score.auc for score in scores]) > 0.7  # a map that knows nothing: 0.5
    assert np.mean([score.pointing for score in scores]) > 2 * area  # and the nest's area
