"""From images to an AnnData file of their features, as a stream that can be interrupted."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.artefacts.outputs import Output, require_output
from eosin.errors import DataError, ModelError
from eosin.files import replacing, valid_text
from eosin.locks import one_writer
from eosin.machine import reading_threads
from eosin.networks.classifier import build_classifier, require_size
from eosin.networks.device import choose_device
from eosin.networks.torch_engine import TorchEngine
from eosin.networks.weights import initialise
from eosin.pixels.acquisition import ACQUISITION
from eosin.pixels.batches import read_batches
from eosin.pixels.image_files import find_image_files
from eosin.pixels.reading import SkippedFile, error_table_path, write_error_table
from eosin.progress import SILENT, Progress, working
from eosin.slides.tile import file_of
from eosin.spread import Here, Work
from eosin.training.embedding_parts import EACH, Part, Parts
from eosin.training.embeddings import (
    as_text,
    read_embeddings,
    require_h5py,
    tag,
    write_frames,
    write_made,
    write_measures,
)
from eosin.training.features import tensors_digest
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.spread import Spread


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed.

    Attributes:
        backbone: as ``resolve_backbone`` takes it.
        weights: as ``initialise`` takes them.
        fit: of the preprocessing.
        dtype: of the features on disk.
        device: auto, cpu or cuda; on a GPU the network computes in bfloat16.
        batch_size: images a forward pass.
        workers: reading threads; None for one a core.
    """

    backbone: str
    weights: str = "imagenet"
    fit: Literal["stretch", "crop"] = "stretch"
    dtype: Literal["float32", "float16"] = "float32"
    device: str = "auto"
    batch_size: int = 32
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """What ``embed`` wrote."""

    images: int
    width: int  # features an image
    skipped: tuple[SkippedFile, ...]  # files that could not be read


def embed(
    images: Manifest | Sequence[Path],
    out: Path,
    options: EmbedOptions,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
    spread: Spread | None = None,
) -> Embedded:
    """Write the features of images under one network; flat in memory, kept as they come.

    Until the file is written, what is computed lies in ``OUT.partial``: an interruption loses at
    most 128 images. Files that cannot be read are listed in ``OUT.errors.csv``.

    Args:
        images: a manifest, all rows of it, or image files and folders.
        out: the .h5ad.
        options: how.
        resume: go on with what an interruption left.
        overwrite: start anew even so.
        progress: told of files.
        spread: computes; None for this process.

    Raises:
        ConfigError: no h5py, an output that is something else, or a size the network cannot take.
        DataError: no image; an interrupted one lies there, or is of other images or settings.
        ModelError: the backbone is unknown or its weights cannot be had.
    """
    require_h5py()
    given = [] if isinstance(images, Manifest) else images
    require_output(out, _OUTPUT, inputs=given, beside=[error_table_path(out)])
    frame = _frame(images)
    network = _open(options)
    spread = spread or Here({_key(options): network})
    with one_writer(out):
        parts = Parts(out.with_name(f"{out.name}.partial"), [Path(path) for path in frame["path"]])
        head = {**network.made, "dtype": options.dtype, "files": _stamps(parts.paths)}
        parts.begin(head, resume=resume, overwrite=overwrite)
        _compute(_Embedding(options, parts.paths, network.made), parts, spread, progress)
        embedded = _assemble(frame, network.made, parts, out)
        write_error_table(embedded.skipped, error_table_path(out))
        shutil.rmtree(parts.folder)
    return embedded


@dataclass(frozen=True)
class _Network:
    engine: TorchEngine
    spec: Preprocessing
    made: dict[str, str]  # what stands in the file of what made it


def _key(options: EmbedOptions) -> str:
    return f"{options.backbone} {options.weights} {options.fit} {options.device}"


def _open(options: EmbedOptions) -> _Network:
    classifier = build_classifier(options.backbone, classes=2)
    initial = initialise(classifier, options.weights).source
    spec = classifier.spec.preprocessing(fit=options.fit)
    half = choose_device(options.device).type == "cuda"
    engine = TorchEngine(classifier, device=options.device, bfloat16=half)
    require_size(classifier, spec.size)
    named = options.weights in ("imagenet", "none")
    made = {
        "backbone": classifier.spec.name,
        "weights": options.weights if named else str(Path(options.weights).absolute()),
        "fit": options.fit,
        "initial_weights": initial,
        "tensors_sha256": tensors_digest(engine),
        "preprocessing": as_text(asdict(spec)),
        "arithmetic": "bfloat16" if half else "float32",
        "eosin": __version__,
    }
    return _Network(engine, spec, made)


