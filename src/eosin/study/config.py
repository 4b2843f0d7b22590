"""What a study file says: a dataset, protocols, models, votes. One flat, frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Field, field_validator

from eosin.artefacts.run import Vote
from eosin.data.breakhis import TaskName
from eosin.data.eva import EvaSplit
from eosin.data.splits import SITES
from eosin.errors import ConfigError
from eosin.settings import Settings, read_flat_toml, settings_file, validated
from eosin.study.stains import BASELINE, Staining
from eosin.training.config import TrainingConfig, read_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.data.splits import By
    from eosin.files import StrPath

_UNITS: dict[str, By] = {
    "image": "image",
    "slide": "slide",
    "patient": "patient",
    "accession": "patient",
    "official": "image",
    "training": "image",
    "site": "site",
    "scanner": "scanner",
}
_EVA: dict[str, EvaSplit] = {name: name for name in get_args(EvaSplit)}
_FORM = (
    'want e.g. "patient 5-fold", "image 70/15/15", "official 85/15", "site leave-one-out" or, of '
    'BreakHis, "eva" or "eva-clean"'
)


@dataclass(frozen=True, slots=True)
class Design:
    """One protocol of a study."""

    text: str  # as the study file says it
    by: By  # what is never cut in two
    folds: int | None = None  # how many, or None for fractions
    # shares of train, val and test; of train and val where the test set is kept
    fractions: tuple[float, ...] = ()
    keep_test: bool = False  # ``official``: the dataset's own test set stays the test split
    # ``training``: the dataset's own test set is left out, as published studies did that split the
    # training folder only
    drop_test: bool = False

    @property
    def leave_one_out(self) -> bool:
        """Whether each site (or scanner) is a fold."""
        return self.by in SITES and not (self.folds or self.fractions)

    @property
    def eva(self) -> EvaSplit | None:
        """Which of eva's splits of BreakHis this is; None where it is none."""
        return _EVA.get(self.text)

    @property
    def slug(self) -> str:
        """The protocol as a folder's name, e.g. ``patient_5-fold``, ``image_70-15-15``."""
        return self.text.replace(" ", "_").replace("/", "-")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"<unit> <N>-fold"``, ``"<unit> <train>/<val>/<test>"`` in per cent, or a name.

        Raises:
            ConfigError: an unknown unit or shape.
        """
        if text.strip() in _EVA:
            return cls(text.strip(), by="patient")
        unit, _, shape = text.strip().partition(" ")
        if unit not in _UNITS:
            raise ConfigError(f"protocol {text!r}: {unit!r} is none of {list(_UNITS)}; {_FORM}")
        named = {"text": text.strip(), "by": _UNITS[unit]}
        if shape == "leave-one-out" and unit in SITES:
            return cls(**named)  # type: ignore[arg-type]
        count, _, word = shape.partition("-")
        folds = int(count) if word == "fold" and count.isdecimal() else 0
        if folds > 1 and unit != "official":
            return cls(**named, folds=folds, drop_test=unit == "training")  # type: ignore[arg-type]
        try:
            shares = tuple(float(share) / 100 for share in shape.split("/"))
        except ValueError:
            raise ConfigError(f"protocol {text!r}: no folds and no shares; {_FORM}") from None
        wanted = 2 if unit == "official" else 3
        if len(shares) != wanted or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(f"protocol {text!r}: want {wanted} shares that sum to 100; {_FORM}")
        return cls(
            **named,  # type: ignore[arg-type]
            fractions=shares,
            keep_test=unit == "official",
            drop_test=unit == "training",
        )


class StudyConfig(Settings):
    """Every setting of a study.

    ``root`` and the recipe's path count from the study file's own folder; ``root`` may be given
    on the command line instead.
    """

    title: str = "Study"
    # manifest: ``root`` is a table that `eosin data` wrote, with whatever columns were added to it
    dataset: Literal["breakhis", "bci", "folder", "manifest", "synthetic"]
    root: str = ""
    task: TaskName = "binary"  # BreakHis only; "eva" for the protocols of that name
    magnifications: Annotated[tuple[int, ...], Field(strict=False)] = ()  # BreakHis only
    patient_pattern: str = ""  # folder only
    positive: str = ""  # folder only
    images_per_patient: Annotated[int, Field(ge=0)] = 0  # drawn at random; 0: all of them

    protocols: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] = (7,)
    backbones: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    stains: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = (BASELINE,)
    votes: Annotated[tuple[Vote, ...], Field(strict=False)] = ()
    groups: Annotated[tuple[Literal["family", "all"], ...], Field(strict=False)] = ("family", "all")

    recipe: str = ""  # a training file; empty: the modern recipe
    weights: str = ""  # what follows overrides the recipe; empty or absent: as the recipe says
    freeze: bool | None = None
    image_size: int | None = None
    fit: Literal["stretch", "crop"] | None = None
    epochs: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    resamples: Annotated[int, Field(ge=100)] = 2000
    heatmaps: Annotated[int, Field(ge=0)] = 0  # test images to draw for each protocol

    @field_validator("protocols")
    @classmethod
    def _protocols_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                Design.parse(text)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("stains")
    @classmethod
    def _stains_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(Staining.parse(text).text for text in value)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @property
    def designs(self) -> tuple[Design, ...]:
        """The protocols, parsed."""
        return tuple(Design.parse(text) for text in self.protocols)


@dataclass(frozen=True)
class StudyFile:
    """A study file, read."""

    config: StudyConfig  # what it says
    training: TrainingConfig  # the recipe with the study's overrides, its backbone still to be set
    root: Path  # the folder of the images


def read_study(
    path: StrPath, *, root: StrPath | None = None, backbones: Sequence[str] = ()
) -> StudyFile:
    """Read a study file.

    Args:
        path: the TOML file, or the name of one that eosin brings along.
        root: folder of the images; overrides the file's own ``root``.
        backbones: override the file's own ``backbones``, where any are given.

    Raises:
        ConfigError: unknown keys, wrong values, no recipe file, no root at all, or a stain step
            that the recipe cannot have.
    """
    path = settings_file(path)
    fields = {**read_flat_toml(path), **({"backbones": list(backbones)} if backbones else {})}
    config = validated(StudyConfig, fields, source=str(path))
    if root is None and not config.root and config.dataset != "synthetic":
        raise ConfigError(f"{path}: names no root; give the folder of the images with --data")
    recipe = read_config(path.parent / config.recipe) if config.recipe else TrainingConfig()
    training = recipe.with_overrides(
        {
            "weights": config.weights or None,
            "freeze": config.freeze,
            "image_size": config.image_size,
            "fit": config.fit,
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "device": config.device,
            "fold_validation": True if {"weighted", "fusion"} & set(config.votes) else None,
        }
    )
    _require_stains(path, config, training)
    return StudyFile(config, training, Path(root) if root else path.parent / config.root)


def _require_stains(path: Path, config: StudyConfig, training: TrainingConfig) -> None:
    """ConfigError where a stain step cannot be, or where the recipe has one of its own."""
    try:
        bare = Staining.parse(BASELINE).settings(training)
        for text in config.stains:
            Staining.parse(text).settings(training)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if training != bare:
        raise ConfigError(
            f"{path}: the recipe {config.recipe} has a stain step of its own; a study takes its "
            'steps from `stains`, so say it there, e.g. stains = ["none", "macenko per patient"]'
        )
