"""How verbs speak: figures, protocols, notes, the last word on skipped files, and the doctor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import eosin.doctor
from eosin.artefacts.estimate import Estimate
from eosin.artefacts.int8 import Int8Trial, Quality, Speed
from eosin.artefacts.predictions import Predictions, Provenance
from eosin.cli.app import app
from eosin.cli.console import finish, plain_figure, print_evaluation, print_protocol, say
from eosin.cli.int8 import print_trial
from eosin.doctor import Finding, Sheet, examine
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.machine import available_cores
from eosin.networks.run import write_run
from eosin.pixels.reading import SkippedFile
from eosin.protocol import Protocol

Table = Callable[..., Predictions]


@pytest.fixture
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_no_skipped_file_is_no_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    finish([], Path("errors.csv"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 file was skipped; its name and reason: out/errors.csv"),
        (5, "5 files were skipped; their names and reasons: out/errors.csv"),
        (1200, "1,200 files were skipped; their names and reasons: out/errors.csv"),
    ],
)
def test_skipped_files_are_counted_three_are_named_and_the_code_is_3(
    count: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = [SkippedFile(Path(f"/bh/{n}.png"), f"reason {n}") for n in range(count)]
    with pytest.raises(typer.Exit) as ended:
        finish(skipped, Path("out/errors.csv"))
    assert ended.value.exit_code == 3
    first, *named = capsys.readouterr().out.splitlines()
    assert first == said
    assert named == [f"  /bh/{n}.png: reason {n}" for n in range(min(count, 3))]


@pytest.mark.parametrize(
    ("protocol", "colour"),
    [
        (Protocol("patient", "5-fold"), 32),
        (Protocol("external", patients_known=False), 33),
        (Protocol("image", "5-fold", leaky=True), 31),
    ],
    ids=["green", "yellow", "red"],
)
def test_a_protocol_is_green_yellow_or_red_with_its_warning_and_notes(
    protocol: Protocol, colour: int, coloured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    print_protocol(protocol, ["A note."])
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"protocol: \x1b[1;{colour}m{protocol.name}\x1b[0m"
    said = [f"\x1b[{colour}m{protocol.warning}\x1b[0m"] if protocol.warning else []
    assert rest == [*said, "\x1b[2mA note.\x1b[0m"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimate(0.9644, 0.941, 0.98, 9, 3, "accuracy"), "0.964 [0.941, 0.980]"),
        (Estimate(0.5, None, None, 9, 1, "accuracy", note="one patient"), "0.500"),
        (Estimate(None, None, None, 0, 0, "accuracy", note="no image"), "undefined"),
    ],
)
def test_a_figure_is_written_in_characters_that_every_terminal_has(
    found: Estimate, said: str
) -> None:
    assert plain_figure(found) == said
    assert said.isascii()


def test_of_processes_that_work_together_the_first_alone_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        say(f"rank {rank}")
    assert capsys.readouterr().out == "rank 0\n"


def test_an_evaluation_is_printed_scope_by_scope_and_each_note_once(
    patients_table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    table = patients_table(np.tile([0.2, 0.8, 0.8, 0.8], (10, 1)))
    mixed = replace(table, frame=table.frame.assign(magnification=["40", "100"] * 20))
    print_evaluation(evaluate_predictions(mixed, resamples=100))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    titles = [line for line in lines if line.startswith("image level, ")]
    assert titles == [
        f"image level, {scope}"
        for scope in ("all", "class benign", "class malignant", "magnification 40")
    ] + ["image level, magnification 100"]
    assert "accuracy 0.750 [0.750, 0.750] 40 10 most probable class" in lines
    assert "roc_auc 0.750 [0.750, 0.750] 40 10 -" in lines
    blocks = "\n".join(lines).split("image level, ")[1:]
    for block in blocks:  # below each table a note stands once, with the figures it is true of
        notes = [line.split(": ", 1)[1] for line in block.splitlines() if ": " in line]
        assert len(notes) == len(set(notes)) > 0
    assert lines[-1].startswith("With 10 patients, percentile intervals are somewhat too narrow")


SPEED = Speed("onnxruntime", 2, 16, 15, fp32=90.0, int8=167.0, ratio=1.86, low=1.8, high=1.9)
TRIAL = Int8Trial(
    method="ONNX Runtime 1.0",
    failed=(),
    calibrated_on="24 training images of 6 patients",
    judged_on="12 validation images of 3 patients",
    fp32=Quality(0.8, 0.05),
    int8=Quality(0.79, 0.07),
    probabilities_mean=0.0123,
    probabilities_most=0.0456,
    feature_cosine=0.987,
    speed=SPEED,
)


def test_a_trial_of_8_bit_integers_is_told_with_both_precisions_and_its_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_trial(TRIAL, name="fold-1: ", validated=True)
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == "fold-1: 8-bit integers, judged on 12 validation images of 3 patients"
    assert "accuracy 0.800 0.790 -1.0 points" in told
    assert "calibration error 0.050 0.070 +0.020" in told
    assert "images/s 90.0 167.0 x 1.86 (1.80 to 1.90)" in told
    assert told[-1] == "fold-1: int8 kept: every bar holds"
    assert not any("flatter" in line for line in told)


def test_a_refused_trial_names_each_bar_and_one_without_validation_what_flatters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_trial(replace(TRIAL, failed=("too slow", "too wrong")), name="", validated=False)
    *_, flatters, verdict = capsys.readouterr().out.splitlines()
    assert "this Run has no validation patients" in flatters
    assert verdict.startswith("int8 refused, FP32 written: too slow; too wrong. Keep FP32, or try")


def finding(sheet: Sheet, name: str) -> Finding:
    return next(each for each in sheet.findings if each.name == name)


@pytest.mark.parametrize(
    ("set_to", "ok"), [(None, True), ("1", True), ("lots", True), ("4096", False)]
)
def test_more_threads_than_cores_are_found_with_the_command_that_mends_it(
    set_to: str | None, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_to is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", set_to)
    found = finding(examine(), "threads")
    cores = available_cores()
    assert found.value.startswith(f"{cores} cores")
    assert (found.ok, found.fix) == (ok, "" if ok else f"export OMP_NUM_THREADS={cores}")
    assert not found.vital


@pytest.mark.parametrize(
    ("prepared", "value", "fix"),
    [
        (None, "EOSIN_WEIGHTS is not set; weights are downloaded through timm when", ""),
        ("gone", "gone: no such folder", "unset EOSIN_WEIGHTS"),
        ("", ": no safetensors file", "put <timm name>.safetensors into"),
        ("b.safetensors a.safetensors notes.txt", ": a, b", ""),
    ],
)
def test_weights_are_looked_for_where_the_setting_says(
    prepared: str | None, value: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    if prepared is not None:
        place = tmp_path / "gone" if prepared == "gone" else tmp_path
        monkeypatch.setenv("EOSIN_WEIGHTS", str(place))
        for name in prepared.split() if prepared != "gone" else ():
            (tmp_path / name).touch()
    found = finding(examine(), "weights")
    assert value in found.value
    assert found.fix.startswith(fix)
    assert found.ok == (fix == "")


@pytest.mark.parametrize(("free", "memory", "ok"), [(1.75, 3.75, False), (2.25, 4.25, True)])
def test_little_disk_or_memory_is_no_fault_but_has_a_cure(
    free: float, memory: float, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free * 2**30

    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": int(memory * 2**18)}
    monkeypatch.setattr(eosin.doctor.shutil, "disk_usage", lambda _: Usage())
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    sheet = examine(tmp_path)
    disk, ram = finding(sheet, "disk"), finding(sheet, "memory")
    # in tenths: what is short of 2 or 4 is not called 2 or 4
    assert (disk.value, ram.value) == (f"{free:.1f} GiB free in {tmp_path}", f"{memory:.1f} GiB")
    assert (disk.ok, ram.ok) == (ok, ok)
    assert sheet.ready  # neither is vital
    if not ok:
        assert disk.fix == f"free some space: df -h {tmp_path}"
        assert ram.fix == "use --batch-size 8 or a machine with 4 GiB or more"


def test_an_old_python_is_vital(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eosin.doctor.sys, "version_info", (3, 9, 1))
    sheet = examine()
    found = finding(sheet, "python")
    assert (found.ok, found.vital, sheet.ready) == (False, True, False)
    assert found.fix == "install Python 3.11, 3.12 or 3.13"


@pytest.fixture
def scored(tmp_path: Path, make_record: Callable[..., object], patients_table: Table) -> Path:
    """A folder with a Run ``run`` and its predictions ``p.csv``."""
    write_run(tmp_path / "run", make_record())  # type: ignore[arg-type]
    origin = Provenance(
        protocol=Protocol("patient", "70/15/15"), dataset="breakhis", split="test", threshold=0.5
    )
    patients_table(np.tile([0.2, 0.8, 0.8, 0.8], (10, 1)), origin).write(tmp_path / "p.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "standard", "start"),
    [
        ("c.md", "tripod-ai", "# TRIPOD+AI"),
        ("c.html", "claim", "<!DOCTYPE html>"),
        ("c.HTM", "metrics", "<!DOCTYPE html>"),
        ("README.md", "model-card", "---\nlicense: unknown"),
    ],
)
def test_a_checklist_is_a_page_or_markdown_by_its_name_and_is_written_over_its_like_alone(
    name: str, standard: str, start: str, scored: Path
) -> None:
    words = ["checklist", str(scored / "run"), str(scored / "p.csv"), "--standard", standard]
    words += ["-o", str(scored / name)]
    for _ in range(2):  # its own output is replaced
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, repr(done.exception)
        assert f"written: {scored / name}" in done.output
        assert ("items are filled from the Run" in done.output) == (standard != "model-card")
        assert (scored / name).read_text(encoding="utf-8").strip().startswith(start)
    (scored / name).write_text("a user's own notes")
    assert CliRunner().invoke(app, words).exit_code == 1
    assert (scored / name).read_text() == "a user's own notes"


def test_evaluating_patients_says_so_and_writes_their_figures(scored: Path) -> None:
    words = ["evaluate", str(scored / "p.csv"), "-o", str(scored / "e.json"), "--level", "patient"]
    done = CliRunner().invoke(app, [*words, "--resamples", "100", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert "patient level, all" in done.output
    assert "protocol: patient-level, 70/15/15" in done.output
    text = (scored / "e.json").read_text()
    assert '"level": "patient"' in text
    assert '"seed": 3' in text
