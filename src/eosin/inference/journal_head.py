"""The first line of a journal: which Run scores which images, and how."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from eosin.artefacts.tables import require_format
from eosin.errors import DataError
from eosin.files import sha256_of
from eosin.networks.run import RECORD_NAME
from eosin.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.inference.predict import Chosen, PredictOptions
    from eosin.networks.run import Run

FORMAT_VERSION = 1
_KIND = "prediction journal"
# Of each value that must be the same again: what it is called.
_CALLED = {
    "run_sha256": "another Run",
    "images_sha256": "other images",
    "eosin": "another version of eosin",
    "split": "another --split",
    "allow_seen": "another --allow-seen",
    "device": "another --device",
    "engine": "another --engine",
    "batch_size": "another --batch-size",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What decides the numbers of a prediction.

    Attributes:
        run: the Run's folder, to be named; not compared.
        run_sha256: of its ``run.json``, which holds the SHA-256 of weights and members.
        images: how many; told, not compared.
        images_sha256: of all that is known of them, in order.
        split: that is scored.
        allow_seen: whether patients may be scored that the Run has seen.
        device: as asked for.
        engine: as asked for.
        batch_size: images a forward pass; the last digits can depend on it.
        eosin: the version.
    """

    run: str
    run_sha256: str
    images: int
    images_sha256: str
    split: str
    allow_seen: bool
    device: str
    engine: str
    batch_size: int
    eosin: str = __version__

    @classmethod
    def of(cls, run: Run, chosen: Chosen, options: PredictOptions) -> Self:
        """The head of this prediction's journal."""
        return cls(
            run=str(run.folder),
            run_sha256=sha256_of(run.folder / RECORD_NAME),
            images=len(chosen.images),
            images_sha256=_images_sha256(chosen.images),
            split=chosen.split,
            allow_seen=options.allow_seen,
            device=options.device,
            engine=options.engine,
            batch_size=options.batch_size,
        )

    def to_dict(self) -> dict[str, object]:
        """The head as plain JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": _KIND, "format_version": FORMAT_VERSION, **plain}

    def require_same(self, found: dict[str, object], path: Path) -> None:
        """DataError, naming what differs, where the journal ``path`` began with something else.

        Args:
            found: the head that it holds.
            path: the journal.
        """
        require_format(found, path, kind=_KIND, newest=FORMAT_VERSION)
        now = self.to_dict()
        for name, called in _CALLED.items():
            if found.get(name) != now[name]:
                raise DataError(
                    f"{path}: was begun with {called} ({_shown(name, found)} then, "
                    f"{_shown(name, now)} now); give the same again to go on with --resume, or "
                    "start anew with --overwrite"
                )


def _shown(name: str, head: dict[str, object]) -> str:
    if name == "run_sha256":
        return f"{head.get('run')}, run.json {str(head.get(name))[:12]}"
    if name == "images_sha256":
        return f"{head.get('images')} images, fingerprint {str(head.get(name))[:12]}"
    return str(head.get(name))


def _images_sha256(images: Manifest) -> str:
    """SHA-256 of the path and all else that the table says of each image, in order."""
    digest = hashlib.sha256(json.dumps(images.task.to_dict()).encode())
    columns = images.frame[["path", "patient", "magnification", "label", "fold"]]
    for row in columns.itertuples(index=False, name=None):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
