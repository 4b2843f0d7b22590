"""The page of an audit: the verdict, the pairs side by side, balance, and files left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eosin.remote import as_path
from eosin.reporting.galleries import Caption, Tile, tiles_of
from eosin.reporting.html import render
from eosin.reporting.tables import Table
from eosin.reporting.wording import counted, per_cent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eosin.data.audit import Audit, AuditedImage, DuplicatePair
    from eosin.data.balance import ClassCount

_PAIRS_SHOWN = 40
_ROWS_SHOWN = 500


def write_audit_page(audit: Audit, path: Path, *, pairs_shown: int = _PAIRS_SHOWN) -> None:
    """Write the audit as one self-contained HTML file; reads the images of the pairs it shows.

    Raises:
        ConfigError: ``path`` is a file that is no page of eosin's.
        DiskError: it cannot be written.
    """
    from eosin.artefacts.outputs import PAGE, require_output
    from eosin.files import write_text

    require_output(path, PAGE)
    write_text(path, audit_page(audit, pairs_shown=pairs_shown))


def audit_page(audit: Audit, *, pairs_shown: int = _PAIRS_SHOWN) -> str:
    """The HTML of the audit, with thumbnails of the ``pairs_shown`` gravest pairs."""
    shown = audit.duplicates[:pairs_shown]
    facts = {
        "dataset": audit.dataset,
        "ok": audit.ok,
        "ribbon": None if audit.ok else "This manifest is not fit for honest figures as it is",
        "sentence": audit.verdict,
        "remarks": _remarks(audit),
        "cover": _cover(audit),
        "checks": _checks(audit),
        "pairs": [_shown_pair(pair) for pair in shown],
        "pairs_lead": _pairs_lead(audit, len(shown)),
        "all_pairs": _pair_table(audit) if len(audit.duplicates) > len(shown) else None,
        "balance": [_count_table(audit), *_heaviest_table(audit)],
        "patients": _patient_tables(audit),
        "files": _file_tables(audit),
    }
    return render("audit.html", {**facts, "contents": _contents(facts)})


def _cover(audit: Audit) -> list[tuple[str, str]]:
    patients = "not known" if audit.patients is None else f"{audit.patients:,}"
    parts = ", ".join(audit.balance.parts) if audit.divided else "not divided"
    return [
        ("Images", f"{audit.images:,}"),
        ("Patients", patients),
        ("Divided into", parts),
        ("Protocol", audit.protocol.name),
    ]


def _remarks(audit: Audit) -> list[str]:
    remarks = [audit.protocol.warning] if audit.protocol.warning else []
    if audit.duplicates and not audit.divided:
        remarks.append(
            "Keep the files of one picture on one side when you split, or keep one file of each."
        )
    across = sum(pair.across_patients for pair in audit.duplicates)
    if across:
        remarks.append(
            f"{counted(across, 'duplicate pair')} under two patients: either the patients are one, "
            "or a file was misplaced."
        )
    return remarks


def _checks(audit: Audit) -> Table:
    patients = (
        "cannot be seen: patients are not known"
        if audit.patients is None
        else _found(len(audit.crossing_patients))
    )
    if not audit.divided:
        patients = "nothing is divided yet"
    rows = (
        ("Duplicates across splits", _found(len(audit.leaks))),
        ("Patients across splits", patients),
        ("Duplicates with two labels", _found(len(audit.label_conflicts))),
        ("Unreadable files", _found(len(audit.unreadable))),
        ("Duplicate pairs in all", _found(len(audit.duplicates))),
        ("Nearly blank images", _found(len(audit.blank))),
    )
    return Table(
        "The first four must be none; folds count as splits.", ("Looked for", "Found"), rows
    )


def _found(count: int) -> str:
    return f"{count:,}" if count else "none"


def _pairs_lead(audit: Audit, shown: int) -> str:
    if not audit.duplicates:
        return (
            "None: no two files hold one picture, whether copied, re-encoded, rescaled, flipped, "
            "turned, or photographed again."
        )
    total = len(audit.duplicates)
    start = "All" if shown == total else f"The {shown:,} gravest of"
    return (
        f"{start} {counted(total, 'pair')}; those with two labels come first, then those across "
        "splits, then those across patients. A picture in several files is paired with one of "
        "them each time."
    )


def _shown_pair(pair: DuplicatePair) -> dict[str, object]:
    flags = (
        (pair.across_labels, "two labels"),
        (pair.across_splits, "across splits"),
        (pair.across_patients, "across patients"),
    )
    return {
        "kind": pair.kind,
        "transform": pair.transform,
        "distance": f"{pair.distance:.3f}",
        "flags": [name for on, name in flags if on],
        "tiles": _pair_tiles(pair.a, pair.b),
    }


def _pair_tiles(*images: AuditedImage) -> tuple[Tile, ...]:
    return tiles_of((as_path(image.path), _caption(image)) for image in images)


def _caption(image: AuditedImage) -> Caption:
    origin = f"patient {image.patient}" if image.patient else "patient not known"
    return Caption(title=image.label, lines=tuple(filter(None, (origin, image.part))))


def _pair_table(audit: Audit) -> Table:
    rows = [
        (
            f"{Path(pair.path_a).name}\n{Path(pair.path_b).name}",
            f"{pair.kind}\n{pair.transform}",
            _both(pair.a.label, pair.b.label),
            _both(pair.a.patient, pair.b.patient),
            _both(pair.a.part, pair.b.part),
            f"{pair.distance:.3f}",
        )
        for pair in audit.duplicates[:_ROWS_SHOWN]
    ]
    columns = ("Files", "How", "Label", "Patient", "Part", "Distance")
    caption = f"The first {len(rows):,} of {counted(len(audit.duplicates), 'pair')}."
    return Table(caption, columns, tuple(rows), numeric=frozenset({5}))


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first or '–'} / {second or '–'}"


def _count_table(audit: Audit) -> Table:
    by_label: dict[str, list[ClassCount]] = {}
    for count in audit.balance.counts:
        by_label.setdefault(count.label, []).append(count)
    known = audit.patients is not None
    rows = [(label, *_counts(counts, known)) for label, counts in by_label.items()]
    rows.append(("All", *_counts(audit.balance.totals, known)))
    caption = f"Images by class{', patients in small print' if known else ''}."
    columns = ("Class", *audit.balance.parts)
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))), total=True)


def _counts(counts: Iterable[ClassCount], patients_known: bool) -> list[str]:
    return [
        f"{item.images:,}" + (f"\n{counted(item.patients, 'patient')}" if patients_known else "")
        for item in counts
    ]


def _heaviest_table(audit: Audit) -> list[Table]:
    rows = [
        (item.part, item.patient, f"{item.images:,}", per_cent(item.share))
        for item in audit.balance.heaviest
    ]
    if not rows:
        return []
    caption = "The patient with most images in each part. A large share dominates the figures."
    columns = ("Part", "Patient", "Images", "Share")
    return [Table(caption, columns, tuple(rows), numeric=frozenset({2, 3}))]


def _patient_tables(audit: Audit) -> list[Table]:
    tables = []
    if audit.crossing_patients:
        rows = tuple((patient,) for patient in audit.crossing_patients)
        caption = "Patients across splits: their images are not independent."
        tables.append(Table(caption, ("Patient",), rows))
    if audit.patients_with_several_labels:
        several = tuple((who, ", ".join(what)) for who, what in audit.patients_with_several_labels)
        caption = (
            "Patients with several labels. No fault where a label belongs to the image or the "
            "patch; look where it should belong to the patient."
        )
        tables.append(Table(caption, ("Patient", "Labels"), several))
    return tables


def _file_tables(audit: Audit) -> list[Table]:
    tables = []
    if audit.unreadable:
        rows = tuple((item.path.name, item.reason) for item in audit.unreadable[:_ROWS_SHOWN])
        caption = f"{counted(len(audit.unreadable), 'file')} that cannot be read."
        tables.append(Table(caption, ("File", "Reason"), rows, prose=frozenset({1})))
    if audit.blank:
        names = tuple((Path(path).name,) for path in audit.blank[:_ROWS_SHOWN])
        caption = f"{counted(len(audit.blank), 'nearly blank image')}: compared byte for byte only."
        tables.append(Table(caption, ("File",), names))
    return tables


def _contents(facts: dict[str, object]) -> list[tuple[str, str]]:
    sections = [("verdict", "Verdict"), ("pairs", "Duplicates"), ("balance", "Balance")]
    if facts["patients"]:
        sections.append(("patients", "Patients"))
    if facts["files"]:
        sections.append(("files", "Files"))
    return sections
