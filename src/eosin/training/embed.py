"""From images to an AnnData file of their features, as a stream that can be interrupted."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from eosin.remote import as_path
from eosin.slides.tile import file_of
from eosin.spread import Here, Work
from eosin.training.embeddings import (
    as_text,
    read_embeddings,
    require_h5py,
    tag,
    write_frames,
    write_made,
    write_measures,
)
from eosin.training.features import FeatureParts, Features, tensors_digest
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.spread import Spread

_EACH = 128  # images that are kept together, and so at most lost


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed.

    Attributes:
        backbone: as ``resolve_backbone`` takes it.
        weights: as ``initialise`` takes them.
        fit: of the preprocessing.
        dtype: of the features on disk.
        device: auto, cpu, cuda or mps; on a GPU the network computes in bfloat16.
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
    """Write the features of images under one network; memory does not grow with their number.

    Until the file is written, what is computed lies in ``OUT.partial``: an interruption loses at
    most 128 images. Files that cannot be read are listed in ``OUT.errors.csv``.

    Args:
        images: a manifest, all rows of it, or image files and folders.
        out: the .h5ad.
        options: how.
        resume: continue what an interruption left.
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
    frame, unusable = _frame(images)
    network, key = _open(options), repr(options)
    spread = spread or Here({key: network})
    with one_writer(out):
        paths = [as_path(path) for path in frame["path"]]
        parts = FeatureParts(out.with_name(f"{out.name}.partial"), paths, _EACH)
        head = {**network.made, "dtype": options.dtype, "files": _stamps(parts.paths)}
        parts.begin(head, resume=resume, overwrite=overwrite)
        again, compute = partial(_open, options, network.made), partial(_part, options, parts.paths)
        work = Work(key, _EACH, parts.paths, again, compute)
        _compute(work, parts, spread, progress)
        embedded = _assemble(frame, network.made, parts, out)
        embedded = replace(embedded, skipped=(*unusable, *embedded.skipped))
        write_error_table(embedded.skipped, error_table_path(out))
        shutil.rmtree(parts.folder)
    return embedded


@dataclass(frozen=True)
class _Network:
    engine: TorchEngine
    spec: Preprocessing
    made: dict[str, str]  # what stands in the file of what made it


def _open(options: EmbedOptions, wanted: dict[str, str] | None = None) -> _Network:
    """The network; ModelError where it, or how it computes, is not what is ``wanted``."""
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
    for name, value in (wanted or {}).items():
        if made[name] != value:
            raise ModelError(
                f"{options.backbone}: {name} is {made[name]} on one machine and {value} on "
                "another; give both the same weights, and --device cpu or cuda"
            )
    return _Network(engine, spec, made)


def _part(
    options: EmbedOptions, paths: Sequence[Path], network: _Network, rows: range
) -> Iterator[Features]:
    width = network.engine.classifier.feature_count
    for start in rows[::_EACH]:
        indices, skipped = [np.empty(0, np.int64)], list[SkippedFile]()
        found = [np.empty((0, width), options.dtype)]
        measures = [np.empty((0, len(ACQUISITION)))]
        for batch in read_batches(
            paths[start : min(start + _EACH, rows.stop)],
            network.spec,
            batch_size=options.batch_size,
            workers=reading_threads(options.workers),
            measured=True,
        ):
            if len(batch.indices):
                indices.append(batch.indices + start)
                measures.append(batch.measures)
                found.append(network.engine.features(batch.pixels).astype(options.dtype))
            skipped += batch.skipped
        yield Features(
            np.concatenate(indices),
            np.concatenate(found),
            tuple(skipped),
            measures=np.concatenate(measures),
        )


def _compute(
    work: Work[_Network, Features], parts: FeatureParts, spread: Spread, progress: Progress
) -> None:
    total = len(parts.paths)
    first = next((start for start in parts.starts if not parts.file(start).exists()), total)
    starts = [start for start in parts.starts if start >= first]
    with working(progress, "embedding", total=total, done=first):
        for start, part in zip(starts, spread.each(work, range(first, total)), strict=True):
            parts.write(start, part)
            progress.advance(len(parts.of(start)), errors=len(part.skipped))


def _assemble(
    frame: pd.DataFrame, made: dict[str, str], parts: FeatureParts, out: Path
) -> Embedded:
    """One file of all parts, a part in memory at a time."""
    import h5py

    first = parts.read(0).values
    width, kept, skipped = first.shape[1], list[int](), list[SkippedFile]()
    with replacing(out) as draft, h5py.File(draft, "w", locking=False) as file:
        shape = (len(frame), width)
        chunks = (min(parts.each, len(frame)), width)
        matrix = file.create_dataset("X", shape, first.dtype, chunks=chunks, maxshape=shape)
        measures = []
        for start in parts.starts:
            part = parts.read(start)
            matrix[len(kept) : len(kept) + len(part.indices)] = part.values
            measures.append(part.measures)
            kept += part.indices.tolist()
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


def _frame(images: Manifest | Sequence[Path]) -> tuple[pd.DataFrame, tuple[SkippedFile, ...]]:
    """A row an image, with a manifest's columns; and what lies in the folders that is no image."""
    import pandas as pd

    if isinstance(images, Manifest):
        return images.frame.assign(path=[str(path) for path in images.paths]), ()
    found = find_image_files([path.absolute() for path in images])
    found.require_images(images)
    rows = [{**dict.fromkeys(COLUMNS, ""), "path": str(path)} for path in sorted(found.images)]
    return pd.DataFrame(rows), found.skipped


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
