"""The plan of a study: every training and every ensemble as one cell, in order."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from eosin.networks.backbones import resolve_backbone
from eosin.study.config import Design
from eosin.study.stains import BASELINE, Staining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.artefacts.run import Vote
    from eosin.study.config import StudyConfig, StudyFile
    from eosin.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class Cell:
    """One model under one protocol."""

    design: Design  # the protocol
    seed: int  # of the split
    # the backbone, or the ensemble's name, e.g. ``"all soft"``
    model: str
    backbones: tuple[str, ...]  # the one backbone, or the ensemble's members
    stain: str = BASELINE  # the stain step, in the words of ``Staining``
    vote: Vote | None = None  # how members are combined; None for a single model

    @classmethod
    def single(cls, design: Design, seed: int, backbone: str, *, stain: str = BASELINE) -> Self:
        """The cell that trains one backbone."""
        return cls(design, seed, resolve_backbone(backbone).name, (backbone,), stain)

    @property
    def members(self) -> tuple[Cell, ...]:
        """The cells that an ensemble combines; none for a single model."""
        if not self.vote:
            return ()
        return tuple(
            Cell.single(self.design, self.seed, name, stain=self.stain) for name in self.backbones
        )

    @property
    def name(self) -> str:
        """Its path in the study's folder, e.g. ``patient_5-fold/seed-7/efficientnet_b0``."""
        stain = "" if self.stain == BASELINE else f"/{Staining.parse(self.stain).slug}"
        model = re.sub(r"[^\w.@+-]+", "-", self.model.replace(" ", "_")).strip("-")
        return f"{self.design.slug}/seed-{self.seed}{stain}/{model}"

    def key(self, training: TrainingConfig, fingerprint: str, resamples: int) -> str:
        """What the cell's result depends on, as one hash: when it changes the cell is redone."""
        facts = {
            "design": asdict(self.design),
            "seed": self.seed,
            "backbones": self.backbones,
            "stain": self.stain,
            "vote": self.vote,
            "training": training.model_dump(mode="json"),
            "images": fingerprint,
            "resamples": resamples,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def plan(study: StudyFile) -> tuple[Cell, ...]:
    """Every cell: for each protocol and seed, the single models, then the ensembles of them."""
    config = study.config
    return tuple(
        cell
        for design in config.designs
        for seed in config.seeds
        for stain in config.stains
        for cell in _cells(config, design, seed, stain)
    )


def trainings(cells: tuple[Cell, ...]) -> int:
    """How many heads or networks the plan trains: one a fold."""
    return sum((cell.design.folds or 1) for cell in cells if not cell.vote)


def _cells(config: StudyConfig, design: Design, seed: int, stain: str) -> Iterator[Cell]:
    for backbone in config.backbones:
        yield Cell.single(design, seed, backbone, stain=stain)
    for group, members in _groups(config).items():
        for vote in config.votes:
            yield Cell(design, seed, f"{group} {vote}", members, stain, vote)


def _groups(config: StudyConfig) -> dict[str, tuple[str, ...]]:
    """Families of at least two backbones, and all of them where there is more than one family."""
    families: dict[str, list[str]] = {}
    for backbone in config.backbones:
        families.setdefault(resolve_backbone(backbone).family, []).append(backbone)
    groups: dict[str, tuple[str, ...]] = {}
    if "family" in config.groups:
        groups = {name: tuple(names) for name, names in families.items() if len(names) > 1}
    if "all" in config.groups and len(families) > 1:
        groups["all"] = tuple(config.backbones)
    return groups
