"""From Runs and images to explanations, one image after the other."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.artefacts.manifest import Manifest
from eosin.errors import ConfigError, DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.explanation.heatmap import Explanation, Heatmap, on_image_grid, require_method
from eosin.explanation.mapping import draw, open_to_explain
from eosin.explanation.merge import merge_heatmaps
from eosin.inference.images import external_images, patients_of, select_split
from eosin.inference.votes import soft_vote
from eosin.machine import reading_threads
from eosin.pixels.preprocessing import prepare
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.reading import SkippedFile, image_in_turn, reduced
from eosin.pixels.stain_sources import patient_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import FloatMap, Floats, Floats32, Ints
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.explanation.heatmap import Method
    from eosin.explanation.scoring import ScoreOptions
    from eosin.networks.engine import Maps
    from eosin.networks.run import Network, Run
    from eosin.pixels.reading import UInt8Image
    from eosin.pixels.stain_normalizer import Source
    from eosin.pixels.stain_sources import Sources
    from eosin.tasks import Task

PREDICTED, TRUE = "predicted", "true"
_SHOWN_PIXELS: Final = 3_200_000  # of an image; a larger one is drawn and judged at half of this
_BATCH_PIXELS: Final = 8_000_000  # of images in a forward pass, which are kept to be drawn


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain and how.

    Attributes:
        method: one of ``heatmap.METHODS``.
        target: ``"predicted"`` (by the mean probability of all networks), ``"true"`` (the label),
            or the name of a class.
        merge: merge the maps of several Runs; the members of one Run always are.
        score: check how faithful each network's map is, and how; None for not at all.
        split: of a manifest; None for the test split, or every row of one without splits.
        device: auto, cpu or cuda.
        engine: auto, torch, onnxruntime or openvino; exported Runs know no torch.
        batch_size: images a forward pass, fewer where they are large.
        workers: reading threads; None for one a core.
    """

    method: str = "gradcam"
    target: str = PREDICTED
    merge: bool = False
    score: ScoreOptions | None = None
    split: str | None = None
    device: str = "auto"
    engine: str = "auto"
    batch_size: int = 16
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be explained.

    Attributes:
        images: their rows.
        method: how maps are made.
        met: for each network, for each row, whether it was trained on the patient.
        sources: for each preprocessing, the stain of each row's patient where it asks for it.
        options: how.
    """

    images: Manifest
    method: Method
    met: Sequence[Sequence[bool | None]]
    sources: Mapping[Preprocessing, Sources | None]
    options: ExplainOptions

    def source(self, spec: Preprocessing, row: int) -> Source | None:
        """The stain of a row's patient, where the preprocessing goes by patient."""
        known = self.sources[spec]
        return known[row] if known else None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An image that could be read.

    Attributes:
        row: its row among those asked for.
        image: as it is drawn.
        sides: its height and width as read.
        prepared: what networks take in, by their preprocessing, made of all pixels.
    """

    row: int
    image: UInt8Image
    sides: tuple[int, int]
    prepared: Mapping[Preprocessing, Floats32]


def explain(
    runs: Sequence[Run],
    images: Manifest | Sequence[Path],
    options: ExplainOptions | None = None,
) -> Iterator[Explanation | SkippedFile]:
    """Explain images with one Run or several; a Run made of members answers with all of them.

    Images are read, explained and handed over a batch at a time, so memory stays flat however many
    there are. Images of patients that a network was trained on are explained as well, to inspect
    the training; each map says so. Networks without a usable feature map are left out, each with
    its reason, before the first image.

    Args:
        runs: finished Runs of the same classes.
        images: a manifest, of which one split is taken, or image files and folders.
        options: what and how.

    Returns:
        An iterator: the folders of Runs that were left out and what is no image, then for each
        image in order its explanation or why it was left out.

    Raises:
        ConfigError: an unknown method or class, true labels or patients that nobody knows, or what
            an exported Run or the engine cannot do.
        DataError: no image at all, or Runs or manifest of different classes.
        ModelError: weights that are missing or changed, or no network has a usable feature map.
    """
    options = options or ExplainOptions()
    method = require_method(options.method)
    if not runs:
        raise ConfigError("give at least one Run to explain with")
    task = _shared_task(runs)
    chosen, strange = _choose(runs[0], images, options.split)
    _require_target(options.target, task, chosen)
    networks, refused = open_to_explain(runs, method, device=options.device, engine=options.engine)
    several = options.merge or any(run.open_members() for run in runs)
    met = [_met(network.run, images, chosen) for network in networks]
    asked = _Asked(chosen, method, met, _sources(networks, chosen, options.workers), options)
    merging = several and len(networks) > 1
    explanations = chain(refused, strange, _stream(networks, asked, merging=merging))
    if options.score is None:
        return explanations
    from eosin.explanation.judging import judged

    return judged(networks, explanations, method, options.score)


def _stream(
    networks: Sequence[Network], asked: _Asked, *, merging: bool
) -> Iterator[Explanation | SkippedFile]:
    for batch in _read_ahead(asked):
        loaded = [item for item in batch if isinstance(item, _Loaded)]
        explained = _explain_batch(networks, loaded, asked)
        for item in batch:
            done = item if isinstance(item, SkippedFile) else next(explained)
            yield _merged(done) if merging and isinstance(done, Explanation) else done


def _explain_batch(
    networks: Sequence[Network], loaded: Sequence[_Loaded], asked: _Asked
) -> Iterator[Explanation | SkippedFile]:
    """The explanations of some images; maps are brought to full size one image at a time."""
    answers = _answers(networks, loaded, asked)
    labels = [str(asked.images.frame["label"].iloc[item.row]) for item in loaded]
    chances = [
        apply_temperature(answer.logits, network.run.record.temperature)
        for network, answer in zip(networks, answers, strict=True)
    ]
    classes = asked.images.task.classes
    targets = _targets(asked.options.target, soft_vote(np.stack(chances)), labels, classes)
    maps = [draw(answer, targets, method=asked.method) for answer in answers]
    stride = max(answer.stride for answer in answers)
    for place, item in enumerate(loaded):
        path = asked.images.paths[item.row]
        if min(item.sides) < stride:
            yield _too_small(path, item.sides, stride)
            continue
        members = tuple(
            Heatmap(
                method=asked.method,
                model=network.name,
                backbone=network.run.record.backbone,
                family=network.engine.family,
                target=classes[targets[place]],
                probabilities=dict(zip(classes, said[place].tolist(), strict=True)),
                values=_full_size(network, raw[place], item.image),
                raw=raw[place],
                seen=met[item.row],
                source=asked.source(network.preprocessing, item.row),
            )
            for network, said, raw, met in zip(networks, chances, maps, asked.met, strict=True)
        )
        yield Explanation(
            path,
            item.image,
            labels[place],
            members[0].target,
            members,
            patient=str(asked.images.frame["patient"].iloc[item.row]),
        )


def _answers(networks: Sequence[Network], loaded: Sequence[_Loaded], asked: _Asked) -> list[Maps]:
    """Each network's answer; images were prepared once for all that want them alike."""
    prepared = {spec: np.stack([item.prepared[spec] for item in loaded]) for spec in asked.sources}
    return [network.maps(prepared[network.preprocessing]) for network in networks]


