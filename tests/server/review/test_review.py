"""The review API alone: what a reader sees, says and takes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from eosin.errors import DiskError
from eosin.server.record import Given, Record
from eosin.server.review import register, review_router
from eosin.server.settings import ServeOptions
from eosin.server.worklist import Worklist

API, JSON = "/review/api", {"content-type": "application/json"}


class Client:
    """Calls an application in this process."""

    def __init__(self, application: FastAPI) -> None:
        self.transport = httpx.ASGITransport(application)

    def _ask(self, method: str, path: str, **more: object) -> httpx.Response:
        async def ask() -> httpx.Response:
            at = {"transport": self.transport, "base_url": "http://test"}
            async with httpx.AsyncClient(**at) as client:
                return await client.request(method, f"{API}{path}", **more)

        return asyncio.run(ask())

    def get(self, path: str, **asked: object) -> httpx.Response:
        return self._ask("GET", path, params=asked or None)

    def post(self, path: str, **body: object) -> httpx.Response:
        return self._ask("POST", path, content=json.dumps(body), headers=JSON)

    def answer(self, case: str, reader: str, label: str | None = None, **more: object) -> dict:
        done = self.post(f"/cases/{case}/answers", reader=reader, label=label, **more)
        assert done.status_code == 201, done.text
        return done.json()


def application(record: Record, worklist: Worklist, **options: bool) -> FastAPI:
    made = FastAPI()
    made.include_router(review_router(record, worklist, **options))
    return made


@pytest.fixture
def client(record: Record, worklist: Worklist) -> Client:
    return Client(application(record, worklist))


def test_a_page_of_cases_has_the_models_answer_and_says_that_doubt_is_biased(
    client: Client, worklist: Worklist
) -> None:
    page = client.get("/cases", reader="ada", limit=3, offset=2).json()
    listed = sorted(worklist.cases, key=lambda case: case.doubt)
    assert page["total"] == 12
    assert [(c["position"], c["id"]) for c in page["cases"]] == [
        (k, listed[k].id) for k in (2, 3, 4)
    ]
    assert page["cases"][0]["model"] == listed[2].model()
    assert page["notes"] == [
        "Ordered by doubt: figures from these cases are biased; a random order gives others."
    ]
    shuffled = client.get("/cases", reader="ada", order="random", seed=5).json()
    assert (shuffled["seed"], shuffled["notes"]) == (5, [])


def test_no_path_no_name_and_no_patient_leaves_the_server_unless_asked_for(
    client: Client, record: Record, worklist: Worklist
) -> None:
    case = worklist.cases[3]
    texts = [
        client.get("/cases", reader="ada").text,
        client.get(f"/cases/{case.id}", reader="ada").text,
        client.post(f"/cases/{case.id}/answers", reader="ada", label="0").text,
        client.get("/agreement").text,
    ]
    for text in texts:
        assert "p01" not in text
        assert ".png" not in text
    shown = Client(application(record, worklist, show_patients=True))
    view = shown.get(f"/cases/{case.id}", reader="ada").json()
    assert (view["name"], view["patient"]) == ("01_3.png", "p01")
    assert case.path not in str(view)


def test_blind_mode_hides_the_model_until_the_reader_has_answered(
    client: Client, worklist: Worklist, record: Record
) -> None:
    page = client.get("/cases", reader="ada", order="random", blind=True).json()
    assert [each["model"] for each in page["cases"]] == [None] * 12
    case = page["cases"][0]["id"]
    assert client.get(f"/cases/{case}", reader="ada", blind=True).json()["model"] is None
    done = client.answer(case, "ada", "1+", shown={"zoom": 1.5})
    assert (done["answer"]["blind"], done["answer"]["ordering"]) == (True, "random")
    assert done["case"]["model"] == worklist.by_id[case].model()
    assert record.log()[0].shown == {"page": {"zoom": 1.5}, "model": None}
    assert record.log()[0].run == "a1" * 32
    again = client.get("/cases", reader="ada", order="random", blind=True).json()
    assert [each["model"] is None for each in again["cases"]] == [False] + [True] * 11
    other = page["cases"][1]["id"]
    client.get(f"/cases/{other}", reader="ada")  # looks behind the blind
    assert client.answer(other, "ada", "1+")["answer"]["blind"] is False


def test_a_second_reader_sees_the_first_ones_answer_only_after_their_own(
    client: Client, worklist: Worklist
) -> None:
    case = worklist.cases[0].id
    client.answer(case, "ada", "0", comment="pale", region=[10, 20, 30.5, 40])
    before = client.get("/cases", reader="bea", filter="second").json()["cases"]
    assert [each["id"] for each in before] == [case]
    assert (before[0]["others"], before[0]["comments"], before[0]["readers"]) == (None, [], 1)
    after = client.answer(case, "bea", "3+")["case"]
    assert [(row["reader"], row["label"]) for row in after["others"]] == [("ada", "0")]
    assert after["comments"][0]["comment"] == "pale"
    assert after["others"][0]["region"] == [10, 20, 30.5, 40]
    assert after["disagreement"] is True
    settled = client.answer(case, "ada", "2+", adjudicate=True)["case"]
    assert (settled["disagreement"], settled["adjudication"]["label"]) == (False, "2+")


def test_whoever_adjudicates_sees_what_two_readers_said_and_is_not_blind_afterwards(
    client: Client, worklist: Worklist
) -> None:
    case = worklist.cases[0].id
    client.get("/cases", reader="eva", blind=True, order="random")
    client.answer(case, "ada", "0")
    alone = client.get(f"/cases/{case}", reader="cem", blind=True, adjudicate=True).json()
    assert alone["others"] is None  # one answer is nothing to decide between
    client.answer(case, "bea", "3+")
    assert client.get(f"/cases/{case}", reader="eva", blind=True).json()["others"] is None
    view = client.get(f"/cases/{case}", reader="eva", blind=True, adjudicate=True).json()
    assert [(row["reader"], row["label"]) for row in view["others"]] == [
        *(("ada", "0"), ("bea", "3+"))
    ]
    done = client.answer(case, "eva", "2+", adjudicate=True)
    assert (done["answer"]["kind"], done["answer"]["blind"]) == ("adjudication", False)
    assert done["case"]["adjudication"]["label"] == "2+"


def test_undo_and_its_undo_over_the_api_and_the_history_that_stays(
    client: Client, worklist: Worklist
) -> None:
    case = worklist.cases[0].id
    client.answer(case, "ada", "0")
    client.answer(case, "ada", "1+")
    undo = client.post("/undo", reader="ada")
    assert undo.status_code == 201
    view = client.get(f"/cases/{case}", reader="ada").json()
    assert view["mine"]["label"] == "0"
    assert [(row["kind"], row["undone"]) for row in view["history"]] == [
        *(("answer", False), ("change", True), ("undo", False))
    ]
    client.post("/undo", reader="ada", answer=undo.json()["answer"]["number"])
    assert client.get(f"/cases/{case}", reader="ada").json()["mine"]["label"] == "1+"
    nobody = client.post("/undo", reader="cem")
    assert (nobody.status_code, nobody.json()["detail"]) == (
        409,
        "cem has no answer that can be undone",
    )


def test_agreement_has_intervals_by_patient_and_says_how_answers_came_about(
    client: Client, worklist: Worklist
) -> None:
    for reader in ("ada", "bea"):
        page = client.get("/cases", reader=reader, order="doubt", blind=True).json()["cases"]
        for number, case in enumerate(page[:10]):
            away = reader == "bea" and number % 5 == 0
            client.answer(case["id"], reader, ("1+" if away else "0") if number % 2 else "3+")
    client.answer(page[11]["id"], "cem", "0")
    found = client.get("/agreement").json()
    assert found["readers"] == {"ada": 10, "bea": 10, "cem": 1}
    (pair,) = found["pairs"]
    assert (pair["readers"], pair["cases"]) == (["ada", "bea"], 10)
    figures = {each["metric"]: each for each in pair["figures"]}
    assert figures["reader_agreement"]["value"] == 0.9
    kappa = figures["quadratic_kappa"]
    assert kappa["low"] <= kappa["value"] <= kappa["high"]
    assert (kappa["images"], kappa["name"]) == (10, "Quadratic-weighted kappa")
    assert pair["notes"] == [
        "20 of 20 answers were given in an order by doubt: such cases are harder than most, so "
        "figures from them are biased; a random order gives unbiased ones."
    ]
    progress = client.get("/progress", reader="ada").json()
    assert (progress["mine"], progress["answered"], progress["twice"]) == (10, 11, 10)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"label": "4+"}, 422),
        ({"label": None}, 409),
        ({"reader": ""}, 422),
        ({"reader": "a\x00b"}, 422),
        ({"reader": "a" * 81}, 422),
        ({"comment": "a\x00b"}, 422),
        ({"comment": "a" * 4001}, 422),
        ({"region": [1, 2, 3]}, 422),
        ({"region": [-1, 2, 3, 4]}, 422),
        ({"region": [1, 2, 1e9, 4]}, 422),
        ({"shown": {"much": "a" * 70_000}}, 422),
        ({"adjudicate": True}, 409),
        ({"number": 7}, 422),
        ({"shown": {"odd": "\udc00\x00"}, "reader": "Zoë 医"}, 201),
    ],
)
def test_what_cannot_be_an_answer_is_refused_and_leaves_no_row(
    client: Client, worklist: Worklist, record: Record, change: dict, status: int
) -> None:
    body = {"reader": "ada", "label": "0", **change}
    done = client.post(f"/cases/{worklist.cases[0].id}/answers", **body)
    assert done.status_code == status, done.text
    assert len(record.log()) == (status == 201)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (f"/cases/{'0' * 32}?reader=ada", 404),
        ("/cases/..%2F..%2Fetc%2Fpasswd?reader=ada", 404),
        ("/cases/passwd?reader=ada", 422),
        ("/cases?reader=", 422),
        ("/cases", 422),
        ("/cases?reader=ada&order=alphabet", 422),
        ("/cases?reader=ada&filter=flagged&blind=true", 422),
        ("/cases?reader=ada&limit=100000", 422),
        ("/cases?reader=ada&seed=-1", 422),
        ("/cases?reader=ada&order=random&seed=2147483647", 200),
        ("/cases?reader=ada&order=random&seed=2147483648", 422),
        ("/cases?reader=a%00", 422),
        ("/cases?reader=ada&label=a%00", 422),
        ("/cases?reader=ada&label=1%2B&filter=mine&filter=mine", 200),
    ],
)
def test_strange_questions_get_a_sentence_and_no_crash(
    client: Client, asked: str, status: int
) -> None:
    assert client.get(asked).status_code == status


def test_a_disk_that_refuses_is_said_and_nothing_is_acknowledged(
    client: Client, worklist: Worklist, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(given: Given) -> None:
        raise DiskError("review.db: the record cannot be read or written (disk is full)")

    monkeypatch.setattr(record, "answer", full)
    done = client.post(f"/cases/{worklist.cases[0].id}/answers", reader="ada", label="0")
    assert done.status_code == 503
    assert "disk is full" in done.json()["detail"]


def test_a_restart_keeps_every_answer(database: str, worklist: Worklist) -> None:
    case = worklist.cases[0].id
    with closing(Record(database)) as record:
        Client(application(record, worklist)).answer(case, "ada", "2+")
    with closing(Record(database)) as record:
        again = Client(application(record, worklist))
        assert again.get(f"/cases/{case}", reader="ada").json()["mine"]["label"] == "2+"
        assert len(record.cases()) == 12


def test_twenty_clients_at_once_are_all_answered(record: Record, worklist: Worklist) -> None:
    made, ids = application(record, worklist), [case.id for case in worklist.cases]

    async def all_at_once() -> list[int]:
        at = {"transport": httpx.ASGITransport(made), "base_url": "http://test", "timeout": 60}
        async with httpx.AsyncClient(**at) as client:
            asked = [
                client.post(
                    f"{API}/cases/{ids[turn % 12]}/answers",
                    json={"reader": f"r{turn % 4}", "label": "0"},
                )
                for turn in range(20)
            ]
            return [done.json()["answer"]["number"] for done in await asyncio.gather(*asked)]

    numbers = asyncio.run(all_at_once())
    assert sorted(numbers) == [each.number for each in record.log()]
    assert len(set(numbers)) == 20


def test_a_server_with_data_and_a_record_has_the_review_and_one_without_has_not(
    database: str, draw, tmp_path: Path
) -> None:
    _, predictions = draw()
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    predictions.write(run / "p.csv")
    for db, status in ((database, 200), (None, 404)):
        made = FastAPI()
        made.state.options = ServeOptions(runs=(run,), data=run / "p.csv", db=db)
        register(made)
        assert Client(made).get("/progress").status_code == status
        if db is not None:
            assert Client(made).get("/progress").json()["cases"] == 12
            made.state.record.close()


def test_what_a_page_sends_twice_is_kept_once(
    client: Client, worklist: Worklist, record: Record
) -> None:
    case, once = worklist.cases[0].id, "0f" * 16
    first = client.answer(case, "ada", "0", once=once)["answer"]
    assert client.answer(case, "ada", "0", once=once)["answer"] == first
    assert client.answer(case, "bea", "0", once=once)["answer"]["number"] == 2  # her own name
    taken = [client.post("/undo", reader="ada", once="aa").json()["answer"] for _ in range(2)]
    assert taken[0] == taken[1]
    assert (taken[0]["undoes"], taken[0]["case"]) == (1, case)
    assert client.post("/undo", reader="ada", once="bb").status_code == 409
    assert [row.kind for row in record.log()] == ["answer", "answer", "undo"]
