"""The page of a study: its first sentence, the meter, every protocol's tables, and what failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eosin.artefacts.estimate import Estimate
from eosin.artefacts.evaluation import Evaluation
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.leakage import Leakage, MeterRow, measure_leakage
from eosin.protocol import Protocol
from eosin.reporting.study_page import ResultRow, StudyFacts, headline_figures, write_study_page

if TYPE_CHECKING:
    from .conftest import Page

LEAKY = Protocol("image", "5-fold", leaky=True)
HONEST = Protocol("patient", "5-fold")
FACTS = StudyFacts(
    title="First <study>",
    dataset="breakhis",
    models=2,
    images=1820,
    patients=82,
    settings=(("seeds", "[7]"), ("backbones", "['a']")),
)
Table = Callable[..., Predictions]


def leak(
    leaky: float | None, honest: float | None, ends: tuple[float, float] | None, metric: str
) -> Leakage:
    added = None if leaky is None or honest is None else leaky - honest
    note = "" if ends else "undefined in 100.0% of resamples (a class is absent there): no interval"
    low, high = ends or (None, None)
    return Leakage(Estimate(added, low, high, 100, 20, metric, note=note), leaky, honest)


def meter_row(model: str, *leaks: Leakage, honest: str = HONEST.name) -> MeterRow:
    return MeterRow(model, LEAKY.name, honest, leaks, ())


BEYOND = meter_row(
    "vgg16", leak(0.95, 0.80, (0.10, 0.20), "accuracy"), leak(0.99, 0.85, (0.08, 0.21), "roc_auc")
)
CHANCE = meter_row(
    "resnet50",
    leak(0.82, 0.80, (-0.03, 0.07), "accuracy"),
    leak(0.86, 0.85, (-0.04, 0.05), "roc_auc"),
)


@pytest.fixture
def evaluated(patients_table: Table) -> Callable[..., Evaluation]:
    """An evaluation of ten patients of four images, the first of each wrong."""

    def make(protocol: Protocol = HONEST, *, level: str = "image") -> Evaluation:
        origin = Provenance(protocol=protocol, dataset="breakhis", split="out-of-fold")
        table = patients_table(np.tile([0.2, 0.8, 0.8, 0.8], (10, 1)), origin)
        return evaluate_predictions(table, level=level, resamples=100)  # type: ignore[arg-type]

    return make


@pytest.fixture
def written(tmp_path: Path, parsed: Callable[[str], Page]) -> Callable[..., Page]:
    """The page of a study as a reader meets it."""

    def write(*meter: MeterRow, results: tuple[ResultRow, ...] = (), **facts: object) -> Page:
        told = replace(FACTS, **facts)  # type: ignore[arg-type]
        path = write_study_page(told, meter, results, tmp_path / "study.html")
        return parsed(path.read_text(encoding="utf-8"))

    return write


def sentence(page: Page) -> str:
    return page.words("meter").partition("What leakage adds ")[2]


def test_without_a_leaky_protocol_there_is_nothing_to_measure(written: Callable[..., Page]) -> None:
    assert sentence(written()) == (
        "No leaky protocol stands beside a patient-level one in this study, so there is no leak "
        "to measure."
    )


def test_the_first_sentence_counts_models_that_are_inflated_and_names_the_worst(
    written: Callable[..., Page],
) -> None:
    assert sentence(written(CHANCE, BEYOND)).startswith(
        "“image-level (leaky), 5-fold” inflates the accuracy of 1 of 2 models, at most by 0.15: "
        "0.950 for a model that gets 0.800 under “patient-level, 5-fold”."
    )


def test_a_leak_within_chance_is_said_to_inflate_no_model(written: Callable[..., Page]) -> None:
    assert sentence(written(CHANCE)).startswith(
        "“image-level (leaky), 5-fold” inflates the accuracy of no model of this study beyond "
        "chance against “patient-level, 5-fold”."
    )


def test_a_model_that_the_leak_makes_worse_is_not_called_inflated(
    written: Callable[..., Page],
) -> None:
    worse = meter_row("vgg16", leak(0.70, 0.80, (-0.15, -0.05), "accuracy"))
    assert "of no model of this study beyond chance" in sentence(written(worse))


def test_each_pair_of_protocols_has_its_sentence_heading_table_and_figures(
    written: Callable[..., Page],
) -> None:
    other = meter_row("vgg16", *BEYOND.leaks, honest="patient-level, eva-clean")
    page = written(BEYOND, CHANCE, other)
    section = page.part("meter")
    assert [each.text for each in section.iter("h3")] == [
        "image-level (leaky), 5-fold against patient-level, 5-fold",
        "image-level (leaky), 5-fold against patient-level, eva-clean",
    ]
    assert sentence(page).count("inflates the accuracy of") == 2
    assert [len(table.rows) for table in page.tables("meter")] == [2, 1]
    figures = [svg.findtext("title") for svg in section.iter("svg")]
    assert figures == ["What the leak adds to accuracy", "What the leak adds to ROC AUC"] * 2


def test_the_meters_table_goes_from_patients_apart_to_the_leak_with_what_it_adds(
    written: Callable[..., Page],
) -> None:
    (table,) = written(BEYOND).tables("meter")
    assert table.heads == ("Model", "Accuracy", "ROC AUC")
    assert table.rows == (
        (
            "vgg16",
            "0.800 → 0.950\n+0.150 [+0.100,\xa0+0.200]",
            "0.850 → 0.990\n+0.140 [+0.080,\xa0+0.210]",
        ),
    )
    assert "its 95 % interval: 20 patients, drawn whole and alike in both" in table.caption


def test_a_metric_that_has_no_meaning_under_one_protocol_is_a_dash(
    written: Callable[..., Page],
) -> None:
    same = leak(1.0, 1.0, (0.0, 0.0), "accuracy")
    page = written(meter_row("vgg16", same, leak(1.0, None, None, "roc_auc")))
    (table,) = page.tables("meter")
    assert table.rows[0][1:] == ("1.000 → 1.000\n0.000 [0.000,\xa00.000]", "– → 1.000\n–")


def test_a_measured_leak_is_told_as_it_was_measured(
    patients_table: Table, written: Callable[..., Page]
) -> None:
    leaky = patients_table(np.full((12, 4), 0.8), Provenance(protocol=LEAKY))
    honest = patients_table(np.tile([0.8, 0.2, 0.8, 0.2], (12, 1)), Provenance(protocol=HONEST))
    leaks = measure_leakage(leaky, honest, resamples=100)
    page = written(meter_row("vgg16", *leaks))
    assert "of 1 of 1 model, at most by 0.50: 1.000 for a model that gets 0.500" in sentence(page)
    assert page.tables("meter")[0].rows[0][1].startswith("0.500 → 1.000\n+0.500 [+0.500")


def test_every_protocol_has_a_table_a_level_with_headline_figures_and_seconds(
    written: Callable[..., Page], evaluated: Callable[..., Evaluation]
) -> None:
    image, patient = evaluated(), evaluated(level="patient")
    results = (
        ResultRow("vgg16\nseed 7", image, 12.6),
        ResultRow("vgg16\nseed 7", patient, 12.6),
        ResultRow("vgg16\nseed 7", evaluated(LEAKY), 3.2),
    )
    page = written(results=results)
    section = page.part("results")
    assert [(each.get("id"), each.text) for each in section.iter("h3")] == [
        ("results-1", "patient-level, 5-fold"),
        ("results-2", "image-level (leaky), 5-fold"),
    ]
    first, second, third = page.tables("results")
    assert "figures by image" in first.caption
    assert "figures by patient" in second.caption
    assert third.caption.startswith("image-level (leaky), 5-fold")
    assert first.heads[0] == "Model"
    assert first.heads[-3:] == ("Images", "Patients", "Seconds")
    row = dict(zip(first.heads, first.rows[0], strict=True))
    assert row["Model"] == "vgg16\nseed 7"
    assert row["Accuracy"].startswith("0.750\n[0.750")
    assert (row["Images"], row["Patients"], row["Seconds"]) == ("40", "10", "13")
    for found in headline_figures(image):
        assert f"{found.value:.3f}" in " ".join(first.rows[0])


def test_headline_figures_leave_the_area_within_patients_out_where_there_is_none(
    patients_table: Table, evaluated: Callable[..., Evaluation]
) -> None:
    names = [found.metric for found in headline_figures(evaluated())]
    assert names[:2] == ["roc_auc", "accuracy"]
    mixed = patients_table(np.full((10, 4), 0.8))
    frame = mixed.frame.assign(patient=[f"14-{n // 8}" for n in range(40)])
    both = evaluate_predictions(replace(mixed, frame=frame), resamples=100)
    assert [f.metric for f in headline_figures(both)][:2] == ["roc_auc", "within_roc_auc"]


def test_a_models_name_leads_to_its_report_only_where_there_is_one(
    written: Callable[..., Page], evaluated: Callable[..., Evaluation]
) -> None:
    linked = ResultRow("a", evaluated(), 1.0, "cells/a%20b/report.html")
    page = written(results=(linked, ResultRow("b", evaluated(), 1.0)))
    links = [link.get("href") for link in page.part("results").iter("a")]
    assert links == ["cells/a%20b/report.html"]
    assert page.tables("results")[0].caption.endswith("A name leads to the model's own report.")
    bare = written(results=(ResultRow("b", evaluated(), 1.0),))
    assert "own report" not in bare.tables("results")[0].caption


@pytest.mark.parametrize(
    ("facts", "patients"), [({}, ("Patients", "82")), ({"patients": 0}, ("Patients", "not known"))]
)
def test_the_cover_counts_images_patients_models_and_protocols(
    facts: dict[str, object],
    patients: tuple[str, str],
    written: Callable[..., Page],
    evaluated: Callable[..., Evaluation],
) -> None:
    results = (ResultRow("a", evaluated(), 1.0), ResultRow("a", evaluated(LEAKY), 1.0))
    page = written(results=results, **facts)
    cover = page.root.find(".//header")
    assert cover is not None
    names, values = ([e.text for e in cover.iter(tag)] for tag in ("dt", "dd"))
    assert dict(zip(names, values, strict=True)) == {
        "Dataset": "breakhis",
        "Images": "1,820",
        patients[0]: patients[1],
        "Models and ensembles": "2",
        "Protocols": "2",
    }


def test_pseudo_patients_are_never_called_patients_on_the_cover(
    written: Callable[..., Page], evaluated: Callable[..., Evaluation]
) -> None:
    pseudo = Protocol("patient", "5-fold", pseudo=True)
    page = written(results=(ResultRow("a", evaluated(pseudo), 1.0),))
    names = [each.text for each in page.root.iter("dt")]
    assert "Pseudo-patients" in names
    assert "Patients" not in names


def test_what_failed_stands_in_a_table_and_in_the_contents_and_only_then(
    written: Callable[..., Page],
) -> None:
    page = written(failures=(("patient_5-fold/seed-7/a", "12 patients <cannot> fill 30"),))
    (table,) = page.tables("failures")
    assert table.rows == (("patient_5-fold/seed-7/a", "12 patients <cannot> fill 30"),)
    contents = [link.get("href") for link in page.root.iter("a")]
    assert contents.count("#failures") == 2  # at the side, and folded
    assert "#failures" not in [link.get("href") for link in written().root.iter("a")]


def test_comparisons_and_heatmaps_are_linked_from_a_section_of_their_own(
    written: Callable[..., Page],
) -> None:
    page = written(pages=(("Comparison: a & b", "comparisons/a/comparison.html"),))
    (link,) = page.part("pages").iter("a")
    assert (link.get("href"), link.text) == ("comparisons/a/comparison.html", "Comparison: a & b")


def test_settings_and_the_title_are_shown_as_they_are_written(written: Callable[..., Page]) -> None:
    page = written()
    assert page.root.findtext(".//title") == "First <study> · eosin study"
    assert page.root.findtext(".//h1") == "First <study>"
    assert "seeds [7] backbones ['a']" in page.words("settings")
