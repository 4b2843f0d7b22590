"""Settings and options: checked when they are given, every fault named with the nearest fix."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from eosin.errors import ConfigError, EosinError
from eosin.settings import (
    Settings,
    checked_options,
    read_flat_toml,
    settings_file,
    unknown_name,
    validated,
)


class Recipe(Settings):
    """Settings as a training has them."""

    epochs: int = Field(default=10, ge=1)
    rate: float = 0.1
    stain: Literal["none", "macenko"] = "none"
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.stain == "macenko" and self.epochs > 50:
            raise ValueError("stain = 'macenko' is for at most 50 epochs")
        return self


@checked_options
@dataclass(frozen=True, slots=True)
class Reading:
    """Options as a function has them."""

    batch_size: int = 32
    workers: int | None = None


def test_values_that_are_given_are_kept_and_the_rest_is_as_it_was() -> None:
    recipe = Recipe(epochs=3, names=("a", "b"))
    assert (recipe.epochs, recipe.rate, recipe.stain, recipe.names) == (3, 0.1, "none", ("a", "b"))


def test_every_faulty_key_is_named_in_one_sentence_with_its_value() -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(epochs=0, stain="reinhard", rte=0.2)
    said = str(caught.value)
    assert said.startswith("Recipe: ")
    assert "epochs = 0: input should be greater than or equal to 1" in said
    assert "stain = 'reinhard': input should be 'none' or 'macenko'" in said
    assert "unknown key 'rte'; did you mean 'rate'?" in said
    assert said.count("; ") >= 2
    assert "pydantic" not in said.lower()
    assert "\n" not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": "3"}, "epochs = '3': "),
        ({"epochs": 3.0}, "epochs = 3.0: "),
        ({"epochs": True}, "epochs = True: "),
        ({"rate": "0.1"}, "rate = '0.1': "),
        ({"names": ["a"]}, r"names = \['a'\]: "),
        ({"names": "ab"}, "names = 'ab': "),
    ],
)
def test_a_value_of_another_type_is_not_made_to_fit(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"Recipe: {said}"):
        Recipe(**given)


def test_a_whole_number_stands_for_one_with_a_point() -> None:
    assert Recipe(rate=1).rate == 1.0


def test_a_rule_about_several_keys_says_only_its_own_sentence() -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(stain="macenko", epochs=60)
    assert str(caught.value) == "Recipe: stain = 'macenko' is for at most 50 epochs"


def test_settings_cannot_be_changed_afterwards() -> None:
    recipe = Recipe()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.epochs = 4  # type: ignore[misc]
    assert recipe.epochs == 10


def test_the_source_stands_before_the_faults_instead_of_the_models_name() -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Recipe, {"epochs": -1}, source="recipe.toml")
    assert str(caught.value).startswith("recipe.toml: epochs = -1: ")
    assert "Recipe" not in str(caught.value)
    assert validated(Recipe, {"epochs": 2}, source="recipe.toml") == Recipe(epochs=2)


def test_an_unknown_option_is_answered_with_the_nearest_and_known_ones_work() -> None:
    assert Reading(batch_size=4) == Reading(4)
    assert Reading(4, workers=2).workers == 2
    with pytest.raises(ConfigError) as caught:
        Reading(batchsize=4)  # type: ignore[call-arg]
    assert str(caught.value) == ("Reading: unknown option 'batchsize'; did you mean 'batch_size'?")
    with pytest.raises(TypeError):  # too many: a fault of the caller's code
        Reading(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        Reading().workers = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("epoch", "did you mean 'epochs'?"),
        ("lerning_rate", "did you mean 'learning_rate'?"),
        ("zzz", "known: epochs, learning_rate, seed"),
        ("", "known: epochs, learning_rate, seed"),
    ],
)
def test_a_name_is_answered_with_the_nearest_or_with_all(name: str, hint: str) -> None:
    said = unknown_name(name, ("epochs", "learning_rate", "seed"), what="key")
    assert said == f"unknown key {name!r}; {hint}"


def test_settings_that_come_along_are_found_by_their_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings_file("frozen")
    assert found.name == "frozen.toml"
    assert read_flat_toml(found)["freeze"] is True


def test_a_file_of_the_users_own_comes_before_one_that_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("frozen").write_text("epochs = 4\n")
    assert read_flat_toml(settings_file("frozen")) == {"epochs": 4}


@pytest.mark.parametrize("name", ["absent.toml", "folder/frozen", "./a/frozen", "/x/frozen"])
def test_what_can_only_be_a_path_stays_one_whether_or_not_it_is_there(name: str) -> None:
    assert settings_file(name) == Path(name)


@pytest.mark.parametrize("name", ["frozn", "qqqqqqqq"])
def test_a_name_that_nothing_bears_is_answered_with_the_nearest_and_what_else_will_do(
    name: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_file(name)
    said = str(caught.value)
    near = "did you mean 'frozen'" if name == "frozn" else "known: bci-inception, "
    assert said.startswith(f"unknown settings {name!r}; {near}")
    assert said.endswith("; or give the path of a TOML file")


def test_keys_and_values_of_every_plain_type_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('a = 1\nb = 0.5\nc = "Müller"\nd = [1, 2]\ne = false\n', encoding="utf-8")
    assert read_flat_toml(path) == {"a": 1, "b": 0.5, "c": "Müller", "d": [1, 2], "e": False}
    path.write_text("")
    assert read_flat_toml(path) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[model]\nepochs = 4\n", r"settings are flat; write \[model\]'s keys without a table"),
        (b"a = {b = 1}\n", r"settings are flat; write \[a\]'s keys without a table"),
        (b"a.b = 1\n", r"settings are flat; write \[a\]'s keys without a table"),
        (b"a = 1\na = 2\n", "not a readable TOML file"),
        (b"a =\n", "not a readable TOML file"),
        (b"a = '\xff'\n", "is not UTF-8; save the settings as UTF-8"),
    ],
)
def test_a_file_that_is_no_flat_toml_is_named_with_the_fix(
    text: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"r\.toml: {said}"):
        read_flat_toml(path)


def test_a_missing_file_whose_name_comes_along_says_how_to_have_that_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_flat_toml(tmp_path / "frozen.toml")
    assert str(caught.value).endswith(
        "frozen.toml: no such settings file; `frozen` alone names the one that eosin brings along"
    )
    with pytest.raises(ConfigError) as caught:
        read_flat_toml(tmp_path / "mine.toml")
    assert str(caught.value).endswith("mine.toml: no such settings file")
    with pytest.raises(EosinError, match="not a readable TOML file"):
        read_flat_toml(tmp_path)
