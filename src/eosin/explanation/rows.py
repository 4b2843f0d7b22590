"""Images on their way to explanations, a batch at a time: who answers, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.explanation.heatmap import Explanation, Heatmap, on_image_grid, require_method
from eosin.explanation.loading import Asked, Loaded, inputs_of, read_rows
from eosin.explanation.mapping import draw, named, open_to_explain, terms_of, who_answers
from eosin.explanation.merge import merge_heatmaps
from eosin.explanation.options import PREDICTED, TRUE, ExplainOptions, require_labels
from eosin.inference.context import around_each, near
from eosin.pixels.reading import SkippedFile
from eosin.pixels.stain_sources import patient_sources
from eosin.spread import Here, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eosin.arrays import FloatMap, Floats, Ints
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.evaluation.calibration import Around
    from eosin.explanation.heatmap import Method
    from eosin.networks.engine import Maps
    from eosin.networks.run import Network, Run
    from eosin.pixels.stain_sources import Sources
    from eosin.spread import Spread


def explain_rows(
    runs: Sequence[Run],
    networks: Sequence[Network],
    images: Manifest,
    options: ExplainOptions,
    *,
    met: Sequence[Sequence[bool | None]],
    folds: Sequence[str],
    spread: Spread | None = None,
) -> Iterator[Explanation | SkippedFile]:
    """Explain every row of ``images`` with networks of ``runs`` that are open already.

    Args:
        runs: as ``explain`` takes them.
        networks: those in them that have maps.
        images: what to explain.
        options: what and how.
        met: for each network, for each row, whether it was trained or validated on its patient.
        folds: for each row, the fold of the Runs' own training that it stands in; or empty.
        spread: explains, once it is known which rows are wanted; None for this process.
    """
    method = require_method(options.method)
    if options.mistakes:
        require_labels("a search for mistakes", images.frame)
    if options.score is not None:
        from eosin.explanation.heatmap_checks import require_weights

        for network in networks:
            require_weights(network)
    sources = _sources(networks, images, options.workers)
    answering = who_answers(runs, networks, met, folds)
    asked = Asked(images, method, networks, answering, met, sources, options)
    return _stream(runs, asked, spread)


def _stream(
    runs: Sequence[Run], asked: Asked, spread: Spread | None
) -> Iterator[Explanation | SkippedFile]:
    asked.around.update(_around(asked))
    rows, unread = _wanted(asked)
    yield from unread
    merging = asked.options.merge or any(run.open_members() for run in runs)
    work = Work(
        repr([asked.method, asked.options.engine, asked.options.device, *(r.sha256 for r in runs)]),
        asked.options.batch_size,
        [asked.images.paths[row] for row in rows],
        partial(_reopen, runs, asked.method, asked.options),
        partial(_explained, replace(asked, networks=()), rows, merging),
        runs=runs,
    )
    yield from (spread or Here({work.key: asked.networks})).each(work, range(len(rows)))


def _reopen(runs: Sequence[Run], method: Method, options: ExplainOptions) -> Sequence[Network]:
    return open_to_explain(runs, method, device=options.device, engine=options.engine)[0]


def _explained(
    asked: Asked, wanted: Sequence[int], merging: bool, networks: Sequence[Network], rows: range
) -> Iterator[Explanation | SkippedFile]:
    """Some of the rows that are wanted, by networks that are open here."""
    asked = replace(asked, networks=networks)
    explanations = _explain_each(asked, wanted[rows.start : rows.stop], merging=merging)
    if asked.options.score is None:
        return explanations
    from eosin.explanation.judging import judged

    return judged(networks, explanations, asked.method, asked.options.score)


def _explain_each(
    asked: Asked, rows: Sequence[int], *, merging: bool
) -> Iterator[Explanation | SkippedFile]:
    for batch in read_rows(asked, rows):
        loaded = [item for item in batch if isinstance(item, Loaded)]
        explained = _explain_batch(loaded, asked)
        for item in batch:
            done = item if isinstance(item, SkippedFile) else next(explained)
            yield _merged(done) if merging and isinstance(done, Explanation) else done


def _around(asked: Asked) -> dict[int, Mapping[int, Around]]:
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
    for batch in read_rows(asked, sorted(needed)):
        loaded = [item for item in batch if isinstance(item, Loaded)]
        for n, images, pixels in inputs_of(loaded, asked):
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


def _wanted(asked: Asked) -> tuple[Sequence[int], list[SkippedFile]]:
    """The rows to explain, in order, and what could not be read while they were chosen."""
    if asked.options.mistakes:
        rows, unread = _mistakes(asked)
        return rows[: asked.options.limit], unread
    return _evenly(asked), []


def _evenly(asked: Asked) -> Sequence[int]:
    count, limit = len(asked.images), asked.options.limit
    if limit is None or limit >= count:
        return range(count)
    return [int(row) for row in np.linspace(0, count - 1, limit).round()]


def _mistakes(asked: Asked) -> tuple[list[int], list[SkippedFile]]:
    """The rows that are misclassified, the most confident first; every image is scored."""
    frame, classes = asked.images.frame, asked.images.task.classes
    unread: list[SkippedFile] = []
    wrong: list[tuple[float, int]] = []
    for batch in read_rows(asked, range(len(frame))):
        loaded = [item for item in batch if isinstance(item, Loaded)]
        unread += [item for item in batch if isinstance(item, SkippedFile)]
        said = []
        for n, images, pixels in inputs_of(loaded, asked):
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

    network: int  # its index
    images: list[int]  # their indices in the batch
    chances: Floats  # calibrated probabilities (n, classes)
    maps: Maps | None = None


def _chances(network: int, rows: Sequence[int], logits: Floats, asked: Asked) -> Floats:
    """Calibrated probabilities (n, classes) of these rows."""
    around = asked.around.get(network)
    if around is None:
        return apply_temperature(logits, asked.networks[network].run.record.temperature)
    told = [around[row].chances(own[None]) for row, own in zip(rows, logits, strict=True)]
    return np.concatenate(told)


def _mean(said: Sequence[_Said], count: int, asked: Asked) -> Floats:
    """Each image's mean probability over the networks that answered (count, classes)."""
    total = np.zeros((count, len(asked.images.task.classes)))
    for each in said:
        total[each.images] += each.chances
    mean: Floats = total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12)
    return mean


def _explain_batch(loaded: Sequence[Loaded], asked: Asked) -> Iterator[Explanation | SkippedFile]:
    """The explanations of some images; maps are brought to full size one image at a time."""
    said = []
    for n, images, pixels in inputs_of(loaded, asked):
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
        for row, k in enumerate(each.images):
            drawn[k].append((each, row, raw[row]))
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
    item: Loaded, target: str, said: _Said, row: int, raw: FloatMap, asked: Asked
) -> Heatmap:
    network = asked.networks[said.network]
    assert said.maps is not None
    chances = said.chances[row].tolist()
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
        exact=terms_of(said.maps, row, index, method=asked.method),
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


def _too_small(item: Loaded, stride: int) -> SkippedFile:
    height, width = item.sides
    return SkippedFile(
        item.path, f"is {width} x {height}, smaller than the network's stride of {stride} pixels"
    )
