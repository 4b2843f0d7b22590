"""From the bytes that a client sent to what the networks take in; nothing of them stays on disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from eosin.errors import EosinError
from eosin.pixels.batches import View, read_views
from eosin.pixels.stain_sources import patient_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.pixels.batches import Batch
    from eosin.server.served import Served

SEEN: Final = (
    "this Run was trained or validated on the patient that the image's name states; ask another "
    "Run, or start the server with --allow-seen"
)
_LONGEST, _DEEPEST = 200, 8  # characters of a part of a name, and parts
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Sent:
    """An image that a client sent."""

    name: str  # to be told back; never a path on disk
    called: Path  # what its patient and coordinates are told by: the name with its folders
    data: BinaryIO  # its bytes

    @classmethod
    def of(cls, name: str | None, data: BinaryIO) -> Sent:
        """From the file name of a part, whatever it holds."""
        said = _UNFIT.sub("", name or "").replace("\\", "/")
        parts = [part for part in said.split("/") if part.strip() not in ("", ".", "..")]
        kept = [part[-_LONGEST:] for part in parts[-_DEEPEST:]] or ["image"]
        return cls(kept[-1], Path(*kept), data)

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """The bytes as a private file under a random name, gone when the block ends."""
        with tempfile.NamedTemporaryFile(prefix="eosin-") as file:
            shutil.copyfileobj(self.data, file, 1 << 20)
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True)
class Upload:
    """An image that was read, or why a Run does not answer for it."""

    sent: Sent
    # network input, a batch of one for every preprocessing
    batches: Mapping[Preprocessing, Batch] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # the sentence, by the name of a Run


def read_upload(sent: Sent, runs: Sequence[Served], *, allow_seen: bool) -> Upload:
    """Read an image once for all Runs, by the reader of every command; limits come first.

    Args:
        sent: the image.
        runs: that are to answer.
        allow_seen: whether they may answer for patients that they were trained on.
    """
    refused = {each.name: SEEN for each in runs if not allow_seen and each.met(sent.called)}
    views: dict[Preprocessing, View] = {}
    with sent.as_file() as file:
        for each in runs:
            if each.name in refused:
                continue
            try:
                views |= _views(each, sent, file)
            except EosinError as error:
                refused[each.name] = each.plain(error, file)
        if not views:
            return Upload(sent, refused=refused)
        measured, wanted = any(each.judge for each in runs), tuple(views.values())
        (batches,) = read_views([file], wanted, batch_size=1, workers=0, measured=measured)
    found = dict(zip(views, batches, strict=True))
    for each in runs:
        for item in (item for spec in each.specs if spec in found for item in found[spec].skipped):
            refused.setdefault(each.name, each.plain(item.reason, file))
    return Upload(sent, found, refused)


def _views(served: Served, sent: Sent, file: Path) -> dict[Preprocessing, View]:
    patient = served.identity.patient_of(sent.called)
    known = [patient] if patient and served.run.record.protocol.patients_known else None
    return {
        spec: View(spec, patient_sources([file], known, spec, workers=1)) for spec in served.specs
    }
