"""The page of a folder of heatmaps: every image beside its map, the mistakes first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from eosin.explanation.heatmap import METHOD_NAMES
from eosin.files import valid_text, write_text
from eosin.pixels.writing import png_bytes
from eosin.reporting.galleries import Caption, Gallery, Tile
from eosin.reporting.heatmap_pictures import KEY
from eosin.reporting.html import data_url, render
from eosin.reporting.overlay import HeatmapStyle, colour_bar
from eosin.reporting.tables import Table
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.explanation.heatmap import Explanation
    from eosin.pixels.reading import SkippedFile

PAGE_NAME, TILES = "index.html", "tiles"
_GROUPS = {
    "mistakes": ("Misclassified", "The most confident first. Does the map show what misled it?"),
    "right": ("Classified correctly", "The most confident first. Right for the right reason?"),
    "images": ("Images", "Their true classes are not known."),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One image on the page."""

    group: str  # one of ``_GROUPS``
    confidence: float  # of the class it was taken for
    seen: bool  # whether a network was trained or validated on its patient
    maps: tuple[str, ...]  # how they were made, and by what
    tile: Tile  # its image beside its map, a link to the large picture, and what to know of it


def entry_of(explanation: Explanation, small: str, large: str, *, size: tuple[int, int]) -> Entry:
    """What the page says of one image, whose pictures lie at ``small`` and ``large``."""
    said, label, target = explanation.probabilities, explanation.label, explanation.target
    predicted = max(said, key=lambda name: said[name])
    shown, count = explanation.shown[0], len(explanation.members)
    chance = f" ({said[target]:.2f})" if target != predicted else ""
    lines = (
        f"true class: {label}" if label else "",
        f"evidence for {target}{chance} by {f'{count} networks' if count > 1 else shown.model}",
        shown.why_empty,
        explanation.scores[0].verdict if len(explanation.scores) == 1 else "",
        "patient seen in training" if explanation.seen else "",
    )
    caption = Caption(
        f"Predicted {predicted}, {said[predicted]:.2f}",
        tuple(line for line in lines if line),
        valid_text(explanation.path.name),
    )
    return Entry(
        group="images" if not label else "right" if label == predicted else "mistakes",
        confidence=said[predicted],
        seen=explanation.seen is True,
        maps=tuple(
            f"{METHOD_NAMES.get(each.method, each.method)} of {each.model} ({each.backbone})"
            for each in explanation.members
        ),
        tile=Tile(quote(small), *size, caption.name, caption, link=quote(large)),
    )


def write_heatmap_page(
    folder: Path, entries: Sequence[Entry], skipped: Sequence[SkippedFile], style: HeatmapStyle
) -> Path:
    """Write ``index.html``, which shows the pictures in ``folder``; images load as one scrolls."""
    found = {name: [each for each in entries if each.group == name] for name in _GROUPS}
    galleries = [
        Gallery(name, f"{_GROUPS[name][0]} ({len(group):,})", _GROUPS[name][1], (("", tiles),))
        for name, group in found.items()
        if (tiles := tuple(e.tile for e in sorted(group, key=lambda each: -each.confidence)))
    ]
    rows = tuple((valid_text(item.path.name), item.reason) for item in skipped)
    caption = f"{counted(len(rows), 'file')} left out."
    table = Table(caption, ("File", "Reason"), rows, prose=frozenset({1})) if rows else None
    contents = [("reading", "How to read the maps"), *((g.anchor, g.title) for g in galleries)]
    facts = {
        "cover": _cover(entries, found),
        "seen": _seen(entries),
        "key": KEY,
        "bar": data_url("png", png_bytes(colour_bar(300, 16, style))),
        "galleries": galleries,
        "skipped": table,
        "contents": [*contents, *([("skipped", "Left out")] if table else [])],
    }
    path = folder / PAGE_NAME
    write_text(path, render("heatmaps.html", facts))
    return path


def _cover(entries: Sequence[Entry], found: dict[str, list[Entry]]) -> list[tuple[str, str]]:
    maps = list(dict.fromkeys(name for each in entries for name in each.maps))
    more = f" and {len(maps) - 6} more" if len(maps) > 6 else ""
    facts = [("Images", f"{len(entries):,}"), ("Maps", "; ".join(maps[:6]) + more)]
    if found["mistakes"] or found["right"]:
        facts.insert(1, ("Misclassified", f"{len(found['mistakes']):,}"))
    return facts


def _seen(entries: Sequence[Entry]) -> str:
    count = sum(each.seen for each in entries)
    return (
        f"{count:,} of {counted(len(entries), 'image')} are of patients that a network was trained "
        "or validated on: what it does there says little of new patients."
        if count
        else ""
    )
