"""Images on their way to explanations, a batch at a time: who answers, and what they answer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.explanation.heatmap import Explanation, Heatmap, on_image_grid, require_method
from eosin.explanation.mapping import draw, named, terms_of, who_answers
from eosin.explanation.merge import merge_heatmaps
from eosin.explanation.options import PREDICTED, TRUE, ExplainOptions, require_labels
from eosin.inference.context import around_each, near
from eosin.machine import reading_threads
from eosin.pixels.preprocessing import prepare
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.reading import SkippedFile, image_in_turn, reduced
from eosin.pixels.stain_sources import patient_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import FloatMap, Floats, Ints, Pixels
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.evaluation.calibration import Around
    from eosin.explanation.heatmap import Method
    from eosin.networks.engine import Maps
    from eosin.networks.run import Network, Run
    from eosin.pixels.reading import UInt8Image
    from eosin.pixels.stain_normalizer import Source
    from eosin.pixels.stain_sources import Sources

_SHOWN_PIXELS: Final = 3_200_000  # of an image; a larger one is drawn and judged at half of this
_BATCH_PIXELS: Final = 8_000_000  # of images in a forward pass, which are kept to be drawn


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be explained.

    Attributes:
        images: their rows.
        method: how maps are made.
        networks: that answer.
        answering: for each row, the places of the networks that answer for it.
        met: for each network, for each row, whether it was trained on the patient.
        sources: for each preprocessing, the stain of each row's patient where it asks for it.
        options: how.
        around: for each network that counts neighbours, what stands around each row.
    """

    images: Manifest
    method: Method
    networks: Sequence[Network]
    answering: Sequence[Sequence[int]]
    met: Sequence[Sequence[bool | None]]
    sources: Mapping[Preprocessing, Sources | None]
    options: ExplainOptions
    around: dict[int, Mapping[int, Around]] = field(default_factory=dict)

    def source(self, spec: Preprocessing, row: int) -> Source | None:
        """The stain of a row's patient, where the preprocessing goes by patient."""
        known = self.sources[spec]
        return known[row] if known else None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An image that could be read."""

    row: int  # among those asked for
    path: Path
    image: UInt8Image  # as it is drawn
    sides: tuple[int, int]  # height and width as read
    prepared: Mapping[Preprocessing, Pixels]  # what networks take in, made of all pixels


def explain_rows(
    runs: Sequence[Run],
    networks: Sequence[Network],
    images: Manifest,
    options: ExplainOptions,
    *,
    met: Sequence[Sequence[bool | None]],
    folds: Sequence[str],
) -> Iterator[Explanation | SkippedFile]:
    """Explain every row of ``images`` with networks of ``runs`` that are open already.

    Args:
        runs: as ``explain`` takes them.
        networks: those in them that have maps.
        images: what to explain.
        options: what and how.
        met: for each network, for each row, whether it was trained or validated on its patient.
        folds: for each row, the fold of the Runs' own training that it stands in; or empty.
    """
    method = require_method(options.method)
    if options.mistakes:
        require_labels("a search for mistakes", images.frame)
    sources = _sources(networks, images, options.workers)
    answering = who_answers(runs, networks, met, folds)
    asked = _Asked(images, method, networks, answering, met, sources, options)
    merging = options.merge or any(run.open_members() for run in runs)
    explanations = _stream(asked, merging=merging)
    if options.score is None:
        return explanations
    from eosin.explanation.judging import judged

    return judged(networks, explanations, method, options.score)


def _stream(asked: _Asked, *, merging: bool) -> Iterator[Explanation | SkippedFile]:
    asked.around.update(_around(asked))
    rows, unread = _wanted(asked)
    yield from unread
    for batch in _read_ahead(asked, rows):
        loaded = [item for item in batch if isinstance(item, _Loaded)]
        explained = _explain_batch(loaded, asked)
        for item in batch:
            done = item if isinstance(item, SkippedFile) else next(explained)
            yield _merged(done) if merging and isinstance(done, Explanation) else done


def _around(asked: _Asked) -> dict[int, Mapping[int, Around]]:
    """What stands around the rows to explain, for each network that counts it."""
    found: dict[int, Mapping[int, Around]] = {}
    frame = asked.images.frame
    counting = [n for n, each in enumerate(asked.networks) if each.run.record.context]
    if not counting:
        return found
    squares = {n: near(asked.networks[n].run.record, frame) for n in counting}
    needed = set(range(len(frame))) if asked.options.mistakes else set(_evenly(asked))
    for each in squares.values():
        rows = sorted(needed)
        needed |= set(each.inside[rows].indices.tolist()) if each else set()
    logits: dict[int, dict[int, Floats]] = {n: {} for n in counting}
    for batch in _read_ahead(asked, sorted(needed)):
        loaded = [item for item in batch if isinstance(item, _Loaded)]
        for n, images, pixels in _inputs(loaded, asked):
            if n in logits:
                rows = [loaded[k].row for k in images]
                logits[n] |= zip(rows, asked.networks[n].logits(pixels), strict=True)
    for n, known in logits.items():
        read, square = sorted(known), squares[n]
        values = np.array([known[row] for row in read])
        around = square and square.of(np.array(read, np.int64))
        told = around_each(values, asked.networks[n].run.record, around)
        found[n] = dict(zip(read, told, strict=True))
    return found


def _wanted(asked: _Asked) -> tuple[Sequence[int], list[SkippedFile]]:
    """The rows to explain, in order, and what could not be read while they were chosen."""
    if asked.options.mistakes:
        rows, unread = _mistakes(asked)
        return rows[: asked.options.limit], unread
    return _evenly(asked), []


def _evenly(asked: _Asked) -> Sequence[int]:
    count, limit = len(asked.images), asked.options.limit
    if limit is None or limit >= count:
        return range(count)
    return [int(row) for row in np.linspace(0, count - 1, limit).round()]


def _mistakes(asked: _Asked) -> tuple[list[int], list[SkippedFile]]:
    """The rows that are misclassified, the most confident first; every image is scored."""
    frame, classes = asked.images.frame, asked.images.task.classes
    unread: list[SkippedFile] = []
    wrong: list[tuple[float, int]] = []
    for batch in _read_ahead(asked, range(len(frame))):
        loaded = [item for item in batch if isinstance(item, _Loaded)]
        unread += [item for item in batch if isinstance(item, SkippedFile)]
        said = []
        for n, images, pixels in _inputs(loaded, asked):
            rows, logits = [loaded[k].row for k in images], asked.networks[n].logits(pixels)
            said.append(_Said(n, images, _chances(n, rows, logits, asked)))
        for item, chance in zip(loaded, _mean(said, len(loaded), asked), strict=True):
            if classes[chance.argmax()] != frame["label"].iloc[item.row]:
                wrong.append((-float(chance.max()), item.row))
    if not wrong:
        raise DataError(f"none of {len(frame)} images is misclassified; ask for all of them")
    return [row for _, row in sorted(wrong)], unread


@dataclass(frozen=True, slots=True)
class _Said:
    """What one network answers to some images of a batch."""

    network: int  # its place
    images: list[int]  # their places in the batch
    chances: Floats  # calibrated probabilities (n, classes)
    maps: Maps | None = None


def _chances(network: int, rows: Sequence[int], logits: Floats, asked: _Asked) -> Floats:
    """Calibrated probabilities (n, classes) of these rows."""
    around = asked.around.get(network)
    if around is None:
        return apply_temperature(logits, asked.networks[network].run.record.temperature)
    told = [around[row].chances(own[None]) for row, own in zip(rows, logits, strict=True)]
    return np.concatenate(told)


def _inputs(loaded: Sequence[_Loaded], asked: _Asked) -> Iterator[tuple[int, list[int], Pixels]]:
    """For each network the images it answers for."""
    for n, network in enumerate(asked.networks):
        images = [k for k, item in enumerate(loaded) if n in asked.answering[item.row]]
        if images:
            spec = network.preprocessing
            yield n, images, np.stack([loaded[k].prepared[spec] for k in images])


def _mean(said: Sequence[_Said], count: int, asked: _Asked) -> Floats:
    """Each image's mean probability over the networks that answered (count, classes)."""
    total = np.zeros((count, len(asked.images.task.classes)))
    for each in said:
        total[each.images] += each.chances
    mean: Floats = total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12)
    return mean


