"""The record of a Run, ``run.json``: four kinds, one union, nothing that can be left out.

It holds what is needed to use a model and to refuse to misuse it. A trained Run has weights beside
its record, an exported one a graph; Runs of folds and ensembles have other Runs inside them.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, Field, JsonValue, model_validator

from eosin.artefacts.codec import Artefact, Strict, parse_artefact, read_fields
from eosin.artefacts.graph import Graph
from eosin.artefacts.names import PatternText
from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.reference import REFERENCE_NAME, Reference
from eosin.artefacts.run_of_0_1_0 import from_0_1_0, kind_of_0_1_0
from eosin.artefacts.values import NamedProtocol, Positive, Sha256, Share
from eosin.errors import ModelError
from eosin.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

MOST_MEMBERS = 1000
ATTENTION_NAME = "attention.safetensors"
Vote: TypeAlias = Literal["soft", "hard", "weighted", "fusion"]
Aggregator: TypeAlias = Literal["mean", "max", "topk", "abmil"]


def _require_inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] in ("/", "~") or "\\" in path or ":" in path or "\0" in path:
        raise ValueError("want the relative path of a folder")
    return path


class Member(Strict):
    """One Run inside another."""

    # of its folder, relative to the outer Run's
    path: Annotated[str, AfterValidator(_require_inside)]
    sha256: Sha256  # of its ``run.json``, which itself holds the SHA-256 of the weights


class Context(Strict):
    """How the patches next to an image on its slide enter its answer.

    The mean logit of the square of patches around it, itself included, is added with a weight
    before the temperature. Images that name no x and y are scored without.
    """

    window: Literal[3, 5]  # patches along the square's side
    pitch: Positive  # of the training coordinates, from one patch to the next
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    alone_temperature: Positive  # without coordinates, instead of the Run's temperature
    alone_threshold: Share | None  # the same for the threshold


class Scale(Strict):
    """What the training images show: fields of ``size`` pixels at ``mpp``."""

    size: Annotated[int, Field(ge=1)]  # the shorter side of most of them, pixels
    mpp: Positive | None  # um a pixel; None where the manifest states none, or several


class Bag(Strict):
    """How the tiles of a slide make its answer: a weighted mean of their logits.

    The Run's temperature and threshold are those of slides.
    """

    aggregator: Aggregator
    # of a slide's tiles, those of the greatest margin, that count alike in ``topk``; else None
    share: Annotated[float, Field(gt=0, le=1)] | None
    attention_sha256: Sha256 | None  # of ``attention.safetensors``, for ``abmil``; else None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name, owner in (("share", "topk"), ("attention_sha256", "abmil")):
            if (getattr(self, name) is not None) != (self.aggregator == owner):
                raise ValueError(f"aggregator = {self.aggregator!r}: {name} belongs to {owner!r}")
        return self


class Record(Artefact):
    """What the records of all kinds of Run say."""

    task: Task  # the classes
    dataset: str  # the dataset trained on
    backbone: str  # timm's name, or ``"inception_her2"``; of an ensemble, what to call it
    preprocessing: Preprocessing  # how images become input; of several networks, that of the first
    protocol: NamedProtocol  # the split protocol of the training manifest
    # of the training manifest; empty where members were trained on several
    fingerprint: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    fold: Annotated[int, Field(ge=0)] | None  # the fold held out, or None
    # patients whose images set weights; at least one
    train_patients: Annotated[tuple[str, ...], Field(min_length=1)]
    # patients whose images chose epochs, strength, temperature or threshold
    val_patients: tuple[str, ...]
    patient_pattern: PatternText  # of the training manifest: what finds the patient in a file name
    # logits are divided by it before the softmax (Guo et al. 2017)
    temperature: Positive
    threshold: Share | None  # the locked probability of the positive class, binary tasks only
    seed: int  # of the training
    training: dict[str, JsonValue]  # the training settings as plain JSON values
    # what the training chose inside its own patients, e.g. the probe's strength
    choices: dict[str, JsonValue]
    initial_weights: str  # where the network started from, in words
    versions: dict[str, str]  # of eosin, Python and the libraries that trained it
    notes: tuple[str, ...]  # plain sentences that every later artefact repeats
    # of ``model.safetensors``, or of the one that was exported; None for Runs that have no weights
    # beside those of their members
    weights_sha256: Sha256 | None
    # how neighbours on the slide enter a network's answer; None where they do not, and for Runs
    # made of others
    context: Context | None
    # at which slides are read for it; None where no image could be read, and for Runs of 0.1.0
    scale: Scale | None
    # how tiles make the answer of their slide; None where images are answered, and for Runs made of
    # others
    bag: Bag | None
    # what tells the unfamiliar; None for Runs of 0.1.0 and where nothing could be learnt
    reference: Reference | None

    @property
    def files_beside(self) -> dict[str, str]:
        """SHA-256 of every file beside the record that is no network, by its name."""
        gate = self.bag and self.bag.attention_sha256
        known = {} if self.reference is None else {REFERENCE_NAME: self.reference.sha256}
        return {**known, **({ATTENTION_NAME: gate} if gate else {})}

    @property
    def inside(self) -> tuple[Member, ...]:
        """The Runs inside this one."""
        return ()

    @property
    def owns_weights(self) -> bool:
        """Whether ``model.safetensors`` is this Run's own."""
        return False

    @property
    def voting(self) -> tuple[Vote, tuple[float, ...]]:
        """How the members' answers become one, and what each weighs in a weighted vote."""
        return "soft", ()

    @property
    def seen_patients(self) -> frozenset[str]:
        """Every patient that trained or validated this Run."""
        return frozenset(self.train_patients) | frozenset(self.val_patients)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for name in ("train_patients", "val_patients"):
            patients = getattr(self, name)
            if "" in patients or len(set(patients)) < len(patients):
                raise ValueError(f"{name} names a patient twice, or one without a name")
        if self.threshold is not None and not self.task.binary:
            raise ValueError(f"threshold = {self.threshold} belongs to two classes")
        alone = self.context and self.context.alone_threshold
        if self.context and (alone is None) != (self.threshold is None):
            raise ValueError(f"context.alone_threshold = {alone}, threshold = {self.threshold}")
        if self.context and self.bag:
            raise ValueError(
                "context belongs to Runs that answer for images, bag to those of slides"
            )
        return self

    @model_validator(mode="after")
    def _knows_its_own_network(self) -> Self:
        known = self.reference
        if known is not None and known.weights_sha256 != self.weights_sha256:
            raise ValueError(
                f"reference.weights_sha256 = {known.weights_sha256} is of another network than "
                f"weights_sha256 = {self.weights_sha256}"
            )
        return self


