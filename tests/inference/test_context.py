"""Neighbours in an answer, by hand on a row of patches; what a Run says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.run import Context, EnsembleRun, FoldsRun, TrainedRun
from eosin.data.neighbours import find_neighbours
from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.context import (
    around_each,
    calibrated,
    joined,
    near,
    require_coordinates,
    said_of,
    says,
    threshold_of,
    uses_neighbours,
)
from eosin.networks.run import Run, write_run
from eosin.networks.taking_in import take_in
from eosin.slides.tile import Tile

CONTEXT = Context(window=3, pitch=50.0, weight=2.0, alone_temperature=3.0, alone_threshold=0.4)
LOGITS = np.array([[0.0, 1.0], [0.0, 4.0], [3.0, 0.0], [0.0, 8.0]])
Make = Callable[..., TrainedRun]


def patches(*x: object, patient: str = "8863") -> pd.DataFrame:
    """A row of patches; where no x is given there is no place."""
    rows = [
        {
            "path": f"/p/{n}.png",
            "patient": patient,
            "x": str(each),
            "y": "1" if str(each) else "",
        }
        for n, each in enumerate(x)
    ]
    return pd.DataFrame(rows)


ROW = patches(1, 51, 101, "")  # three side by side and one without a place


def test_the_mean_of_the_square_is_added_with_its_weight(make_record: Make) -> None:
    found = near(make_record(context=CONTEXT), ROW)
    assert found is not None
    by_hand = np.array(
        [
            [0 + 2 * 0, 1 + 2 * 2.5],
            [0 + 2 * 1, 4 + 2 * 5 / 3],
            [3 + 2 * 1.5, 0 + 2 * 2],
            [0 + 2 * 0, 8 + 2 * 8],
        ]
    )
    np.testing.assert_allclose(joined(LOGITS, found, 2.0), by_hand)
    np.testing.assert_array_equal(joined(LOGITS, found, 0.0), LOGITS)


def test_probabilities_have_the_temperature_of_the_case_at_hand(make_record: Make) -> None:
    plain, aware = make_record(temperature=1.25), make_record(temperature=1.25, context=CONTEXT)
    found = near(aware, ROW)
    assert found is not None
    assert near(plain, ROW) is None
    cases = [
        (calibrated(LOGITS, plain, None), apply_temperature(LOGITS, 1.25)),
        (calibrated(LOGITS, plain, found), apply_temperature(LOGITS, 1.25)),
        (calibrated(LOGITS, aware, None), apply_temperature(LOGITS, 3.0)),
        (calibrated(LOGITS, aware, found), apply_temperature(joined(LOGITS, found, 2.0), 1.25)),
    ]
    for got, wanted in cases:
        np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("places", [True, False])
@pytest.mark.parametrize("context", [CONTEXT, None])
def test_what_stands_around_an_image_gives_its_own_probabilities_back(
    places: bool, context: Context | None, make_record: Make
) -> None:
    """Heatmaps change one image's logits with all around it held still."""
    record = make_record(context=context)
    found = near(record, ROW if places else ROW.drop(columns=["x", "y"]))
    around = around_each(LOGITS, record, found)
    wanted = calibrated(LOGITS, record, found)
    for row, each in enumerate(around):
        np.testing.assert_allclose(each.chances(LOGITS[row : row + 1]), wanted[row : row + 1])


def test_what_an_image_changes_alone_is_what_it_changes_among_its_neighbours(
    make_record: Make,
) -> None:
    record = make_record(context=CONTEXT)
    found = near(record, ROW)
    around = around_each(LOGITS, record, found)
    for row in range(4):
        changed = LOGITS.copy()
        changed[row] += [1.5, -0.5]
        wanted = calibrated(changed, record, found)[row]
        np.testing.assert_allclose(around[row].chances(changed[row : row + 1])[0], wanted)


def test_a_run_uses_neighbours_where_any_network_in_it_does(
    tmp_path: Path, make_record: Make, folds_of: Callable[..., FoldsRun]
) -> None:
    plain = write_run(tmp_path / "plain", make_record())
    aware = write_run(tmp_path / "aware", make_record(context=CONTEXT))
    both = write_run(tmp_path / "both", folds_of(tmp_path / "both", [plain, aware]))
    assert [uses_neighbours(run) for run in (plain, aware, both)] == [False, True, True]
    without = ROW.drop(columns=["x", "y"])
    require_coordinates([plain], without)
    require_coordinates([plain, aware], ROW)
    with pytest.raises(DataError, match=r"aware counts neighbours on the slide, and no image"):
        require_coordinates([plain, aware], without)
    with pytest.raises(DataError, match="both counts neighbours"):
        require_coordinates([both], patches("", ""))


