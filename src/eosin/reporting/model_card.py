"""A Run's card in the usual form of a model hub: metadata, then what the artefacts show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.answers import RESEARCH_ONLY, Answers

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run


def model_card(run: Run, predictions: Predictions) -> str:
    """A Run's card in the usual form of a model hub: metadata, then what the artefacts show.

    Raises:
        DataError: an image has no label.
    """
    answers = Answers(run, predictions)
    record, scored = run.record, predictions.provenance
    head = [
        "---",
        "license: unknown",
        "library_name: eosin",
        "pipeline_tag: image-classification",
        "tags: [histopathology, breast-cancer, eosin]",
        "model-index:",
        f"- name: {_quoted(record.backbone)}",
        "  results:",
        "  - task: {type: image-classification}",
        f"    dataset: {{name: {_quoted(scored.dataset)}, type: {_quoted(scored.dataset)}}}",
        "    metrics:",
        *(_metric(each, scored.protocol.name) for each in answers.headlines),
        "---",
    ]
    body = [f"# {answers.subject}", *(f"## {n}\n\n{text}" for n, text in card_parts(answers))]
    told = [f"\n{part.replace('<', '&lt;')}" for part in body]
    return "\n".join([*head, *told, "\n<!-- eosin -->"]) + "\n"


def card_parts(answers: Answers) -> tuple[tuple[str, str], ...]:
    """The headings of a card and what stands below each, as plain text."""
    return (
        ("What it is", f"{answers.to('title')} {answers.to('output')}"),
        ("Use", RESEARCH_ONLY),
        ("Data", f"{answers.to('data')} {answers.to('flow')}"),
        ("Protocol", answers.to("division") or ""),
        ("Figures", f"{answers.to('performance')} {answers.to('uncertainty')}"),
        ("Input", answers.to("preprocessing") or ""),
        ("Training", f"Started from: {answers.to('initial')}. {answers.to('building')}"),
        ("Limits", answers.to("limits") or ""),
        (
            "Open",
            "Licence, ethics, consent, funding and where the data can be had: no artefact "
            "shows them. The authors must add them before they publish this card.",
        ),
    )


def _metric(found: Estimate, protocol: str) -> str:
    name = GLOSSARY[found.metric].name
    shown = _quoted(f"{name}, {protocol}")
    return f"    - {{type: {found.metric}, value: {found.value:.4f}, name: {shown}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