class _Network(Record):
    """A Run of one network."""

    weights_sha256: Sha256

    @model_validator(mode="after")
    def _keeps_patients_apart(self) -> Self:
        both = sorted(set(self.train_patients) & set(self.val_patients))
        if both and not self.protocol.leaky:
            raise ValueError(
                f"{both[0]!r} stands in train_patients and val_patients of a protocol that calls "
                f"itself {self.protocol.name!r}"
            )
        return self


class TrainedRun(_Network):
    """One network, its weights in ``model.safetensors``, whose SHA-256 is ``weights_sha256``."""

    kind: Literal["run/trained"] = "run/trained"

    @property
    def owns_weights(self) -> bool:
        """Always: ``model.safetensors`` is this Run's own."""
        return True


class ExportedRun(_Network):
    """One network as a graph; ``weights_sha256`` is of the weights that it was made from."""

    kind: Literal["run/exported"] = "run/exported"
    graph: Graph


class _Outer(Record):
    """A Run made of others."""

    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=MOST_MEMBERS)]

    @property
    def inside(self) -> tuple[Member, ...]:
        """The Runs inside this one."""
        return self.members

    @model_validator(mode="after")
    def _leaves_neighbours_to_members(self) -> Self:
        if self.context is not None or self.bag is not None:
            raise ValueError("context and bag belong to the Runs of single networks inside")
        return self

    @model_validator(mode="after")
    def _names_each_member_once(self) -> Self:
        paths = [member.path for member in self.members]
        if len(set(paths)) < len(paths):
            raise ValueError("members name a folder twice")
        return self


class FoldsRun(_Outer):
    """One Run a fold, each trained without the fold that it answers for."""

    kind: Literal["run/folds"] = "run/folds"
    vote: Vote | None  # of its members, where these are ensembles
    weights_sha256: None


class EnsembleRun(_Outer):
    """Runs that answer together."""

    kind: Literal["run/ensemble"] = "run/ensemble"
    vote: Vote  # how
    weights: tuple[Share, ...]  # of each member in a weighted vote, in [0, 1], of sum 1; else none

    @property
    def owns_weights(self) -> bool:
        """Whether a fusion head lies in ``model.safetensors``."""
        return self.vote == "fusion"

    @property
    def voting(self) -> tuple[Vote, tuple[float, ...]]:
        """The vote, and what each member weighs in a weighted one."""
        return self.vote, self.weights

    @model_validator(mode="after")
    def _votes_as_it_says(self) -> Self:
        if (self.vote == "fusion") != (self.weights_sha256 is not None):
            raise ValueError("weights_sha256 belongs to a fusion head, and to no other vote")
        weighted = self.vote == "weighted"
        if len(self.weights) != (len(self.members) if weighted else 0):
            raise ValueError(f"weights {self.weights} of {len(self.members)} members")
        if weighted and not math.isclose(sum(self.weights), 1, abs_tol=1e-3):
            raise ValueError(f"weights {self.weights} do not sum to 1")
        return self


RunRecord: TypeAlias = TrainedRun | ExportedRun | FoldsRun | EnsembleRun

_KINDS: dict[str, type[RunRecord]] = {
    kind.model_fields["kind"].default: kind for kind in get_args(RunRecord)
}
_FIX = "train the Run again, or copy its whole folder again"


def read_record(path: Path) -> RunRecord:
    """The record in a ``run.json``; ModelError naming the file, the field, its value and the fix.

    What eosin 0.1.0 wrote is read as well, as strictly.
    """
    fields = read_fields(path, fix=_FIX, error=ModelError)
    if fields.get("kind") == "run/single" or fields.get("format_version") == 1:
        fields = {**fields, "format_version": 1}  # 0.1.0 gave exported Runs a format 2 of their own
        kind = kind_of_0_1_0(fields)
    else:
        kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ModelError(f"{path}: kind = {kind!r} is not one of {list(_KINDS)}; {_FIX}")
    members = fields.get("members") if fields.get("format_version") != 1 else None
    for member in members if isinstance(members, list) else []:  # 0.1.0 left them where they were
        if isinstance(member, dict) and ".." in str(member.get("path")).split("/"):
            raise ModelError(f"{path}: member {member['path']!r} lies outside the folder; {_FIX}")
    return parse_artefact(
        _KINDS[kind], fields, path, fix=_FIX, upgrade=from_0_1_0, error=ModelError
    )
