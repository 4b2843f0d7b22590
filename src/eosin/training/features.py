"""Features of a frozen backbone, computed once and kept on disk: by content, or part by part."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
import warnings
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError, DiskError, EosinWarning
from eosin.files import disk_errors, replacing, sha256_of, write_json
from eosin.machine import cache_folder
from eosin.networks.backbones import own_module
from eosin.pixels.acquisition import ACQUISITION
from eosin.pixels.batches import read_batches
from eosin.pixels.reading import SkippedFile
from eosin.pixels.stain_normalizer import source_key
from eosin.progress import SILENT, Progress, working
from eosin.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Floats32, Ints
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.torch_engine import TorchEngine
    from eosin.pixels.stain_normalizer import Source


SHARD = 512
_ANEW = "start anew with --overwrite, or name another output"


@dataclass(frozen=True)
class Features:
    """Pooled features of image files."""

    indices: Ints  # positions of the readable files in what was asked for, shape (n,)
    values: Floats32  # their features, shape (n, channels); of ``embed`` in the type asked for
    skipped: tuple[SkippedFile, ...] = ()  # the files that could not be read
    computed: int = 0  # by ``compute_features``: how many the cache did not have
    notes: tuple[str, ...] = ()  # of each readable file, what the stain step noted; empty unasked
    # how each was taken, shape (n, names), by ``pixels.acquisition.measure``
    measures: Floats = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True)
class StoredFeatures:
    """Of one image: features (channels,), how it was taken (names,), and its stain step's note."""

    row: Floats32
    measures: Floats
    note: str = ""


@dataclass(frozen=True)
class FeatureParts:
    """Features of many images on their way, a file a part, and what they are computed with."""

    folder: Path
    paths: Sequence[Path]  # of all images
    each: int  # images a part

    def begin(self, head: dict[str, str], *, resume: bool, overwrite: bool) -> None:
        """Begin, or continue what lies there.

        Raises:
            DataError: parts lie there and ``resume`` is False, or they were computed otherwise.
            DiskError: the folder cannot be made or read.
        """
        begun = self.folder / "head.json"
        with disk_errors(self.folder):
            if overwrite and self.folder.exists():
                shutil.rmtree(self.folder)
            if not begun.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(begun, dict(head))
            elif not resume:
                reason = "left by an interrupted embedding; go on with --resume, or"
                raise DataError(f"{self.folder}: {reason} {_ANEW}")
            before = json.loads(begun.read_text(encoding="utf-8"))
        differing = [name for name in head if before.get(name) != head[name]]
        if differing:
            raise DataError(
                f"{self.folder}: cannot go on, what differs is {', '.join(differing)}; {_ANEW}"
            )

    @property
    def starts(self) -> range:
        """Index of the first file of each part."""
        return range(0, len(self.paths), self.each)

    def of(self, start: int) -> Sequence[Path]:
        """The files of a part."""
        return self.paths[start : start + self.each]

    def file(self, start: int) -> Path:
        """Where a part lies."""
        return self.folder / f"{start:08d}.npz"

    def write(self, start: int, part: Features) -> None:
        """Keep a part."""
        order = {path: index for index, path in enumerate(self.of(start))}
        names = np.array([order[item.path] for item in part.skipped], np.int64) + start
        reasons = np.array([item.reason for item in part.skipped], dtype=np.str_)
        with replacing(self.file(start)) as draft, draft.open("wb") as stream:
            np.savez(
                stream,
                places=part.indices,
                rows=part.values,
                measures=part.measures,
                skipped=names,
                reasons=reasons,
            )

    def read(self, start: int) -> Features:
        """A part that was kept."""
        with np.load(self.file(start), allow_pickle=False) as kept:
            pairs = zip(kept["skipped"].tolist(), kept["reasons"].tolist(), strict=True)
            skipped = tuple(SkippedFile(self.paths[index], reason) for index, reason in pairs)
            return Features(kept["places"], kept["rows"], skipped, measures=kept["measures"])


