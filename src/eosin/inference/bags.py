"""Slides answered by their tiles: what each tile weighs, the slide's answer, and its row.

A Run with a ``bag`` is an ordinary network whose answer for a slide is the weighted mean of its
tiles' logits. All of it is NumPy, so that exported Runs need no torch.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.run import ATTENTION_NAME
from eosin.errors import DataError, ModelError
from eosin.evaluation.calibration import apply_temperature
from eosin.remote import as_path
from eosin.slides.tile import Tile
from eosin.trust.reference import Look

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Floats, Floats32, Ints
    from eosin.artefacts.reference import Flag
    from eosin.artefacts.run import Bag
    from eosin.inference.readings import Reading
    from eosin.networks.run import Run
    from eosin.tasks import Task

_NAMES = ("tanh", "tanh_bias", "sigmoid", "sigmoid_bias", "weight")


@dataclass(frozen=True, eq=False)
class Gate:
    """Gated attention (Ilse, Tomczak & Welling 2018, eq. 9, with biases), D channels, L hidden."""

    tanh: Floats  # V, shape (L, D)
    tanh_bias: Floats  # shape (L,)
    sigmoid: Floats  # U, shape (L, D)
    sigmoid_bias: Floats  # shape (L,)
    weight: Floats  # w, shape (L,)

    def scores(self, features: Floats) -> Floats:
        """What the softmax over a slide's tiles is taken of, shape (n,), of features (n, D)."""
        if features.shape[1] != self.tanh.shape[1]:
            raise ModelError(
                f"the attention takes {self.tanh.shape[1]} features and the network gives "
                f"{features.shape[1]}; train the Run again"
            )
        opened = 0.5 + 0.5 * np.tanh((features @ self.sigmoid.T + self.sigmoid_bias) / 2)
        scores: Floats = np.tanh(features @ self.tanh.T + self.tanh_bias) * opened @ self.weight
        return scores

    def tensors(self) -> dict[str, Floats32]:
        """As they lie in ``attention.safetensors``."""
        return {f"attention.{name}": getattr(self, name).astype(np.float32) for name in _NAMES}


