"""Maps of several networks become one, and where they differ is said."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import DataError
from eosin.explanation.heatmap import Heatmap, on_image_grid
from eosin.explanation.merge import family_means, merge_heatmaps


def heatmap(
    values: list[list[float]],
    malignant: float,
    *,
    model: str = "a",
    family: str = "EfficientNetV2",
    target: str = "malignant",
    seen: bool | None = False,
) -> Heatmap:
    grid = np.array(values, np.float32)
    return Heatmap(
        method="gradcam",
        model=model,
        backbone="tf_efficientnetv2_b0",
        family=family,
        target=target,
        probabilities={"benign": 1 - malignant, "malignant": malignant},
        values=grid,
        raw=grid,
        seen=seen,
    )


def test_a_surer_network_weighs_more_and_the_spread_is_the_weighted_deviation() -> None:
    sure = heatmap([[1.0, 0.0]], 0.9)
    unsure = heatmap([[0.0, 0.0]], 0.3, model="b")
    merged, disagreement = merge_heatmaps([sure, unsure])
    np.testing.assert_allclose(merged.values, [[0.75, 0.0]], atol=1e-6)
    np.testing.assert_allclose(disagreement, [[np.sqrt(0.75 * 0.25), 0.0]], atol=1e-6)
    assert merged.model == "merged"
    assert merged.probability == pytest.approx(0.6)
    assert merged.predicted == "malignant"


def test_networks_that_agree_merge_into_what_they_say_and_disagree_nowhere() -> None:
    same = [heatmap([[0.2, 1.0]], p, model=str(p)) for p in (0.1, 0.5, 0.8)]
    merged, disagreement = merge_heatmaps(same)
    np.testing.assert_allclose(merged.values, [[0.2, 1.0]], atol=1e-6)
    np.testing.assert_allclose(disagreement, 0, atol=1e-6)


def test_where_no_network_believes_in_the_class_all_weigh_the_same() -> None:
    merged, _ = merge_heatmaps([heatmap([[1.0]], 0.0), heatmap([[0.0]], 0.0, model="b")])
    np.testing.assert_allclose(merged.values, [[0.5]])


def test_a_family_speaks_with_the_plain_mean_of_its_members() -> None:
    one = heatmap([[1.0, 0.0]], 0.9, family="EfficientNetV1")
    two = heatmap([[0.0, 1.0]], 0.1, model="b", family="EfficientNetV1")
    other = heatmap([[0.5, 0.5]], 0.5, model="c")
    first, second = family_means([one, other, two])
    assert (first.model, second.model) == ("EfficientNetV1", "EfficientNetV2")
    np.testing.assert_allclose(first.values, [[0.5, 0.5]])
    assert first.probability == pytest.approx(0.5)


def test_one_network_that_met_the_patient_is_enough_to_say_so() -> None:
    maps = [heatmap([[1.0]], 0.5, model=str(seen), seen=seen) for seen in (False, None, True)]
    assert merge_heatmaps(maps)[0].seen is True
    assert merge_heatmaps(maps[:2])[0].seen is None


def test_maps_of_different_classes_or_images_are_refused_by_name() -> None:
    ours = heatmap([[1.0]], 0.5)
    with pytest.raises(DataError, match="a explains 'malignant', b 'benign'"):
        merge_heatmaps([ours, heatmap([[1.0]], 0.5, model="b", target="benign")])
    with pytest.raises(DataError, match="different images"):
        family_means([ours, heatmap([[1.0, 0.0]], 0.5)])
    with pytest.raises(DataError, match="at least one"):
        merge_heatmaps([])


def test_a_stretched_map_covers_the_whole_image_and_peaks_where_the_network_did() -> None:
    raw = np.zeros((7, 7), np.float32)
    raw[1, 5] = 3.0
    full = on_image_grid(raw, (460, 700), fit="stretch")
    assert full.shape == (460, 700)
    assert full.max() == pytest.approx(1.0)
    row, column = np.unravel_index(full.argmax(), full.shape)
    assert (row * 7 // 460, column * 7 // 700) == (1, 5)


def test_a_cropped_map_leaves_the_margins_that_the_network_never_saw_at_zero() -> None:
    full = on_image_grid(np.ones((7, 7), np.float32), (460, 700), fit="crop")
    assert (full[:, :120] == 0).all()
    assert (full[:, 580:] == 0).all()
    np.testing.assert_allclose(full[:, 120:580], 1.0)


def test_a_map_without_evidence_stays_empty() -> None:
    full = on_image_grid(np.zeros((2, 2), np.float32), (50, 40), fit="stretch")
    assert full.shape == (50, 40)
    assert not full.any()
