"""The section on stain steps: what its sentences, tables and figures say of known differences."""

from __future__ import annotations

import math

import pytest

from eosin.artefacts.estimate import Estimate
from eosin.evaluation.effects import Effect
from eosin.reporting.stain_effects import StainRow, stain_frame, stain_section, verdict
from eosin.study.stains import Staining

HONEST, LEAKY = "patient-level, 5-fold", "image-level (leaky), 5-fold"


def effect(
    value: float | None, low: float | None, high: float | None, *, by: str = "image", of: str = ""
) -> Effect:
    metric = of or "roc_auc"
    return Effect(Estimate(value, low, high, 422, 23, metric, level=by), before=0.5)  # type: ignore[arg-type]


UP = effect(0.15, 0.04, 0.27)
DOWN = effect(-0.08, -0.14, -0.01, of="accuracy")
NEITHER = effect(0.05, -0.12, 0.22, by="patient")
NO_INTERVAL = Effect(
    Estimate(0.0, None, None, 11, 11, "roc_auc", level="patient", note="one patient of a class"),
    before=1.0,
)


def row(stain: str, *effects: Effect, protocol: str = HONEST) -> StainRow:
    step = Staining.parse(stain)
    return StainRow(
        "tf_efficientnetv2_b0",
        stain,
        step=step.step,
        drawn=step.method == "none",
        protocol=protocol,
        leaky=protocol == LEAKY,
        seed=7,
        effects=effects,
    )


@pytest.mark.parametrize(
    ("effects", "sentence"),
    [
        ((NEITHER,), "the interval includes zero: no evidence either way"),
        ((NEITHER, NEITHER), "every interval includes zero: no evidence either way"),
        ((UP, NEITHER), "raises ROC AUC; the rest includes zero"),
        ((DOWN, UP), "raises ROC AUC and lowers accuracy"),
        ((NO_INTERVAL,), "no interval that shows a spread, so nothing can be said"),
        ((NO_INTERVAL, UP), "raises ROC AUC"),
    ],
)
def test_a_step_is_called_better_or_worse_only_where_an_interval_excludes_zero(
    effects: tuple[Effect, ...], sentence: str
) -> None:
    assert verdict(effects) == sentence


def test_the_first_sentence_counts_intervals_on_each_side_and_what_chance_would_give() -> None:
    section = stain_section([row("macenko", UP, NEITHER), row("vahadane", DOWN, NEITHER)])
    assert section is not None
    assert section.sentence == (
        "Under “patient-level, 5-fold”, of 4 intervals 1 lie above zero and 1 below; by chance "
        "alone about 0.2 would exclude it."
    )


def test_each_protocol_has_its_tables_and_a_figure_for_each_figure() -> None:
    section = stain_section(
        [row("macenko", DOWN, UP, NEITHER, protocol=LEAKY), row("macenko", DOWN, UP, NEITHER)]
    )
    assert section is not None
    assert [part.protocol for part in section.parts] == [LEAKY, HONEST]
    (table,) = section.parts[1].tables
    assert table.columns == (
        "Stain step",
        "Accuracy",
        "ROC AUC",
        "ROC AUC by patient",
        "What it says",
    )
    assert table.rows[0][1] == "−0.080\n[−0.140,\u00a0−0.010]"
    assert "422 images of 23 patients; 422 images of 23 patients at patient level" in table.caption
    assert [drawing.title for drawing in section.parts[0].drawings] == [
        "Change in accuracy, by image",
        "Change in ROC AUC, by image",
        "Change in ROC AUC, by patient",
    ]


def test_a_difference_without_an_interval_says_why_in_its_cell() -> None:
    section = stain_section([row("macenko", NO_INTERVAL)])
    assert section is not None
    assert section.parts[0].tables[0].rows[0][1] == "0.000\none patient of a class"


def test_steps_that_only_draw_stains_anew_are_not_called_normalisation() -> None:
    drawn = stain_section([row("none + jitter 0.2", UP)])
    normalised = stain_section([row("none + jitter 0.2", UP), row("macenko", UP)])
    assert drawn is not None
    assert normalised is not None
    assert drawn.title == "What stain augmentation changes"
    assert drawn.parts[0].tables[0].rows[0][0] == "jitter 0.2"
    assert normalised.title == "What stain normalisation changes"


def test_a_figure_at_its_ceiling_is_neither_counted_nor_drawn() -> None:
    ceiling = effect(0.0, 0.0, 0.0, by="patient")
    section = stain_section([row("macenko", UP, ceiling, protocol=LEAKY)])
    assert section is not None
    assert section.sentence.startswith("Under “image-level (leaky), 5-fold”, of 1 interval 1 lie")
    assert [drawing.title for drawing in section.parts[0].drawings] == [
        "Change in ROC AUC, by image"
    ]


def test_no_step_no_section() -> None:
    assert stain_section([]) is None


def test_the_table_of_figures_has_a_row_a_figure_and_keeps_what_is_missing() -> None:
    frame = stain_frame([row("macenko", UP, NO_INTERVAL), row("vahadane", DOWN)])
    assert list(frame["stain"]) == ["macenko", "macenko", "vahadane"]
    assert list(frame["difference"]) == [0.15, 0.0, -0.08]
    assert math.isnan(frame["low"][1])
    assert frame["note"][1] == "one patient of a class"