@dataclass(frozen=True)
class _Embedding(Work[_Network, Part]):
    """Images whose features are wanted; ``EACH`` of them are a part."""

    options: EmbedOptions
    paths: Sequence[Path]
    made: dict[str, str]  # with what

    @property
    def key(self) -> str:
        return _key(self.options)

    @property
    def step(self) -> int:
        return EACH

    @property
    def inputs(self) -> Sequence[Path]:
        return self.paths

    def file(self, row: int) -> Path:
        return self.paths[row]

    def open(self) -> _Network:
        """The network; ModelError where it is another here, or computes otherwise."""
        network = _open(self.options)
        for name, value in self.made.items():
            if network.made[name] != value:
                raise ModelError(
                    f"{self.options.backbone}: {name} is {network.made[name]} on another machine "
                    f"and {value} here; give both the same weights, and --device cpu or cuda"
                )
        return network

    def do(self, opened: _Network, rows: range) -> Iterator[Part]:
        for start in rows[::EACH]:
            yield self._part(opened, range(start, min(start + EACH, rows.stop)))

    def _part(self, network: _Network, rows: range) -> Part:
        places, skipped = [np.empty(0, np.int64)], list[SkippedFile]()
        width = network.engine.classifier.feature_count
        found = [np.empty((0, width), self.options.dtype)]
        measures = [np.empty((0, len(ACQUISITION)))]
        for batch in read_batches(
            self.paths[rows.start : rows.stop],
            network.spec,
            batch_size=self.options.batch_size,
            workers=reading_threads(self.options.workers),
            measured=True,
        ):
            if len(batch.places):
                places.append(batch.places + rows.start)
                measures.append(batch.measures)
                found.append(network.engine.features(batch.pixels).astype(self.options.dtype))
            skipped += batch.skipped
        return Part(
            np.concatenate(places), np.concatenate(found), np.concatenate(measures), tuple(skipped)
        )


def _compute(work: _Embedding, parts: Parts, spread: Spread, progress: Progress) -> None:
    starts, total = list(parts.starts), len(parts.paths)
    while starts and parts.file(starts[0]).exists():
        del starts[0]
    first = starts[0] if starts else total
    with working(progress, "embedding", total=total, done=first):
        for start, part in zip(starts, spread.each(work, range(first, total)), strict=True):
            parts.write(start, part)
            progress.advance(len(parts.of(start)), errors=len(part.skipped))


def _assemble(frame: pd.DataFrame, made: dict[str, str], parts: Parts, out: Path) -> Embedded:
    """One file of all parts, a part in memory at a time."""
    import h5py

    first = parts.read(0).rows
    width, kept, skipped = first.shape[1], list[int](), list[SkippedFile]()
    with replacing(out) as draft, h5py.File(draft, "w", locking=False) as file:
        shape = (len(frame), width)
        chunks = (min(EACH, len(frame)), width)
        matrix = file.create_dataset("X", shape, first.dtype, chunks=chunks, maxshape=shape)
        measures = []
        for start in parts.starts:
            part = parts.read(start)
            matrix[len(kept) : len(kept) + len(part.places)] = part.rows
            measures.append(part.measures)
            kept += part.places.tolist()
            skipped += part.skipped
        if not kept:
            raise DataError(f"none of the {len(frame)} images could be read")
        matrix.resize(len(kept), axis=0)
        tag(matrix, "array")
        unread = [{"path": valid_text(str(item.path)), "reason": item.reason} for item in skipped]
        write_frames(file, frame.iloc[kept], made["backbone"], width)
        write_measures(file, np.concatenate(measures))
        write_made(file, {**made, "skipped": as_text(unread)})
    return Embedded(len(kept), width, tuple(skipped))


def _frame(images: Manifest | Sequence[Path]) -> pd.DataFrame:
    """A row an image, with a manifest's columns."""
    import pandas as pd

    if isinstance(images, Manifest):
        return images.frame.assign(path=[str(path) for path in images.paths])
    found = find_image_files([place.absolute() for place in images])
    found.require_images(images)
    rows = [{**dict.fromkeys(COLUMNS, ""), "path": str(path)} for path in sorted(found.images)]
    return pd.DataFrame(rows)


def _stamps(paths: Sequence[Path]) -> str:
    """SHA-256 of every path with its file's size and time of change."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            facts = file_of(path).stat()
            said = f"{facts.st_size} {facts.st_mtime_ns}"
        except OSError:  # whoever reads it says what is wrong
            said = "gone"
        digest.update(f"{str(path)!r} {said}\n".encode())
    return digest.hexdigest()


def _is_ours(path: Path) -> bool:
    try:
        read_embeddings(path)
    except DataError:
        return False
    return True


_OUTPUT = Output("embeddings of eosin's", _is_ours)