def _sources(
    networks: Sequence[Network], images: Manifest, workers: int | None
) -> dict[Preprocessing, Sources | None]:
    specs = dict.fromkeys(network.preprocessing for network in networks)
    patients = images.known_patients
    return {spec: patient_sources(images.paths, patients, spec, workers=workers) for spec in specs}


def _full_size(network: Network, raw: FloatMap, image: UInt8Image) -> FloatMap:
    return on_image_grid(raw, (image.shape[0], image.shape[1]), fit=network.preprocessing.fit)


def _merged(explanation: Explanation) -> Explanation:
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


def _read_ahead(asked: _Asked) -> Iterator[list[_Loaded | SkippedFile]]:
    """Images in order, the next batch read while this one is used; large ones fill it sooner."""
    options, paths = asked.options, enumerate(asked.images.paths)
    threads, size = reading_threads(options.workers), options.batch_size
    with closing(read_ahead(partial(_load, asked), paths, workers=threads, ahead=size)) as coming:
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
    try:
        with image_in_turn(path) as image:
            prepared = {
                spec: prepare(image, spec, source=asked.source(spec, row)) for spec in asked.sources
            }
            large = image.shape[0] * image.shape[1] > _SHOWN_PIXELS
            shown = reduced(image, most=_SHOWN_PIXELS // 2) if large else image
            return _Loaded(row, shown, (image.shape[0], image.shape[1]), prepared)
    except DataError as error:
        return SkippedFile.from_error(path, error)


def _too_small(path: Path, sides: tuple[int, int], stride: int) -> SkippedFile:
    height, width = sides
    return SkippedFile(
        path, f"is {width} x {height}, smaller than the network's stride of {stride} pixels"
    )


def _shared_task(runs: Sequence[Run]) -> Task:
    task = runs[0].record.task
    for run in runs[1:]:
        if run.record.task.classes != task.classes:
            raise DataError(
                f"{run.folder} answers for the classes {list(run.record.task.classes)}, "
                f"{runs[0].folder} for {list(task.classes)}; explain them one at a time"
            )
    return task


def _choose(
    run: Run, images: Manifest | Sequence[Path], split: str | None
) -> tuple[Manifest, tuple[SkippedFile, ...]]:
    if isinstance(images, Manifest):
        return select_split(run, images, split)[0], ()
    return external_images(run, images)


def _require_target(target: str, task: Task, images: Manifest) -> None:
    """ConfigError where the class to explain does not exist or is not known."""
    if target == TRUE:
        unknown = images.frame["path"][images.frame["label"] == ""]
        if len(unknown):
            raise ConfigError(
                f"target 'true' needs labels, and {unknown.iloc[0]} has none; give a manifest "
                "with labels, or the name of a class"
            )
    elif target != PREDICTED and target not in task.classes:
        raise ConfigError(
            f"target {target!r} is not a class; want 'predicted', 'true' or one of "
            f"{list(task.classes)}"
        )


def _met(run: Run, images: Manifest | Sequence[Path], chosen: Manifest) -> list[bool | None]:
    """For each image whether ``run`` was trained or validated on its patient; None: not known."""
    if isinstance(images, Manifest):
        patients: Sequence[str | None] = chosen.known_patients or [None] * len(chosen)
    else:
        patients = patients_of(run, chosen.paths)  # whom a file name means depends on the Run
    seen = run.record.seen_patients
    return [None if patient is None else patient in seen for patient in patients]