def ensemble(folder: Path, runs: list[Run], vote: str, weights: tuple[float, ...] = ()) -> Run:
    own = {k: v for k, v in dict(runs[0].record).items() if k != "kind"}
    none = dict.fromkeys(("context", "weights_sha256"))
    made = {"members": take_in(folder, runs), "vote": vote, "weights": weights, "threshold": 0.7}
    return write_run(folder, EnsembleRun.model_validate({**own, **none, **made}))


def test_the_threshold_of_images_without_places_is_that_of_the_members_mean(
    tmp_path: Path, make_record: Make
) -> None:
    plain = write_run(tmp_path / "plain", make_record(threshold=0.6))
    aware = write_run(tmp_path / "aware", make_record(context=CONTEXT, threshold=0.5))
    assert [threshold_of(plain, alone=alone) for alone in (False, True)] == [0.6, 0.6]
    assert [threshold_of(aware, alone=alone) for alone in (False, True)] == [0.5, 0.4]
    soft = ensemble(tmp_path / "soft", [plain, aware], "soft")
    assert threshold_of(soft, alone=False) == 0.7
    assert threshold_of(soft, alone=True) == pytest.approx((0.6 + 0.4) / 2)
    hard = ensemble(tmp_path / "hard", [plain, aware], "hard")
    assert threshold_of(hard, alone=True) == 0.7  # of shares of votes, whatever the members say
    unaware = ensemble(tmp_path / "unaware", [plain, plain], "soft")
    assert threshold_of(unaware, alone=True) == 0.7


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (ROW, "3 of 4 images have a neighbour on their slide (50 apart; 1 name no x and y)."),
        (patches(1, 51), "2 of 2 images have a neighbour on their slide (50 apart)."),
        (
            patches(1, 225),
            "2 of 2 images have a neighbour on their slide (224 apart). The Run was trained on "
            "patches 50 apart: do they show as much?",
        ),
        (
            patches(1, 60, 200).assign(y=["1", "77", "333"]),
            "0 of 3 images have a neighbour on their slide (no two lie next to each other).",
        ),
    ],
)
def test_what_neighbours_there_were_is_one_sentence(
    frame: pd.DataFrame, said: str, tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(context=CONTEXT))
    assert said_of([run], frame.assign(path=[f"/p/{n}.png" for n in range(len(frame))])) == (said,)
    assert said_of([write_run(tmp_path / "plain", make_record())], frame) == ()


def test_tiles_of_slides_lie_on_their_own_grid_whatever_the_run_was_trained_on(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(context=CONTEXT))
    tiles = [Tile(Path("/lab/a.svs"), x, 0, 448.0, 224) for x in (0, 448)]
    frame = pd.DataFrame(
        {"path": [str(tile.path) for tile in tiles], "patient": "a", "x": ["0", "448"], "y": "0"}
    )
    (said,) = said_of([run], frame)
    assert said == "2 of 2 images have a neighbour on their slide (on the grid of tiles)."


def test_images_without_places_are_scored_without_and_no_set_is_promised(
    tmp_path: Path, make_record: Make
) -> None:
    run = write_run(tmp_path / "run", make_record(context=CONTEXT))
    (said,) = said_of([run], ROW.drop(columns=["x", "y"]))
    assert "they are scored without, at the temperature and threshold for that" in said
    assert "without them each holds every class, and nothing is answered" in said


def test_a_run_keeps_a_sentence_of_its_square() -> None:
    assert says(CONTEXT) == (
        "Neighbours on the slide count: the mean logit of the 3 x 3 patches around each image, 50 "
        "apart, is added to its own."
    )


def test_neighbours_of_some_rows_are_those_among_them() -> None:
    found = find_neighbours(ROW)
    assert found is not None
    some = found.of(np.array([2, 0, 3]))
    assert some.count.tolist() == [1, 1, 1]  # the one in the middle is gone
    assert some.placed.tolist() == [True, True, False]
    np.testing.assert_array_equal(some.mean(LOGITS[[2, 0, 3]]), LOGITS[[2, 0, 3]])