def load_gate(run: Run) -> Gate | None:
    """The attention of a Run; None where its bag has none.

    Raises:
        ModelError: its file is missing, changed, or no such attention.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if run.record.bag is None or run.record.bag.attention_sha256 is None:
        return None
    path = run.folder / ATTENTION_NAME
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != run.record.bag.attention_sha256:
            raise ValueError("changed since run.json was written")
        tensors = load(data)
        return Gate(*(tensors[f"attention.{name}"].astype(np.float64) for name in _NAMES))
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path}: not the attention of {run.folder} ({reason}); train the Run again"
        ) from error


def answers_slides(run: Run) -> bool:
    """Whether ``run`` answers for slides; ModelError where a member is missing or changed."""
    return any(leaf.record.bag is not None for leaf in run.leaves())


def tile_values(logits: Floats, features: Floats, gate: Gate | None) -> Floats:
    """Of each tile all that its slide needs: logits, and last its attention, (n, classes + 1)."""
    scores = np.zeros(len(logits)) if gate is None else gate.scores(features)
    return np.column_stack([logits, scores])


def tile_weights(bag: Bag, values: Floats, slide: Ints, task: Task) -> Floats:
    """What each tile weighs in the answer of its slide, shape (n,); of a slide they sum to 1.

    Args:
        bag: the rule. ``max`` and ``topk`` take the tiles whose logit of any class but the
            background lies furthest above that of the background: of two classes the one that is
            not positive, else the first.
        values: of ``tile_values``.
        slide: the number of each tile's slide, from 0, none left out.
        task: the classes.
    """
    count = np.bincount(slide)
    if bag.aggregator == "mean":
        return np.asarray(1 / count[slide])
    if bag.aggregator == "abmil":
        most = np.full(len(count), -np.inf)
        np.maximum.at(most, slide, values[:, -1])
        grown = np.exp(values[:, -1] - most[slide])
        return np.asarray(grown / np.bincount(slide, grown)[slide])
    background = 1 - task.positive_index if task.binary else 0
    logits = values[:, :-1]
    margin = np.delete(logits, background, axis=1).max(axis=1) - logits[:, background]
    kept = np.maximum(np.ceil((bag.share or 0) * count - 1e-9), 1)[slide]
    return np.asarray((ranks(margin, slide) < kept) / kept)


def ranks(values: Floats, slide: Ints, *, ties: Floats | None = None) -> Ints:
    """The rank of each tile in its slide by ``values``, shape (n,), 0 for the highest."""
    order = np.lexsort((*(() if ties is None else (ties,)), -values, slide))
    count, rank = np.bincount(slide), np.empty(len(slide), dtype=np.int64)
    rank[order] = np.arange(len(slide)) - (np.cumsum(count) - count)[slide[order]]
    return rank


def pooled(weights: Floats, values: Floats, slide: Ints) -> Floats:
    """Logits of slides (slides, classes), of ``tile_values`` and what each weighs."""
    return np.stack([np.bincount(slide, weights * each) for each in values.T[:-1]], axis=1)


@dataclass(frozen=True, eq=False)
class Chances:
    """What the networks of a Run say of slides, averaged."""

    slides: Floats  # probabilities, shape (slides, classes)
    tiles: Floats  # of tiles at the slides' temperature, which is none of theirs, (n, classes)
    attention: Floats  # what each tile weighs, shape (n,)


def slide_chances(run: Run, values: Floats, slide: Ints) -> Chances:
    """What ``run`` says of slides whose tiles have these values (n, networks * (classes + 1))."""
    leaves = run.leaves()
    answers = []
    for leaf, own in zip(leaves, np.split(values, len(leaves), axis=1), strict=True):
        record = leaf.record
        if record.bag is None:
            raise ModelError(f"{leaf.folder}: answers for images, and others in the Run for slides")
        weights = tile_weights(record.bag, own, slide, record.task)
        chances = (
            apply_temperature(logits, record.temperature)
            for logits in (pooled(weights, own, slide), own[:, :-1])
        )
        answers.append((*chances, weights))
    means = (np.mean(each, axis=0) for each in zip(*answers, strict=True))
    return Chances(*means)


def find_slides(frame: pd.DataFrame) -> tuple[pd.DataFrame, Ints]:
    """A row a slide, in the order of their first tiles, and the number of each tile's slide.

    Its path is the slide's file where its tiles are named as squares of it, else the slide's name
    in the folder that all its tiles lie in; all else is as its first tile has it.

    Raises:
        DataError: tiles that name no slide, or a slide of several labels, patients or splits.
    """
    if "slide" not in frame:
        raise DataError(
            f"{frame['path'].iloc[0]}: the table has no column 'slide', and the Run answers for "
            "slides; give a manifest whose column 'slide' names the slide of each tile"
        )
    if (unnamed := frame["slide"] == "").any():
        path = frame["path"][unnamed].iloc[0]
        raise DataError(f"{path}: names no slide; fill its column 'slide', or drop the row")
    for column in ("label", "patient", "split", "fold"):
        kinds = frame.groupby("slide", sort=False)[column].unique()
        if (several := kinds.map(len) > 1).any():
            slide, found = kinds.index[several][0], sorted(kinds[several].iloc[0])
            raise DataError(
                f"slide {slide!r}: its tiles have {len(found)} values of {column!r}, "
                f"{found[:5]}; give all tiles of a slide one {column}"
            )
    number = frame.groupby("slide", sort=False).ngroup().to_numpy(np.int64)
    rows = frame.drop_duplicates("slide").reset_index(drop=True)
    parents = frame["path"].map(os.path.dirname).groupby(number).unique()
    tops = [os.path.commonpath(each) for each in parents]
    times = Counter(tops)
    paths = [
        top if Tile.of(as_path(path)) and times[top] == 1 else str(Path(top) / name)
        for top, path, name in zip(tops, rows["path"], rows["slide"], strict=True)
    ]
    nowhere = {name: "" for name in ("x", "y") if name in rows}
    return rows.assign(path=paths, **nowhere), number


@dataclass(frozen=True, eq=False)
class Slides:
    """Slides that were answered."""

    rows: pd.DataFrame  # of ``find_slides``, those with a tile that could be read
    number: Ints  # the row of each tile that could be
    probabilities: Floats  # shape (slides, classes)
    looks: tuple[Look, ...]  # one a slide: a flag is one that tiles of half its attention have
    notes: tuple[str, ...]  # of the stain step, one a slide
    # a row a tile: path, slide, x, y, what it weighs, and its own uncalibrated probabilities
    attention: pd.DataFrame


def answer_slides(run: Run, found: Reading, frame: pd.DataFrame) -> Slides:
    """The answers of ``run`` for slides.

    Args:
        run: whose networks have a bag.
        found: of the tiles that could be read, all networks' ``tile_values`` side by side.
        frame: the manifest's rows of all tiles.

    Raises:
        DataError: as ``find_slides``.
    """
    rows, number = find_slides(frame)
    present, slide = np.unique(number[found.indices], return_inverse=True)
    chances = slide_chances(run, found.values, slide)
    tiles = frame.iloc[found.indices].reset_index(drop=True)
    table = tiles[["path", "slide"]].assign(**_coordinates(tiles), attention=chances.attention)
    own = {f"p_{name}": chances.tiles[:, k] for k, name in enumerate(run.record.task.classes)}
    parts = [np.flatnonzero(slide == each) for each in range(len(present))]
    said = found.notes or [""] * len(slide)
    return Slides(
        rows.iloc[present].reset_index(drop=True),
        slide,
        chances.slides,
        tuple(_look(found.looks, part, chances.attention) for part in parts if found.looks),
        tuple("; ".join(dict.fromkeys(said[k] for k in part if said[k])) for part in parts),
        table.assign(**own),
    )


def _look(looks: Sequence[Look], part: Ints, attention: Floats) -> Look:
    share: Counter[Flag] = Counter()
    for k in part:
        share.update(dict.fromkeys(looks[k].flags, attention[k]))
    return Look(None, tuple(flag for flag, weight in share.items() if weight >= 0.5))


def _coordinates(tiles: pd.DataFrame) -> dict[str, list[str]]:
    """X and y of tiles: of their paths where these name squares of slides, else as stated."""
    squares = [Tile.of(as_path(path)) for path in tiles["path"]]
    return {
        axis: [
            stated if square is None else str(getattr(square, axis))
            for square, stated in zip(squares, tiles.get(axis, [""] * len(tiles)), strict=True)
        ]
        for axis in ("x", "y")
    }
