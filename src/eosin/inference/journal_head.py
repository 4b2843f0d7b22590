"""The first line of a journal: which Run scores which images, and how."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from eosin.artefacts.codec import parse_artefact
from eosin.artefacts.journal import JournalHead
from eosin.errors import DataError
from eosin.files import valid_text
from eosin.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.artefacts.codec import Fields
    from eosin.artefacts.manifest import Manifest
    from eosin.inference.predict import Chosen
    from eosin.inference.scoring import PredictOptions
    from eosin.networks.run import Run

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


def head_of(run: Run, chosen: Chosen, options: PredictOptions) -> JournalHead:
    """The head of this prediction's journal."""
    return JournalHead(
        run=valid_text(str(run.folder)),
        run_sha256=run.sha256,
        images=len(chosen.images),
        images_sha256=_images_sha256(chosen.images),
        split=chosen.split,
        allow_seen=options.allow_seen,
        device=options.device,
        engine=options.engine,
        batch_size=options.batch_size,
        eosin=__version__,
    )


def require_same(
    head: JournalHead,
    fields: Fields,
    path: Path,
    *,
    fix: str = "give the same again to continue with --resume, or start anew with --overwrite",
) -> None:
    """DataError, naming what differs, where the journal ``path`` began with something else.

    Args:
        head: of the prediction that wants to continue.
        fields: the head that the journal holds.
        path: the journal.
        fix: what to do where it did.
    """
    found = parse_artefact(JournalHead, fields, path, fix=fix)
    for name, called in _CALLED.items():
        if getattr(found, name) != getattr(head, name):
            raise DataError(
                f"{path}: was begun with {called} ({_shown(name, found)} then, "
                f"{_shown(name, head)} now); {fix}"
            )


def _shown(name: str, head: JournalHead) -> str:
    if name == "run_sha256":
        return f"{head.run}, run.json {head.run_sha256[:12]}"
    if name == "images_sha256":
        return f"{head.images} images, fingerprint {head.images_sha256[:12]}"
    return str(getattr(head, name))


def _images_sha256(images: Manifest) -> str:
    """SHA-256 of the path and all else that the table says of each image, in order."""
    digest = hashlib.sha256(json.dumps(asdict(images.task)).encode())
    columns = images.frame[["path", "patient", "magnification", "label", "fold"]]
    for row in columns.itertuples(index=False, name=None):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
