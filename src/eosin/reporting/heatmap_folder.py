"""The folder `eosin explain` writes: overlays, raw maps, panels, merged maps and their index."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.outputs import ERRORS, PAGE, Output, require_output_folder, table
from eosin.artefacts.tables import ExplanationsSidecar, write_table
from eosin.explanation.heatmap import Explanation
from eosin.explanation.merge import MERGED
from eosin.files import replacing, shortened, valid_text
from eosin.locks import one_writer
from eosin.pixels.reading import SkippedFile
from eosin.pixels.writing import write_png
from eosin.progress import SILENT, Progress, working
from eosin.reporting.galleries import thumbnail
from eosin.reporting.heatmap_page import PAGE_NAME, TILES, Entry, entry_of, write_heatmap_page
from eosin.reporting.heatmap_pictures import draw_heatmap, draw_merged, draw_models, draw_strip
from eosin.reporting.overlay import HeatmapStyle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from eosin.arrays import FloatMap
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Heatmap

INDEX_NAME = "explanations.csv"
HEATMAP_FILES: dict[str, Output | None] = {
    INDEX_NAME: table("index of heatmaps", "path", "model", "method", "overlay"),
    "errors.csv": ERRORS,
    "faithfulness.csv": table("table of heatmaps", "path", "model", "method", "verdict"),
    "faithfulness-summary.csv": table("table of heatmaps", "model", "method", "measure"),
    "attention.csv": table("table of attention", "path", "slide", "attention"),
    "attention-faithfulness.csv": table("table of attention", "path", "attended", "finding"),
    PAGE_NAME: PAGE,
    **dict.fromkeys(("overlays", "panels", "merged", "maps", TILES)),
}


@dataclass
class HeatmapFolder:
    """What was written."""

    folder: Path  # where
    style: HeatmapStyle = field(default_factory=HeatmapStyle)  # how maps are drawn
    explained: int = 0  # how many images
    seen: int = 0  # how many of them a network was trained or validated on, by patient
    skipped: list[SkippedFile] = field(default_factory=list)  # files that were left out
    scores: list[FaithfulnessRow] = field(default_factory=list)  # of the maps, where asked
    patients: list[str] = field(default_factory=list)  # of each score, the image's patient
    _rows: list[dict[str, object]] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)

    def add(self, explanation: Explanation) -> None:
        """Write the pictures and maps of one image; the index follows with ``write_index``."""
        name = self._name(explanation.path)
        many = len(explanation.members) > 1
        maps: dict[str, FloatMap] = {}
        for index, heatmap in enumerate(explanation.members):
            key = _file_name(heatmap.model)
            score = explanation.scores[index] if explanation.scores else None
            overlay = self.folder / "overlays" / (f"{name}.{key}.png" if many else f"{name}.png")
            write_png(draw_heatmap(explanation, heatmap, self.style, score=score), overlay)
            maps[key] = heatmap.raw
            if heatmap.exact is not None:
                rest = np.array(heatmap.exact.rest, np.float32)
                maps |= {f"{key}.terms": heatmap.exact.patches, f"{key}.rest": rest}
            self._index(explanation, heatmap, overlay, name, key)
        if many:
            overlay = self.folder / "panels" / f"{name}.png"
            write_png(draw_models(explanation, self.style), overlay)
        if explanation.merged is not None and explanation.disagreement is not None:
            overlay = self.folder / "merged" / f"{name}.png"
            write_png(draw_merged(explanation, self.style), overlay)
            maps |= {MERGED: explanation.merged.values, "disagreement": explanation.disagreement}
            self._index(explanation, explanation.merged, overlay, name, MERGED)
        _write_maps(maps, self.folder / "maps" / f"{name}.npz")
        self._show(explanation, name, overlay)
        self.scores.extend(explanation.scores)
        self.patients.extend([explanation.patient] * len(explanation.scores))
        self.explained += 1
        self.seen += explanation.seen is True

    def write_index(self) -> Path:
        """Write ``explanations.csv``, one row a map, its sidecar, and ``index.html``."""
        import pandas as pd

        path = self.folder / INDEX_NAME
        counts = {"images": self.explained, "seen": self.seen, "skipped": len(self.skipped)}
        frame = pd.DataFrame(self._rows, columns=list(_COLUMNS))
        write_table(frame, path, ExplanationsSidecar, counts)
        write_heatmap_page(self.folder, self._entries, self.skipped, self.style)
        return path

    def _show(self, explanation: Explanation, name: str, picture: Path) -> None:
        """Write the small picture of the page; ``picture`` is the large one with its legend."""
        data, *size = thumbnail(draw_strip(explanation, self.style), longest=1040)
        small = self.folder / TILES / f"{name}.jpg"
        with replacing(small) as draft:
            draft.write_bytes(data)
        paths = [path.relative_to(self.folder).as_posix() for path in (small, picture)]
        self._entries.append(entry_of(explanation, *paths, size=(size[0], size[1])))

    def _index(
        self, explanation: Explanation, heatmap: Heatmap, overlay: Path, name: str, key: str
    ) -> None:
        values = (
            str(explanation.path.absolute()),
            explanation.label,
            heatmap.model,
            heatmap.backbone,
            heatmap.family,
            heatmap.method,
            heatmap.target,
            heatmap.predicted,
            round(heatmap.probability, 6),
            round(heatmap.exact.unexplained, 4) if heatmap.exact else "",
            {True: "yes", False: "no", None: ""}[heatmap.seen],
            overlay.relative_to(self.folder).as_posix(),
            f"maps/{name}.npz",
            key,
        )
        self._rows.append(dict(zip(_COLUMNS, values, strict=True)))

    def _name(self, path: Path) -> str:
        """The image's stem, with its folder and then a number where another image has it."""
        stem = shortened(_as_name(path.stem))  # what is added to it must have room in a name
        longer = f"{shortened(_as_name(path.parent.name), 40)}-{shortened(stem, 120)}"
        name = longer if stem.lower() in self._names else stem
        while name.lower() in self._names:  # counted on from the last number, not from the first
            self._names[longer.lower()] = number = self._names.get(longer.lower(), 1) + 1
            name = f"{longer}-{number}"
        self._names[name.lower()] = 1  # names that differ in case are one file on some disks
        return name


