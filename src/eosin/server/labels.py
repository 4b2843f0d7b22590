"""The labels of a record as a manifest that training and evaluation read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.errors import DataError
from eosin.protocol import UNSPLIT
from eosin.reporting.wording import counted
from eosin.server.record import SourceFields
from eosin.server.standing import Standing, biased

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.server.record import Record
    from eosin.server.tables import Source


def labelled_manifest(record: Record, *, everything: bool = False) -> Manifest:
    """What readers said, as a manifest; patients, splits and protocol are those of the source.

    ``label`` is the adjudicated one, else that of more than half of the readers. Beside it stand
    ``source_label`` (of the manifest), ``reader`` (who, with ``|`` between), ``readers`` (how
    many), ``agreement`` (the share of them with this label), ``answers`` (``who=label``),
    ``adjudicated`` (by whom), ``comment`` and ``ordering``.

    Args:
        record: the record.
        everything: whether cases without a label are kept, their label empty: those that nobody
            answered, and ties that nobody adjudicated. Training refuses such rows.

    Raises:
        DataError: no case has a label.
    """
    import pandas as pd

    standing, cases = record.standings(), record.cases()
    states = [standing.get(case.id, Standing()) for case, _ in cases]
    ties = sum(not state.consensus and len(state.labels) > 0 for state in states)
    kept = [
        ({**case.row, **_read(case.row, state)}, source, state)
        for (case, source), state in zip(cases, states, strict=True)
        if everything or state.consensus
    ]
    if not any(state.consensus for _, _, state in kept):
        raise DataError(f"none of the {len(cases)} cases of the record has a label yet; answer one")
    frame = pd.DataFrame([row for row, _, _ in kept]).fillna("")
    made = _as_source(frame, list({source.number: source for _, source, _ in kept}.values()))
    rows = [row for _, _, state in kept for row in state.labels.values()]
    said = "kept without a label" if everything else "left out"
    notes = [
        "Labels were given by readers in a review; a label is the adjudicated one, else that of "
        "more than half of a case's readers.",
        *([f"Readers are tied on {counted(ties, 'case')}, {said}."] if ties else []),
        *biased(rows),
    ]
    return replace(made, notes=tuple(dict.fromkeys((*made.notes, *notes))))


def _read(row: dict[str, str], state: Standing) -> dict[str, str]:
    names, label = sorted(state.labels), state.consensus
    share = state.votes[label] / len(names) if label and names else None
    return {
        "label": label,
        "source_label": row["label"],
        "reader": "|".join(names),
        "readers": str(len(names)),
        "agreement": "" if share is None else f"{share:.3f}",
        "answers": "|".join(f"{name}={state.labels[name].label}" for name in names),
        "adjudicated": state.adjudication.reader if state.adjudication else "",
        "comment": " | ".join(each.comment for each in state.comments),
        "ordering": "|".join(sorted({each.ordering for each in state.labels.values()})),
    }


def _as_source(frame: pd.DataFrame, sources: Sequence[Source]) -> Manifest:
    """A manifest of what the sources have in common; splits of several go together no more."""
    said = [SourceFields.of(source) for source in sources]
    patterns, protocols = {each.patient_pattern for each in said}, {each.protocol for each in said}
    protocol, notes = said[0].protocol, [note for each in said for note in each.notes]
    if len(protocols) > 1:
        known = all(each.patients_known for each in protocols)
        protocol, frame = replace(UNSPLIT, patients_known=known), frame.assign(split="", fold="")
        notes.append("Images come from several manifests, so their splits are dropped.")
    return Manifest(
        frame,
        said[0].task,
        dataset=" + ".join(dict.fromkeys(each.dataset for each in said)),
        protocol=protocol,
        notes=tuple(notes),
        patient_pattern=patterns.pop() if len(patterns) == 1 else "",
    )
