"""Settings are flat, checked, and forgiving only of what was left out."""

import re
from pathlib import Path

import pytest

from eosin.errors import ConfigError
from eosin.training.config import TrainingConfig, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_file_spells_out_every_default():
    path = CONFIGS / "default.toml"
    assert read_config(path) == TrainingConfig()
    # A default of None has no word in TOML: its key stands behind a #.
    spelled = re.findall(r"^(?:# )?(\w+) = ", path.read_text(encoding="utf-8"), flags=re.M)
    assert sorted(spelled) == sorted(TrainingConfig.model_fields)


def test_the_frozen_recipe_is_every_default_but_the_network_and_that_it_is_frozen():
    recipe = read_config(CONFIGS / "frozen.toml")
    assert recipe == TrainingConfig(backbone="efficientnetv2-b0@stride8", freeze=True)
    assert (recipe.probe_rule, recipe.patients_alike) == ("one-se", True)


def test_the_published_her2_recipe_is_what_its_code_does():
    recipe = read_config(CONFIGS / "bci-inception.toml")
    assert (recipe.backbone, recipe.image_size, recipe.normalisation) == (
        "inception_her2",
        299,
        "none",
    )
    assert (recipe.monitor, recipe.early_stopping_patience, recipe.dropout) == ("last", 0, 0.5)
    drawn = ("horizontal_flip", "vertical_flip", "rotation_degrees", "translation", "scale")
    drawn += ("brightness", "contrast", "saturation", "hue", "stain_jitter", "stain_exchange")
    assert all(getattr(recipe, name) == 0 for name in drawn)
    kept = read_config(CONFIGS / "bci-inception-flips.toml")
    assert (kept.horizontal_flip, kept.normalisation, kept.monitor) == (
        0.5,
        "backbone",
        "val_accuracy",
    )


def test_the_published_breakhis_recipe_is_the_published_one():
    recipe = read_config(CONFIGS / "breakhis-efficientnet.toml")
    assert (recipe.optimizer, recipe.learning_rate, recipe.head_learning_rate) == (
        "adam",
        1e-4,
        1e-3,
    )
    assert (recipe.freeze_batchnorm, recipe.dropout, recipe.monitor) == (True, 0.3, "val_accuracy")
    assert (recipe.rotation_degrees, recipe.translation) == (36.0, 0.3)
    assert 40 <= recipe.epochs <= 50


def test_the_published_her2_recipe_is_the_published_one():
    recipe = read_config(CONFIGS / "bci-inception.toml")
    assert (recipe.backbone, recipe.weights, recipe.image_size) == ("inception_her2", "none", 299)
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adam", 1e-4, 1e-4)
    assert (recipe.class_weights, recipe.epochs, recipe.dropout) == ("balanced", 60, 0.5)


def test_an_unknown_key_is_answered_with_the_nearest_known_one(tmp_path):
    path = written(tmp_path, "lerning_rate = 1e-3")
    with pytest.raises(ConfigError, match=rf"{path}.*'lerning_rate'.*mean 'learning_rate'"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('epochs = "ten"', r"epochs = 'ten': .*integer"),
        ("epochs = 0", r"epochs = 0: .*greater than or equal to 1"),
        ("image_size = true", r"image_size = True: .*integer"),
        ('optimizer = "sgd"', r"optimizer = 'sgd': .*'adamw' or 'adam'"),
        ('device = "tpu"', r"device = 'tpu'"),
        ("dropout = 1.0", r"dropout = 1\.0: .*less than 1"),
        ("epochs = 4\nwarmup_epochs = 4", r"warmup_epochs \(4\) must be fewer than epochs \(4\)"),
        (
            'freeze = true\ntrack = "tensorboard"',
            "track = 'tensorboard' follows epochs, and freeze = true has none",
        ),
        ("[optimizer]\nname = 1", r"settings are flat; write \[optimizer\]"),
        ("epochs = = 4", "not a readable TOML file"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_what_is_wanted(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_settings_saved_with_a_byte_order_mark_are_read_and_as_utf16_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes("freeze = true\n".encode("utf-8-sig"))
    assert read_config(path).freeze
    path.write_bytes("freeze = true\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"recipe.toml: is not UTF-8; save the settings as UTF-8"):
        read_config(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: no such settings file"):
        read_config(tmp_path / "absent.toml")


def test_options_override_the_file_and_those_not_given_do_not():
    config = TrainingConfig().with_overrides({"epochs": 3, "batch_size": None, "seed": 7})
    assert (config.epochs, config.batch_size, config.seed) == (3, 32, 7)
    with pytest.raises(ConfigError, match=r"options: .*did you mean 'epochs'"):
        config.with_overrides({"epoch": 3})


def test_settings_survive_the_way_through_json():
    config = TrainingConfig(probe_c=(0.5, 2.0), image_size=64)
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config
    assert config.model_dump(mode="json")["probe_c"] == [0.5, 2.0]