_COLUMNS = (
    *("path", "label", "model", "backbone", "family", "method", "target", "predicted"),
    *("probability", "unexplained", "seen", "overlay", "maps", "key"),
)


def write_heatmaps(
    explanations: Iterable[Explanation | SkippedFile],
    folder: Path,
    *,
    style: HeatmapStyle | None = None,
    progress: Progress = SILENT,
) -> HeatmapFolder:
    """Write explanations as they come, one in memory at a time; nothing in ``folder`` is deleted.

    ``index.html`` shows them all. ``overlays/`` holds one picture a map, ``panels/`` all networks
    side by side, ``merged/`` the merged map beside the disagreement, ``tiles/`` the page's small
    pictures, ``maps/`` the numbers: for each image an ``.npz`` with the raw map (h, w, float32) of
    each network, and the merged one and the disagreement on the image's own grid; of an exact
    map also every patch's term and the rest, whose sum is the logit.
    ``explanations.csv`` tells which is which.

    Args:
        explanations: as ``explain`` gives them.
        folder: made where it does not exist.
        style: how maps are drawn.
        progress: told of each file that is done.

    Raises:
        ConfigError: ``folder`` holds a Run, or files under these names that are none of these.
        DataError: another process is writing there, or the disk will not take it.
    """
    require_output_folder(folder, HEATMAP_FILES)
    written = HeatmapFolder(folder, style or HeatmapStyle())
    with one_writer(folder), working(progress, "explaining"):
        for item in explanations:
            if isinstance(item, Explanation):
                written.add(item)
            else:
                written.skipped.append(item)
            progress.advance(errors=isinstance(item, SkippedFile))
        if written.explained:
            written.write_index()
    return written


def _write_maps(maps: dict[str, FloatMap], path: Path) -> None:
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **maps)


def _as_name(part: str) -> str:
    """A part of a path that is UTF-8 as it is; of another, the escapes without backslash."""
    valid = valid_text(part)
    return part if valid == part else valid.replace("\\", "_")


def _file_name(model: str) -> str:
    return shortened(re.sub(r"[^\w.+-]+", "-", model).strip("-"), 60) or "model"