def _explain_batch(loaded: Sequence[_Loaded], asked: _Asked) -> Iterator[Explanation | SkippedFile]:
    """The explanations of some images; maps are brought to full size one image at a time."""
    said = []
    for n, images, pixels in _inputs(loaded, asked):
        maps = asked.networks[n].maps(pixels)
        own = _chances(n, [loaded[k].row for k in images], maps.logits, asked)
        said.append(_Said(n, images, own, maps))
    rows = asked.images.frame.iloc[[item.row for item in loaded]]
    classes = asked.images.task.classes
    mean = _mean(said, len(loaded), asked)
    targets = _targets(asked.options.target, mean, rows["label"].tolist(), classes)
    drawn: list[list[tuple[_Said, int, FloatMap]]] = [[] for _ in loaded]
    for each in said:
        assert each.maps is not None
        raw = draw(each.maps, targets[each.images], method=asked.method)
        for place, k in enumerate(each.images):
            drawn[k].append((each, place, raw[place]))
    stride = max((each.maps.stride for each in said if each.maps), default=0)
    for k, item in enumerate(loaded):
        if min(item.sides) < stride:
            yield _too_small(item, stride)
            continue
        target = classes[targets[k]]
        members = tuple(_heatmap(item, target, *parts, asked) for parts in drawn[k])
        label, patient = str(rows["label"].iloc[k]), str(rows["patient"].iloc[k])
        yield Explanation(item.path, item.image, label, target, members, patient=patient)


