"""What holds of every page: it stands alone, its links lead on, and it speaks to all readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.artefacts.slide import ClassShare, SlideAnswer, WholeAnswer
from eosin.data.audit import Audit, AuditedImage, DuplicatePair
from eosin.data.balance import Balance, ClassCount
from eosin.data.tiles import TileOptions, tile_slide
from eosin.evaluation.compare import compare_predictions
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.leakage import MeterRow, measure_leakage
from eosin.explanation.heatmap import Explanation, Heatmap
from eosin.inference.predict import Scored
from eosin.inference.slides import ScoredSlide
from eosin.pixels.reading import SkippedFile
from eosin.protocol import Protocol
from eosin.reporting.audit_page import audit_page
from eosin.reporting.checklist import fill_checklist
from eosin.reporting.comparison_page import write_comparison
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.reporting.html import css_text, render
from eosin.reporting.report import write_report
from eosin.reporting.slide_folder import slide_frame
from eosin.reporting.slide_page import PALETTE, share_table, slide_sentence, write_slide
from eosin.reporting.stress_page import write_stress
from eosin.reporting.study_page import ResultRow, StudyFacts, write_study_page
from eosin.tasks import Task
from eosin.trust.stress_card import stress_card
from eosin.version import __version__

if TYPE_CHECKING:
    from .conftest import Experiment, Page

KINDS = ("audit", "checklist", "comparison", "heatmaps", "report", "slide", "stress", "study")
STRANGE = '<script>alert("x")</script> & "y"'
LEAKY = Protocol("image", "5-fold", leaky=True)
BINARY = Task("binary", ("benign", "malignant"), positive="malignant")


def explained(path: Path) -> Explanation:
    heatmap = Heatmap(
        method="gradcam",
        model=STRANGE,
        backbone="b0",
        family="B",
        target="malignant",
        probabilities={"benign": 0.25, "malignant": 0.75},
        values=np.ones((32, 48), np.float32),
        raw=np.ones((7, 7), np.float32),
        seen=True,
    )
    image = np.full((32, 48, 3), 200, np.uint8)
    return Explanation(path, image, "benign", "malignant", (heatmap,))


@pytest.fixture(scope="module")
def slide(
    drawn_slide: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> ScoredSlide:
    """Pink tissue in glass; every third of its tiles is malignant."""
    pytest.importorskip("tifffile")
    pixels = np.full((1200, 1600, 3), 243, np.uint8)
    draw = np.random.default_rng(0)
    pixels[300:900, 400:1200] = draw.integers(0, 60, (600, 800, 1)) + np.array([170, 90, 150])
    path = drawn_slide(tmp_path_factory.mktemp("slide") / "a&b.tiff", pixels, compression="deflate")
    tiled = tile_slide(path, TileOptions(mpp=0.5, size=100), known={})
    rows = pd.DataFrame(tiled.rows({"patient": "14-1", "label": ""}))
    rows = rows.assign(magnification="", fold="")
    chances = np.where(np.arange(len(rows)) % 3 == 0, 0.9, 0.2)
    table = make_predictions(rows, np.stack([1 - chances, chances], 1), task=BINARY)
    share = float((chances > 0.5).mean())
    answer = SlideAnswer(
        **{"slide": str(path), "patient": "14-1", "label": "", "vendor": "tiff"},
        **{"width": 1600, "height": 1200, "slide_mpp": 0.5, "size": 100, "overlap": 0, "mpp": 0.5},
        **{"tile_width": 100.0, "step": 100.0, "run": STRANGE, "run_sha256": "0" * 64},
        **{"task": BINARY, "protocol": LEAKY, "threshold": 0.5, "tiles": len(rows), "unread": 0},
        **{"tissue_mm2": 0.12, "areas": {"glass": 0.75, "tissue": 0.25, "pen": 0.0}},
        **{"flagged": None, "squares": 1, "whole": None, "notes": ("A note.",)},
        classes=(
            ClassShare(name="benign", share=1 - share, low=None, high=None, probability=0.6),
            ClassShare(name="malignant", share=share, low=0.1, high=0.6, probability=0.4),
        ),
    )
    return ScoredSlide(tiled, Scored(table), answer)


@pytest.fixture(scope="module")
def written(
    experiment: Experiment,
    slide: ScoredSlide,
    patients_table: Callable[..., Predictions],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """A page of each kind, of things with strange names and a leaky protocol."""
    home = tmp_path_factory.mktemp("pages")
    table = experiment.predictions(protocol=LEAKY, notes=(STRANGE,))
    table = replace(table, provenance=replace(table.provenance, dataset=STRANGE, model=STRANGE))
    evaluation = evaluate_predictions(table, resamples=40)
    honest = replace(table, provenance=replace(table.provenance, protocol=Protocol("patient")))
    first, second = (AuditedImage(p, STRANGE, "1", "train", "") for p in table.frame["path"][:2])
    count = ClassCount("train", STRANGE, 2, 1)
    audit = Audit(
        *(2, 1, STRANGE, LEAKY),
        (DuplicatePair(first, second, "near-duplicate", STRANGE, 0.1),),
        *((STRANGE,), ((STRANGE, ("a", "b")),)),
        Balance(("train",), (count,), (count,), ()),
        *((STRANGE,), (SkippedFile(Path(STRANGE.replace("/", "")), STRANGE),)),
    )
    image = home / f"{STRANGE.replace('/', '')}.png"
    meter = MeterRow(
        STRANGE, LEAKY.name, "patient-level", measure_leakage(table, honest, resamples=40), ()
    )
    facts = StudyFacts(STRANGE, STRANGE, 1, 36, 12, ((STRANGE, STRANGE),), ((STRANGE, STRANGE),))
    pages = {
        "report": write_report(experiment.run, table, home / "r.html", evaluation=evaluation),
        "comparison": write_comparison(
            compare_predictions({STRANGE: table, "b": table}, resamples=40), home / "c", runs={}
        ),
        "slide": write_slide(slide, home / "slide"),
        "stress": write_stress(
            stress_card(table, {("blur", 1): table}, resamples=40), table, home / "stress"
        ),
        "study": write_study_page(
            facts, [meter], [ResultRow(STRANGE, evaluation, 1.0)], home / "study.html"
        ),
    }
    write_heatmaps([explained(image), SkippedFile(image, STRANGE)], home / "heatmaps")
    pages["heatmaps"] = home / "heatmaps" / "index.html"
    texts = {kind: path.read_text(encoding="utf-8") for kind, path in pages.items()}
    texts["audit"] = audit_page(audit)
    texts["checklist"] = fill_checklist(experiment.run, table, "claim").page()
    return texts


@pytest.fixture(params=KINDS)
def page(
    request: pytest.FixtureRequest, written: dict[str, str], parsed: Callable[[str], Page]
) -> Page:
    return parsed(written[request.param])


def test_a_page_asks_nothing_of_the_network_and_runs_nothing(page: Page) -> None:
    assert not {each.tag for each in page.root.iter()} & {"script", "link", "iframe", "object"}
    for each in page.root.iter():
        assert not [name for name in each.attrib if name.startswith("on")]
        for name in ("src", "srcset", "href", "xlink:href", "action"):
            value = each.get(name, "#")
            assert ":" not in value.partition("/")[0] or value.startswith("data:image/"), value
    for style in page.root.iter("style"):
        assert "@import" not in (style.text or "")
        assert "url(" not in (style.text or "")


def test_ids_stand_once_and_every_link_within_the_page_leads_to_one(page: Page) -> None:
    ids = [each.get("id") for each in page.root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for each in page.root.iter():
        for name in ("href", "xlink:href", "aria-labelledby", "aria-describedby"):
            target = each.get(name, "")
            if name.startswith("aria") or target.startswith("#"):
                assert not target or target.removeprefix("#") in ids


def test_a_reader_who_cannot_see_is_told_of_every_picture_table_and_column(page: Page) -> None:
    assert page.root.get("lang") == "en"
    assert page.root.findtext(".//title", "").strip()
    for image in page.root.iter("img"):
        assert image.get("alt", "").strip()
        assert int(image.get("width", "0")) > 0
    for drawing in page.root.iter("svg"):
        hidden = drawing.get("aria-hidden") == "true"
        assert hidden or (drawing.get("role") == "img" and drawing.findtext("title", "").strip())
    for head in page.root.iter("th"):
        assert head.get("scope") in ("col", "row")
    for region in page.root.iter("div"):
        if region.get("role") == "region":
            assert region.get("aria-label")
            assert region.get("tabindex") == "0"  # it scrolls by keyboard
    assert len(list(page.root.iter("h1"))) == len(list(page.root.iter("main"))) == 1


def test_every_page_says_who_made_it_and_that_it_is_for_research(page: Page) -> None:
    generator = [m.get("content") for m in page.root.iter("meta") if m.get("name") == "generator"]
    assert generator == [f"eosin {__version__}"]
    footer = page.root.find(".//footer")
    assert footer is not None
    assert "For research; not a medical device and not a diagnosis." in "".join(footer.itertext())


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_text_wherever_they_stand(
    kind: str, written: dict[str, str], parsed: Callable[[str], Page]
) -> None:
    assert "<script" not in written[kind].lower()
    said = parsed(written[kind]).words()
    assert STRANGE in said or STRANGE.replace("/", "") in said


@pytest.mark.parametrize("kind", ["report", "comparison", "stress", "slide"])
def test_a_leaky_protocol_stands_in_a_ribbon_across_the_page(
    kind: str, written: dict[str, str], parsed: Callable[[str], Page]
) -> None:
    root = parsed(written[kind]).root
    assert [each for each in root.iter("div") if each.get("class") == "ribbon"]
    assert LEAKY.name in "".join(root.itertext())


def test_a_fact_that_is_missing_is_an_error_and_not_an_empty_place() -> None:
    with pytest.raises(UndefinedError):
        render("stress.html", {"title": "t"})


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "</style>", "é ✓", "a b1"])
def test_text_in_a_style_stays_inside_its_quotes(text: str) -> None:
    found = str(css_text(text))
    assert found[0] == found[-1] == '"'
    assert not set(found[1:-1]) & set('"<>\n')
    assert css_text("a b1") == '"a b1"'


def test_a_slides_tissue_is_shared_out_in_words_in_a_table_and_in_a_row(
    slide: ScoredSlide, written: dict[str, str], parsed: Callable[[str], Page]
) -> None:
    answer = slide.answer
    benign, malignant = answer.classes
    assert slide_sentence(answer) == (
        f"Share of the tissue: class benign: {benign.share:.3f}; class malignant: "
        f"{malignant.share:.3f} [0.100, 0.600] ({answer.tiles} tiles; too little tissue for "
        "intervals)."
    )
    page = parsed(written["slide"])
    shares, areas = page.tables("figures")
    assert shares.rows == share_table(answer).rows
    assert shares.rows[1] == ("malignant", f"{malignant.share:.3f} [0.100, 0.600]", "0.400")
    assert areas.rows == (("glass", "0.750"), ("tissue", "0.250"))  # no pen, no row
    assert "in a viewer: probability.ome.tiff; or qupath.geojson in QuPath." in page.words("map")
    headings = [each.text for each in page.part("tiles").iter("h3")]
    assert headings == ["Most certain: benign", "Most certain: malignant", "Most doubtful"]
    (row,) = slide_frame([answer]).to_dict("records")
    assert (row["tiles"], row["decision"], row["tissue_mm2"]) == (answer.tiles, "", 0.12)
    assert (row["share_malignant"], row["low_malignant"]) == (malignant.share, 0.1)


def test_the_maps_of_several_classes_are_called_as_their_files_are(
    slide: ScoredSlide, tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    grades = Task("her2", BINARY.classes, ordinal=True)
    table = replace(slide.scored.predictions, task=grades)
    answer = slide.answer.model_copy(update={"task": grades, "threshold": None})
    found = replace(slide, scored=Scored(table), answer=answer)
    page = parsed(write_slide(found, tmp_path, packed=True).read_text(encoding="utf-8"))
    named = page.words("map").partition("in a viewer: ")[2].partition(" in QuPath")[0]
    assert named == "probability-0.ome.tiff, probability-1.ome.tiff; or qupath.geojson.gz"
    assert {"probability-0.ome.tiff", "qupath.geojson.gz"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("answer", "end"),
    [("malignant", "(12 tiles)."), ("abstain", "(12 tiles; the answer is to abstain).")],
)
def test_a_run_that_answers_for_slides_says_its_class_with_probability(
    slide: ScoredSlide, answer: str, end: str
) -> None:
    whole = WholeAnswer(
        decision="malignant", probabilities={"benign": 0.25, "malignant": 0.75}, answer=answer
    )
    found = slide.answer.model_copy(update={"whole": whole, "tiles": 12})
    assert slide_sentence(found) == f"malignant, probability 0.750 {end}"
    assert slide_frame([found])["decision"].tolist() == ["malignant"]
    assert len(set(PALETTE)) == len(PALETTE)
