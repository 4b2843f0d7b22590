"""Images on their way to being explained: read ahead, and prepared for each network."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.errors import DataError
from eosin.machine import reading_threads
from eosin.pixels.preprocessing import prepare
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.reading import SkippedFile, image_in_turn, reduced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import Pixels
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.evaluation.calibration import Around
    from eosin.explanation.heatmap import Method
    from eosin.explanation.options import ExplainOptions
    from eosin.networks.run import Network
    from eosin.pixels.reading import UInt8Image
    from eosin.pixels.stain_normalizer import Source
    from eosin.pixels.stain_sources import Sources

_SHOWN_PIXELS: Final = 3_200_000  # of an image; a larger one is drawn and judged at half of this
_BATCH_PIXELS: Final = 8_000_000  # of images in a forward pass, which are kept to be drawn


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be explained.

    Attributes:
        images: their rows.
        method: how maps are made.
        networks: that answer.
        answering: for each row, the indices of the networks that answer for it.
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
class Loaded:
    """An image that could be read."""

    row: int  # among those asked for
    path: Path
    image: UInt8Image  # as it is drawn
    sides: tuple[int, int]  # height and width as read
    prepared: Mapping[Preprocessing, Pixels]  # what networks take in, made of all pixels


def inputs_of(loaded: Sequence[Loaded], asked: Asked) -> Iterator[tuple[int, list[int], Pixels]]:
    """For each network the images it answers for."""
    for n, network in enumerate(asked.networks):
        images = [k for k, item in enumerate(loaded) if n in asked.answering[item.row]]
        if images:
            spec = network.preprocessing
            yield n, images, np.stack([loaded[k].prepared[spec] for k in images])


def read_rows(asked: Asked, rows: Sequence[int]) -> Iterator[list[Loaded | SkippedFile]]:
    """Images in order, the next batch read while this one is used; large ones fill it sooner.

    A batch ends at every multiple of its size, so that some rows have the batches of all.
    """
    size, workers = asked.options.batch_size, reading_threads(asked.options.workers)
    paths = asked.images.paths
    wanted = ((row, paths[row]) for row in rows)
    with closing(read_ahead(partial(_load, asked), wanted, workers=workers, ahead=size)) as coming:
        batch: list[Loaded | SkippedFile] = []
        for count, item in enumerate(coming, 1):
            batch.append(item)
            held = sum(each.image.size // 3 for each in batch if isinstance(each, Loaded))
            if count % size == 0 or held >= _BATCH_PIXELS:
                yield batch
                batch = []
        if batch:
            yield batch


def _load(asked: Asked, item: tuple[int, Path]) -> Loaded | SkippedFile:
    row, path = item
    specs = {asked.networks[n].preprocessing for n in asked.answering[row]}
    try:
        with image_in_turn(path) as image:
            prepared = {
                spec: prepare(image, spec, source=asked.source(spec, row)) for spec in specs
            }
            large = image.shape[0] * image.shape[1] > _SHOWN_PIXELS
            shown = reduced(image, most=_SHOWN_PIXELS // 2) if large else image
            return Loaded(row, path, shown, (image.shape[0], image.shape[1]), prepared)
    except DataError as error:
        return SkippedFile.from_error(path, error)
