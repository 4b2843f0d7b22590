"""The Worklist as readers use it: by keyboard alone, blind, several at once, badly connected."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, Response, Route, expect

from eosin.networks.run import Run
from eosin.server.record import Listing, Record
from eosin.server.tables import Answer
from eosin.server.worklist import Worklist, read_worklist

Serve = Callable[..., Any]
ANSWERS = re.compile("/answers$")


@pytest.fixture
def worklist(cases: Path, exported: Run) -> Worklist:
    return read_worklist(cases, [exported.folder])


@pytest.fixture
def url(serve_briefly: Serve, exported: Run, cases: Path, database: str) -> str:
    return serve_briefly(exported, data=cases, db=database, allow_seen=True).url


def begin(page: Page, url: str, reader: str = "ada", *wanted: str) -> None:
    """Fill in who reads, tick what is wanted, and begin; all by keyboard."""
    page.goto(f"{url}/worklist")
    page.get_by_label("Who reads?").focus()
    page.keyboard.type(reader)
    for label in wanted:
        page.get_by_label(label).focus()
        page.keyboard.press("Space")
    page.get_by_label("Who reads?").focus()
    page.keyboard.press("Enter")
    at_case(page, 1)


def at_case(page: Page, number: int) -> None:
    """Wait until a case is shown, with its image."""
    expect(page.locator("#which")).to_have_text(re.compile(f"^Case {number} of "))


def rows(database: str) -> list[Answer]:
    with closing(Record(database, create=False)) as record:
        return record.log()


@contextmanager
def process(run: Run, data: Path, db: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """`eosin serve` as people start it; killed at the end where it still runs."""
    options = ["--data", str(data), "--db", db, "--port", str(port)]
    command = [sys.executable, "-u", "-m", "eosin", "serve", str(run.folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert f":{port};" in started.stdout.readline()
            yield started
        finally:
            started.kill()


def test_twenty_cases_are_reviewed_by_keyboard_alone_while_the_server_dies_and_comes_back(
    page: Page, exported: Run, cases: Path, database: str, worklist: Worklist
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    press = page.keyboard.press
    with ExitStack() as servers:
        server = servers.enter_context(process(exported, cases, database, port))
        begin(page, f"http://127.0.0.1:{port}")
        for number in range(1, 21):
            at_case(page, number)
            if number == 3:
                press("c")
                page.keyboard.type("pale, 2 mitoses")
                press("Enter")
            if number == 5:
                for key in ("r", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Enter"):
                    press(key)
                expect(page.locator(".region--own")).to_have_count(1)
            if number == 7:
                press("1")
                at_case(page, 8)
                press("u")
                at_case(page, 7)
            if number == 11:
                os.kill(server.pid, signal.SIGKILL)
                server.wait()
            press("2" if number % 3 else "1")
            if number == 11:
                expect(page.get_by_role("alert")).to_contain_text("Trying again, 2 of 5")
                servers.enter_context(process(exported, cases, database, port))
        expect(page.locator("#counts")).to_contain_text("You have answered 20 of 20.")
        expect(page.locator("#said")).to_contain_text("Kept: case 20: malignant")
        expect(page.locator("#trouble")).to_be_empty()
    listed = [case.id for case in worklist.listed(Listing("ada", "doubt"), {})]
    wanted = [(case, "malignant" if k % 3 else "benign") for k, case in enumerate(listed, 1)]
    log = rows(database)
    assert [row.kind for row in log] == ["answer"] * 7 + ["undo"] + ["answer"] * 14
    assert (log[6].case_id, log[6].label, log[7].undoes) == (listed[6], "benign", log[6].number)
    kept = log[:6] + log[8:]
    assert [(row.case_id, row.label) for row in kept] == wanted
    assert [row.comment for row in kept if row.comment] == [kept[2].comment] == ["pale, 2 mitoses"]
    assert [row.region for row in kept if row.region] == [kept[4].region] == [[17, 17, 33, 32]]
    assert {(row.reader, row.run, row.ordering) for row in log} == {
        ("ada", exported.sha256, "doubt")
    }


def test_a_blind_reader_gets_nothing_of_the_model_before_their_answer(
    page: Page, url: str, database: str, worklist: Worklist
) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    begin(page, url, "ada", "At random", "Blind:")
    seed = int(page.get_by_label("Seed").input_value())
    expect(page.locator("#model")).to_have_text("Blind: the model's answer is shown after yours.")
    expect(page.get_by_role("button", name="Heatmap")).to_be_disabled()
    page.keyboard.press("h")
    expect(page.locator("#said")).to_contain_text("hidden until you have answered")
    expect(page.locator("#counts")).to_contain_text("of 20")
    texts = [each.text() for each in answers if "json" in each.headers.get("content-type", "")]
    assert any('"cases":[' in text for text in texts)
    assert not [text for text in texts if "probabilities" in text or "familiarity" in text]
    assert page.locator("meter").count() == 0
    first = worklist.listed(Listing("ada", "random", seed), {})[0]
    refused = page.request.get(f"{url}/review/api/cases/{first.id}/heatmap?reader=ada")
    assert (refused.status, page.locator("#list").inner_text()) == (
        403,
        f"ada, at random with the seed {seed}, blind.",
    )
    page.keyboard.press("1")
    at_case(page, 1)  # it stays, so that the answer of the model is seen
    expect(page.locator("#model .decision")).to_contain_text(first.decision)
    page.keyboard.press("h")
    expect(page.locator("#under")).to_contain_text("Grad-CAM, evidence for")
    page.keyboard.press("n")
    at_case(page, 2)
    expect(page.locator("meter")).to_have_count(0)
    (row,) = rows(database)
    assert (row.case_id, row.blind, row.ordering) == (first.id, True, "random")
    assert row.shown["model"] is None
    assert page.evaluate("JSON.stringify(localStorage)") == '{"eosin.reader":"ada"}'


def test_two_readers_at_once_agree_or_not_and_a_disagreement_is_decided(
    page: Page, browser: Browser, url: str, database: str
) -> None:
    with closing(browser.new_context()) as second:
        other = second.new_page()
        begin(page, url, "ada")
        begin(other, url, "bea")
        for number, (mine, theirs) in enumerate(("11", "22", "12"), 1):
            at_case(page, number)
            at_case(other, number)
            page.keyboard.press(mine)
            at_case(page, number + 1)
            other.keyboard.press(theirs)
            at_case(other, number + 1)
        other.keyboard.press("p")
        at_case(other, 3)
        expect(other.locator("#others")).to_contain_text("ada: benign")
        expect(other.locator("#others")).to_contain_text("Readers disagree")
        other.keyboard.press("a")
        expect(other.locator("#others")).to_contain_text("Your next answer decides")
        other.keyboard.press("1")
        at_case(other, 4)
        other.keyboard.press("p")
        expect(other.locator("#others")).to_contain_text("Decided by bea: benign")
        other.get_by_text("Agreement of readers").click()
        table = other.locator("#agreement table")
        expect(table.locator("tbody tr")).to_have_count(1)
        expect(table).to_contain_text("ada and bea")
        expect(table).to_contain_text("Cohen")
        expect(table).to_contain_text("0.67 (")
        expect(other.locator("#pairs")).to_contain_text("an order by doubt")
    said = [(row.reader, row.kind, row.label) for row in rows(database)]
    assert said.count(("bea", "adjudication", "benign")) == 1
    assert len(said) == 7


def test_an_answer_that_is_not_acknowledged_is_kept_on_the_page_and_sent_once(
    page: Page, url: str, database: str
) -> None:
    page.clock.install()
    begin(page, url)
    page.route(ANSWERS, lambda route: route.abort())
    page.keyboard.press("1")
    for number in range(1, 6):
        expect(page.get_by_role("alert")).to_contain_text(f"Trying again, {number} of 5")
        page.clock.fast_forward(7_000)
    said = page.get_by_role("alert")
    expect(said).to_contain_text("NOT KEPT by the server: case 1: benign. The server does not")
    assert rows(database) == []
    lost: list[Request] = []

    def loses_the_reply(route: Route) -> None:
        if lost:
            return route.continue_()
        lost.append(route.request)
        route.fetch()  # the server keeps it, and the page hears nothing of that
        return route.abort()

    page.unroute(ANSWERS)
    page.route(ANSWERS, loses_the_reply)
    page.get_by_role("button", name="Send again").click()
    expect(said).to_contain_text("Trying again, 1 of 5")
    page.clock.fast_forward(7_000)
    at_case(page, 2)
    expect(said).to_be_empty()
    assert [(row.kind, row.label) for row in rows(database)] == [("answer", "benign")]
    assert len(lost) == 1


def test_a_region_is_two_clicks_and_goes_without_an_answer_where_that_is_wanted(
    page: Page, url: str, database: str
) -> None:
    begin(page, url)
    image = page.locator("#image").bounding_box()
    assert image is not None
    for share in (0.75, 0.25):
        page.mouse.click(image["x"] + image["width"] * share, image["y"] + image["height"] * share)
    expect(page.locator("#said")).to_contain_text("The region 16, 16, 32, 32 goes with")
    page.get_by_role("button", name="Keep without an answer").click()
    expect(page.locator("#others ol")).to_contain_text("comment: region 16, 16, 32, 32")
    page.keyboard.press("s")
    at_case(page, 2)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("answer malignant")
    page.keyboard.press("Escape")
    for key in "1212":  # faster than cases come: what is pressed between two counts for neither
        page.keyboard.press(key)
    expect(page.locator("#which")).not_to_have_text(re.compile("^Case 2 of "))
    log = rows(database)
    assert (log[0].kind, log[0].region) == ("comment", [16, 16, 32, 32])
    assert {row.kind for row in log[1:]} == {"answer"}


def test_without_the_token_there_is_a_form_and_a_sentence(
    page: Page, serve_briefly: Serve, exported: Run, cases: Path, database: str
) -> None:
    token = "0123456789abcdef-token"
    server = serve_briefly(exported, data=cases, db=database, token=token)
    assert server.client.get("/review/api/progress").status_code == 401
    page.goto(f"{server.url}/worklist")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Worklist")).to_be_visible()
    begin(page, server.url)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_worklist_can_be_read_by_everybody(
    page: Page, url: str, violations: Any, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}/worklist")
    assert violations(page) == []
    begin(page, url)
    page.keyboard.press("2")
    at_case(page, 2)
    page.keyboard.press("p")
    at_case(page, 1)
    for key in ("r", "Enter", "h"):
        page.keyboard.press(key)
    expect(page.locator("#under")).to_contain_text("evidence for")
    page.get_by_text("Agreement of readers").click()
    expect(page.locator("#pairs")).to_contain_text("No two readers")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
