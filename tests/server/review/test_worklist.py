"""The worklist: orders, filters, progress."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from eosin.artefacts.predictions import Provenance
from eosin.errors import ConfigError, DataError
from eosin.server.record import Filter, Given, Listing, Record
from eosin.server.worklist import Case, Worklist, case_id, make_worklist, read_worklist
from eosin.tasks import Task

Reviewed = tuple[Record, list[str]]


def a_case(name: str, *, flags: str = "", classes: str = "0", first: float = 0.9) -> Case:
    chances = {"0": first, "1+": 1 - first, "2+": 0.0, "3+": 0.0}
    return Case(
        name, f"/{name}.png", "p", "0", chances, tuple(flags.split()), tuple(classes.split())
    )


def test_doubt_puts_flagged_first_then_larger_sets_then_narrow_margins(worklist: Worklist) -> None:
    cases = (
        a_case("sure"),
        a_case("narrow", first=0.55),
        a_case("two", classes="0 1+", first=0.8),
        a_case("flagged", flags="blurred", first=0.99),
        a_case("three", classes="0 1+ 2+", first=0.95),
        a_case("flagged-two", flags="stain", classes="0 1+"),
    )
    listed = replace(worklist, cases=cases).listed(Listing("ada", "doubt"), {})
    assert [case.id for case in listed] == [
        *("flagged-two", "flagged", "three", "two", "narrow", "sure")
    ]


def test_a_random_order_depends_on_the_seed_alone_and_new_cases_do_not_change_it(
    worklist: Worklist,
) -> None:
    def ids(worklist: Worklist, seed: int) -> list[str]:
        return [case.id for case in worklist.listed(Listing("ada", "random", seed), {})]

    assert ids(worklist, 1) == ids(worklist, 1) != ids(worklist, 2)
    assert sorted(ids(worklist, 1)) == sorted(ids(worklist, 2))
    otherwise = [replace(case, flags=("stain",), decision="3+") for case in worklist.cases]
    assert ids(replace(worklist, cases=tuple(otherwise[::-1])), 1) == ids(worklist, 1)
    fewer = ids(replace(worklist, cases=worklist.cases[:8]), 1)
    assert [each for each in ids(worklist, 1) if each in fewer] == fewer
    firsts = {ids(worklist, seed)[0] for seed in range(200)}
    assert len(firsts) == 12  # every case comes first under some seed


def test_filters_keep_what_they_say(reviewed: Reviewed, worklist: Worklist) -> None:
    record, ids = reviewed
    for reader, case, label in (
        ("ada", 0, "0"),
        ("bea", 0, "3+"),
        ("bea", 1, "1+"),
        ("bea", 2, "1+"),
        ("cem", 2, "1+"),
        ("ada", 3, "2+"),
    ):
        record.answer(Given(reader, ids[case], label))
    flagged = [replace(case, flags=("blurred",)) for case in worklist.cases[:2]]
    listed = replace(worklist, cases=(*flagged, *worklist.cases[2:]))

    def kept(*filters: Filter, label: str | None = None) -> list[int]:
        listing = Listing("ada", "doubt", filters=filters, label=label)
        return sorted(ids.index(c.id) for c in listed.listed(listing, record.standings()))

    assert kept("mine") == [0, 3]
    assert kept("unanswered") == [1, 2, *range(4, 12)]
    assert kept("second") == [1]
    assert kept("disagreement") == [0]
    assert kept("flagged") == [0, 1]
    assert kept("flagged", "unanswered") == [1]
    decided = [
        k for k, case in enumerate(listed.cases) if case.decision == "2+" and k not in (0, 3)
    ]
    assert kept(label="2+") == sorted([*decided, 3])
    blind = Listing("ada", "random", label="2+", blind=True)
    assert [c.id for c in listed.listed(blind, record.standings())] == [ids[3]]
    with pytest.raises(ConfigError, match="'flagged' shows what the model says"):
        listed.listed(Listing("ada", "doubt", filters=("flagged",), blind=True), {})


def test_progress_counts_cases_not_answers(reviewed: Reviewed, worklist: Worklist) -> None:
    record, ids = reviewed
    for reader, label in (("ada", "0"), ("ada", "1+"), ("bea", "2+")):
        record.answer(Given(reader, ids[0], label))
    record.answer(Given("bea", ids[1], "2+", comment="clear"))
    found = worklist.progress(record.standings(), reader="ada")
    assert found == {
        "cases": 12,
        "mine": 1,
        "answered": 2,
        "twice": 1,
        "disagreements": 1,
        "adjudicated": 0,
        "commented": 1,
    }


def test_ids_say_nothing_of_the_path_and_cases_carry_the_columns_of_trust(draw) -> None:
    from eosin.artefacts.reference import Trust

    assert case_id("/data/14-2523/a.png") != case_id("/data/14-2523/b.png")
    assert len(case_id("/data/14-2523/a.png")) == 32
    assert "14-2523" not in case_id("/data/14-2523/a.png")
    manifest, predictions = draw()
    trust = Trust(
        unfamiliar_below=0.05,
        familiar_patients=9,
        coverage=0.9,
        sets="lac",
        by_class=False,
        calibration_patients=9,
        patients_needed=9,
    )
    columns = {"familiarity": float("nan"), "flags": "", "set": "0|2+", "answer": "abstain"}
    told = predictions.with_trust(predictions.frame.assign(**columns), trust)
    case = make_worklist(told, manifest).cases[0]
    assert case.model() | {"probabilities": 0} == {
        "decision": case.decision,
        "probabilities": 0,
        "set": ["0", "2+"],
        "flags": [],
        "familiarity": None,
        "answer": "abstain",
    }


def test_images_without_a_prediction_are_counted_and_other_tasks_refused(draw) -> None:
    manifest, predictions = draw()
    some = predictions.where([row < 9 for row in range(12)])
    worklist = make_worklist(some, manifest)
    assert len(worklist.cases) == 9
    assert worklist.notes == ("Without a prediction, and not offered: 3 images of the manifest.",)
    other, _ = draw(task=Task("grade", ("a", "b")))
    with pytest.raises(DataError, match="are of the task 'her2'"):
        make_worklist(predictions, other)


def runs_in(folder: Path) -> dict[str, Path]:
    """Two folders with a record each, by its hash."""
    found = {}
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(name)
        found[hashlib.sha256(name.encode()).hexdigest()] = folder / name
    return found


def test_a_server_reviews_a_predictions_table_or_what_its_run_has_answered(
    draw, tmp_path: Path
) -> None:
    manifest, predictions = draw()
    digest, run = next(iter(runs_in(tmp_path).items()))
    table, images = run / "p.csv", tmp_path / "m.csv"
    predictions.write(table)
    manifest.write(images)
    of_table = read_worklist(table, [run])
    assert {case.patient for case in of_table.cases} == set(manifest.frame["patient"])
    assert of_table.run == digest
    for data in (images, tmp_path):
        with pytest.raises(ConfigError, match=r"then give --data P\.csv"):
            read_worklist(data, [run])
    predictions.where([row < 9 for row in range(12)]).write(run / "predictions.csv")
    of_run = read_worklist(images, [run])
    assert [case.id for case in of_run.cases] == [case.id for case in of_table.cases[:9]]
    assert of_run.manifest.protocol.name == "patient-level, 3-fold"
    assert of_run.notes == ("Without a prediction, and not offered: 3 images of the manifest.",)


def test_of_several_runs_the_one_that_made_the_table_counts_and_a_strangers_is_refused(
    draw, tmp_path: Path
) -> None:
    _, predictions = draw()
    runs = runs_in(tmp_path)
    table, (first, second) = tmp_path / "p.csv", runs
    for digest in (first, second):
        known = Provenance(("runs/bh",))
        replace(predictions, provenance=known, run_hashes=(digest,)).write(table)
        assert read_worklist(table, [*runs.values()]).run == digest
    with pytest.raises(
        ConfigError, match=rf"by runs/bh \(run\.json {second[:12]}\), which is none"
    ):
        read_worklist(table, [runs[first]])
    predictions.write(table)
    with pytest.raises(ConfigError, match=r"a Run that it does not name.*predict again"):
        read_worklist(table, [*runs.values()])
