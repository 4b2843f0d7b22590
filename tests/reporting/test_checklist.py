"""Checklists and model cards say what artefacts show, and leave the rest to the authors."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from eosin.artefacts.predictions import Predictions, Provenance
from eosin.errors import ConfigError
from eosin.networks.run import Run
from eosin.protocol import Protocol
from eosin.reporting.answers import Answers
from eosin.reporting.checklist import fill_checklist
from eosin.reporting.model_card import model_card
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
BY_PATIENT = Protocol(unit="patient", design="70/15/15", seed=7)
Scored = Callable[..., Predictions]
ITEMS = {"tripod-ai": 52, "claim": 44, "metrics": 30}


@pytest.fixture
def run(tmp_path: Path, make_record: Callable[..., object]) -> Run:
    record = make_record(task=BINARY, notes=("One slide <b>was torn</b> | twice.",))
    return Run(tmp_path, record, "0" * 64)  # type: ignore[arg-type]


@pytest.fixture
def scored(patients_table: Callable[..., Predictions]) -> Scored:
    """Ten patients of four images; the first image of each is classified wrongly."""

    def build(protocol: Protocol = BY_PATIENT) -> Predictions:
        origin = Provenance(protocol=protocol, dataset="breakhis", split="test", threshold=0.5)
        return patients_table(np.tile([0.2, 0.8, 0.8, 0.8], (10, 1)), origin)

    return build


@pytest.mark.parametrize("standard", ITEMS)
def test_every_item_of_a_standard_is_there_once_and_answered_or_open(
    run: Run, standard: str, scored: Scored
) -> None:
    filled = fill_checklist(run, scored(), standard)
    numbers = [item.number for item in filled.items]
    assert len(numbers) == len(set(numbers)) == ITEMS[standard]
    assert 0 < len(filled.open_items) < ITEMS[standard]
    text = filled.markdown()
    assert text.count("**Open: for the authors**") == len(filled.open_items)
    assert all(f"\n| {number} | " in text for number in numbers)


def test_what_no_artefact_shows_stays_open(run: Run, scored: Scored) -> None:
    answers = {
        item.number: item.answer for item in fill_checklist(run, scored(), "tripod-ai").items
    }
    for number in ("6b", "14", "17", "18a", "18b", "19", "20b"):  # ethics, funding, fairness, ...
        assert answers[number] is None


def test_external_testing_is_claimed_of_external_images_alone(run: Run, scored: Scored) -> None:
    own = {i.number: i.answer for i in fill_checklist(run, scored(), "claim").items}
    other = Protocol(unit="external", patients_known=True)
    away = {i.number: i.answer for i in fill_checklist(run, scored(other), "claim").items}
    assert own["33"] is None
    assert own["32"] is not None
    assert "accuracy 0.750" in own["32"]
    assert away["32"] is None
    assert away["33"] is not None
    assert away["33"].startswith("external images")


def test_a_leaky_protocol_is_said_where_the_division_is_asked_for(run: Run, scored: Scored) -> None:
    leaky = Protocol(unit="image", design="5-fold", leaky=True)
    answers = {i.number: i.answer for i in fill_checklist(run, scored(leaky), "tripod-ai").items}
    assert "image-level (leaky)" in str(answers["12a"])
    assert "remembering patients" in str(answers["12a"])


def test_figures_are_those_of_the_evaluation_with_their_n(run: Run, scored: Scored) -> None:
    answers = {i.number: i.answer for i in fill_checklist(run, scored(), "claim").items}
    assert "accuracy 0.750 [0.750, 0.750]" in str(answers["38"])  # each patient has 3 of 4 right
    assert "40 images of 10 patients" in str(answers["38"])
    assert str(answers["39"]).startswith("10 of 40 images are classified wrongly")


def test_a_users_words_break_neither_the_table_nor_the_page(run: Run, scored: Scored) -> None:
    filled = fill_checklist(run, scored(), "tripod-ai")
    row = next(line for line in filled.markdown().splitlines() if line.startswith("| 26 |"))
    assert r"&lt;b>was torn&lt;/b> \| twice" in row
    assert "&lt;b&gt;was torn&lt;/b&gt;" in filled.page()


def test_a_model_card_has_metadata_that_a_hub_reads(run: Run, scored: Scored) -> None:
    card = model_card(run, scored())
    head = card.split("---\n")[1]
    assert "pipeline_tag: image-classification" in head
    assert "license: unknown" in head
    assert "{type: accuracy, value: 0.7500" in head
    assert "Licence, ethics, consent, funding" in card


def test_every_answer_that_a_standard_names_exists() -> None:
    text = resources.files("eosin.reporting").joinpath("standards.toml").read_text("utf-8")
    named = {
        each["from"]
        for standard in tomllib.loads(text).values()
        for each in standard["items"]
        if "from" in each
    }
    assert len(named) > 20
    assert all(callable(getattr(Answers, f"_{name}", None)) for name in named)


def test_an_unknown_standard_is_named_with_those_there_are(run: Run, scored: Scored) -> None:
    with pytest.raises(ConfigError, match=r"'stard' is not one of \['tripod-ai', 'claim'"):
        fill_checklist(run, scored(), "stard")