def _heatmap(
    item: _Loaded, target: str, said: _Said, place: int, raw: FloatMap, asked: _Asked
) -> Heatmap:
    network = asked.networks[said.network]
    assert said.maps is not None
    chances = said.chances[place].tolist()
    index = asked.images.task.classes.index(target)
    return Heatmap(
        method=named(said.maps, asked.method),
        model=network.name,
        backbone=network.run.record.backbone,
        family=network.engine.family,
        target=target,
        probabilities=dict(zip(asked.images.task.classes, chances, strict=True)),
        values=on_image_grid(raw, item.image.shape[:2], fit=network.preprocessing.fit),
        raw=raw,
        seen=asked.met[said.network][item.row],
        source=asked.source(network.preprocessing, item.row),
        around=asked.around.get(said.network, {}).get(item.row),
        exact=terms_of(said.maps, place, index, method=asked.method),
    )


def _sources(
    networks: Sequence[Network], images: Manifest, workers: int | None
) -> dict[Preprocessing, Sources | None]:
    specs = dict.fromkeys(network.preprocessing for network in networks)
    patients = images.known_patients
    return {spec: patient_sources(images.paths, patients, spec, workers=workers) for spec in specs}


def _merged(explanation: Explanation) -> Explanation:
    if len(explanation.members) < 2:
        return explanation
    merged, disagreement = merge_heatmaps(explanation.members)
    return replace(explanation, merged=merged, disagreement=disagreement)


def _targets(
    target: str,
    probabilities: Floats,
    labels: Sequence[str],
    classes: tuple[str, ...],
) -> Ints:
    """The class index to explain, for each image (N,)."""
    if target == PREDICTED:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    names = labels if target == TRUE else [target] * len(labels)
    return np.array([classes.index(name) for name in names], np.int64)


def _read_ahead(asked: _Asked, rows: Sequence[int]) -> Iterator[list[_Loaded | SkippedFile]]:
    """Images in order, the next batch read while this one is used; large ones fill it sooner."""
    size, workers = asked.options.batch_size, reading_threads(asked.options.workers)
    paths = asked.images.paths
    wanted = ((row, paths[row]) for row in rows)
    with closing(read_ahead(partial(_load, asked), wanted, workers=workers, ahead=size)) as coming:
        batch: list[_Loaded | SkippedFile] = []
        for item in coming:
            batch.append(item)
            held = sum(each.image.size // 3 for each in batch if isinstance(each, _Loaded))
            if len(batch) == size or held >= _BATCH_PIXELS:
                yield batch
                batch = []
        if batch:
            yield batch


def _load(asked: _Asked, item: tuple[int, Path]) -> _Loaded | SkippedFile:
    row, path = item
    specs = {asked.networks[n].preprocessing for n in asked.answering[row]}
    try:
        with image_in_turn(path) as image:
            prepared = {
                spec: prepare(image, spec, source=asked.source(spec, row)) for spec in specs
            }
            large = image.shape[0] * image.shape[1] > _SHOWN_PIXELS
            shown = reduced(image, most=_SHOWN_PIXELS // 2) if large else image
            return _Loaded(row, path, shown, (image.shape[0], image.shape[1]), prepared)
    except DataError as error:
        return SkippedFile.from_error(path, error)


def _too_small(item: _Loaded, stride: int) -> SkippedFile:
    height, width = item.sides
    return SkippedFile(
        item.path, f"is {width} x {height}, smaller than the network's stride of {stride} pixels"
    )
