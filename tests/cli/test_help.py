"""Every verb says what it does and takes, and every way of calling it wrongly ends in its code."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest
import typer

from eosin.cli.app import app, main
from eosin.errors import ConfigError
from eosin.version import __version__

ROOT = typer.main.get_command(app)


def verbs(command: object = ROOT, *words: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each verb with its words, those of groups too."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield words, command
        return
    for name, each in inside.items():
        yield from verbs(each, *words, name)


VERBS = dict(verbs())


def said(*words: str, code: int) -> str:
    """What is printed of these words, in single spaces, once the exit code is what it should be."""
    told = io.StringIO()
    with pytest.raises(SystemExit) as ended, redirect_stdout(told), redirect_stderr(told):
        ROOT.main(list(words), prog_name="eosin")
    assert ended.value.code == code, told.getvalue()
    return " ".join(told.getvalue().split())


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_verb_explains_itself_and_every_option_under_either_word_for_help(
    words: tuple[str, ...],
) -> None:
    text = said(*words, "--help", code=0)
    assert text == said(*words, "-h", code=0)
    assert f"Usage: eosin {' '.join(words)} " in text
    command = VERBS[words]
    first = " ".join(str(command.help).split("\n\n")[0].split())  # type: ignore[attr-defined]
    assert first.endswith(".")
    assert first in text
    for each in command.params:  # type: ignore[attr-defined]
        for name in each.opts if each.param_type_name == "option" else ():
            assert name in text


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_verb_refuses_an_option_that_it_does_not_have_as_a_wrong_command_line(
    words: tuple[str, ...],
) -> None:
    assert "No such option: --nonesuch" in said(*words, "--nonesuch", code=2)


@pytest.mark.parametrize(
    "words", [w for w, c in VERBS.items() if any(p.required for p in c.params)], ids=" ".join
)
def test_a_verb_without_what_it_must_be_given_names_that(words: tuple[str, ...]) -> None:
    assert re.search(r"Missing (argument|option) '", said(*words, code=2))


def test_the_command_alone_lists_every_verb_and_an_unknown_one_is_refused() -> None:
    text = said(code=2)
    for first, *_ in VERBS:
        assert f" {first} " in text
    assert "No such command 'clasify'" in said("clasify", code=2)


@pytest.mark.parametrize("group", ["data", "review", "slide", "stain"])
def test_a_group_alone_lists_its_verbs(group: str) -> None:
    text = said(group, code=2)
    inside = [words[1] for words in VERBS if words[0] == group]
    assert len(inside) >= 2
    for name in inside:
        assert f" {name} " in text


def test_the_version_is_said_and_nothing_else() -> None:
    assert said("--version", code=0) == f"eosin {__version__}"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("evaluate p.csv -o e.json --level slide", "'image', 'patient'"),
        ("split m.csv -o s.csv --by hospital", "'patient', 'slide', 'image', 'site', 'scanner'"),
        ("ensemble a b -o c --vote loud", "'soft', 'hard', 'weighted', 'fusion'"),
        ("export run -o g --format tflite", "'onnx', 'openvino'"),
        ("power p.csv --effect 0.1 --metric kappa", "'accuracy', 'roc_auc'"),
        ("checklist run p.csv -o c.md --standard stard", "'tripod-ai', 'claim', 'metrics'"),
        ("data breakhis d -o m.csv --task her2", "'binary', 'subtype', 'eva'"),
        ("stain normalize m.csv -o d --method ruifrok", "'reinhard', 'macenko', 'vahadane'"),
        ("sites p.csv --manifest m.csv -o t.csv --by lab", "'site', 'scanner'"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_refused_with_all_of_them(words: str, names: str) -> None:
    assert names in said(*words.split(), code=2)


@pytest.mark.parametrize(
    ("words", "bound"),
    [
        ("evaluate p.csv -o e.json --resamples 99", "100"),
        ("compare a.csv b.csv -o d --resamples 0", "100"),
        ("predict run a.png -o p.csv --batch-size 0", "1"),
        ("explain run a.png -o d --opacity 1.5", "1"),
        ("serve run --port 70000", "65535"),
        ("data tile m.csv -o t.csv --size 4", "8"),
        ("data show m.csv -o g.png --each 21", "20"),
        ("report run p.csv -o r.html --max-megapixels 0", "0.001"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_option_and_the_bound(
    words: str, bound: str
) -> None:
    option = words.split()[-2]
    text = said(*words.split(), code=2)
    assert re.search(rf"Invalid value for '{option}': .* equal to {bound} ", text)


def test_an_error_is_one_line_on_standard_error_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["eosin", "data", "download", "cifar", "-o", "d"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert told.out == ""
    assert told.err == (
        "error: no dataset 'cifar' is known; want one of ['breakhis', 'bci', 'idc']\n"
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "eosin evaluate is for one process, and 2 were started"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK = 2 of WORLD_SIZE = 2 processes"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE = 'many': want a number, as torchrun sets it"),
    ],
)
def test_a_verb_that_is_for_one_process_refuses_to_be_started_as_several(
    environment: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        ROOT.main(["evaluate", "p.csv", "-o", "e.json"], standalone_mode=False)