def tensors_digest(engine: TorchEngine) -> str:
    """SHA-256 of every tensor that features depend on: of a network itself, whatever its name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.backbone_state().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class FeatureCache:
    """Features of one network under one preprocessing, by SHA-256 of the image's bytes.

    Each ``add`` writes one file of its own, in one step, so that an interruption loses at most
    what it was adding and two processes can share the folder.
    """

    folder: Path

    @classmethod
    def of(
        cls, engine: TorchEngine, spec: Preprocessing, *, root: Path | None = None
    ) -> FeatureCache:
        """The cache for this network (its tensors, not its name) and preprocessing."""
        # the same tensors give other features where several maps count
        maps = engine.classifier.spec.earlier
        said = {"eosin": __version__, **asdict(spec), **({"maps": maps} if maps else {})}
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        digest.update(tensors_digest(engine).encode())
        return cls((root or cache_folder()) / "features" / digest.hexdigest()[:32])

    def read(self) -> dict[str, StoredFeatures]:
        """Everything kept; a damaged file is removed, since it can be computed again."""
        known: dict[str, StoredFeatures] = {}
        for path in sorted(self.folder.glob("*.npz")):
            try:
                with path.open("rb") as stream, np.load(stream, allow_pickle=False) as shard:
                    rows, measures = shard["features"], shard["measures"]
                    if rows.ndim != 2 or not np.isfinite(rows).all():
                        raise ValueError(f"{path}: want finite features (n, channels)")
                    if measures.shape != (len(rows), len(ACQUISITION)):
                        raise ValueError(f"{path}: want {len(ACQUISITION)} measures of each image")
                    kept = map(StoredFeatures, rows, measures, shard["notes"].tolist())
                    known.update(zip(shard["keys"].tolist(), kept, strict=True))
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                with suppress(OSError):  # it may not be ours to remove
                    path.unlink()
        return known

    def add(self, features: Mapping[str, StoredFeatures]) -> None:
        """Keep these features; DiskError where they cannot be kept."""
        if not features:
            return
        with replacing(self.folder / f"{uuid.uuid4().hex}.npz") as draft, draft.open("wb") as out:
            np.savez(
                out,
                keys=np.array(list(features)),
                features=np.stack([kept.row for kept in features.values()]),
                measures=np.stack([kept.measures for kept in features.values()]),
                notes=np.array([kept.note for kept in features.values()]),
            )


def cache_of(engine: TorchEngine, spec: Preprocessing) -> FeatureCache | None:
    """The cache for this network; None for a module of the user's own.

    Its tensors do not tell its design, which may change under the same name.
    """
    own = own_module(engine.classifier.spec.name) is not None
    return None if own else FeatureCache.of(engine, spec)


def compute_features(
    paths: Sequence[Path],
    engine: TorchEngine,
    spec: Preprocessing,
    *,
    cache: FeatureCache | None,
    batch_size: int = 32,
    progress: Progress = SILENT,
    sources: Sequence[Source | None] | None = None,
) -> Features:
    """Pooled features of ``paths``, taken from the cache where this content is in it.

    New features are kept every 512 images, so an interruption loses at most those. ``sources``
    are as in ``read_batches``; what comes of another source is kept apart. A file that cannot be
    read is among ``skipped``; ModelError where what the network answers is not finite.
    """
    keys = [
        _content(path) + source_key(source)
        for path, source in zip(paths, sources or repeat(None), strict=sources is not None)
    ]
    known = cache.read() if cache else {}
    missing = [index for index, key in enumerate(keys) if key not in known]
    skipped: list[SkippedFile] = []
    with working(progress, "features", total=len(paths), done=len(paths) - len(missing)):
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            fresh: dict[str, StoredFeatures] = {}
            files = [paths[index] for index in part]
            own = [sources[index] for index in part] if sources else None
            for batch in read_batches(
                files, spec, batch_size=batch_size, sources=own, measured=True
            ):
                skipped.extend(batch.skipped)
                if len(batch.indices):
                    rows = engine.features(batch.pixels).astype(np.float32)
                    kept = map(StoredFeatures, rows, batch.measures, batch.notes)
                    fresh.update(zip((keys[part[k]] for k in batch.indices), kept, strict=True))
                progress.advance(batch.files, errors=len(batch.skipped))
            _keep(cache, fresh)
            known.update(fresh)
    computed = len(missing) - len(skipped)
    return _in_order([known.get(key) for key in keys], tuple(skipped), computed)


def _in_order(
    stored: Sequence[StoredFeatures | None], skipped: tuple[SkippedFile, ...], computed: int
) -> Features:
    """The features of files, in their order; of a file that could not be read None is stored."""
    found = [kept for kept in stored if kept is not None]
    return Features(
        np.array([k for k, kept in enumerate(stored) if kept is not None], dtype=np.int64),
        np.stack([kept.row for kept in found]) if found else np.empty((0, 0), np.float32),
        skipped,
        computed,
        tuple(kept.note for kept in found),
        np.array([kept.measures for kept in found]).reshape(-1, len(ACQUISITION)),
    )


def _keep(cache: FeatureCache | None, features: Mapping[str, StoredFeatures]) -> None:
    """Put features into the cache, if there is one; a warning where it cannot be written."""
    if cache is None:
        return
    try:
        cache.add(features)
    except DiskError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        warnings.warn(
            f"{cache.folder.parents[1]}: no cache of features ({reason}), so that they are "
            "computed anew each time; name a folder that can be written in EOSIN_CACHE",
            EosinWarning,
            stacklevel=3,
        )


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:  # whoever reads its pixels says what is wrong with it
        return str(path)
