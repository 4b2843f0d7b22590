"""What a Run and its Predictions say of themselves: settings, versions, fingerprints, limits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.run import EnsembleRun, FoldsRun
from eosin.reporting.learning import threshold_reason
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.graph import Graph
    from eosin.artefacts.predictions import Predictions
    from eosin.artefacts.run import RunRecord
    from eosin.networks.run import Run

    Facts = tuple[tuple[str, str, bool], ...]  # name, value, whether it is set as code

_LIMITS = (
    "For research only. This is not a medical device, and none of its figures is a diagnosis or "
    "may change a patient's care.",
    "The figures speak for images like these: other laboratories, stains, scanners, magnifications "
    "and patient groups can give quite different ones.",
    "Intervals cover the chance in which patients were drawn, not errors in the labels, not the "
    "choice of this dataset, and not another training with another seed.",
    "These are single images, not whole slides: a slide also holds artefacts, empty glass and "
    "tissue that no class here describes, and every image is given one of the classes even so.",
)


def settings_of(run: Run, predictions: Predictions) -> tuple[tuple[str, Facts], ...]:
    """Groups of facts under their headings: model, predictions, training, files, versions."""
    record, provenance = run.record, predictions.provenance
    unit = "patient" if record.protocol.patients_known else "image"
    model = [
        ("Kind of Run", record.kind.removeprefix("run/"), False),
        ("Backbone", record.backbone, True),
        ("Started from", record.initial_weights or "not recorded", False),
        ("Temperature", f"{record.temperature:.4g}", False),
        ("Decision threshold", _threshold(predictions), False),
        *([("Why this threshold", why, False)] if (why := threshold_reason(record)) else []),
        ("Seed", str(record.seed), False),
        ("Trained on", counted(len(record.train_patients), unit), False),
        ("Validated on", counted(len(record.val_patients), unit), False),
        ("Training protocol", record.protocol.name, False),
    ]
    if isinstance(record, FoldsRun | EnsembleRun) and record.vote:
        model.append(("Vote", record.vote, False))
    if run.graph:
        model.append(("Exported as", _graph(run.graph), False))
    scored = [
        ("Scored", provenance.split, False),
        ("Protocol", provenance.protocol.name, False),
        ("Seed of the split", _or_dash(provenance.protocol.seed), False),
        ("Runs", _text(provenance.runs or (str(run.folder),)), True),
    ]
    prints = [("Training manifest", record.fingerprint or "not recorded", True)]
    if record.weights_sha256:
        prints.append(("model.safetensors", record.weights_sha256, True))
    if run.graph:
        prints += [(name, sha256, True) for name, sha256 in run.graph.files.items()]
    prints += [(f"Member {member.path}", member.sha256, True) for member in record.inside]
    groups = (
        ("Model", tuple(model)),
        ("Predictions", tuple(scored)),
        ("Preprocessing", _plain(asdict(record.preprocessing))),
        ("Chosen in training", _plain({**record.choices, **_weights(record)})),
        ("Training settings", _plain(record.training)),
        ("Fingerprints (SHA-256)", tuple(prints)),
        ("Versions", _plain(record.versions)),
    )
    return tuple((heading, facts) for heading, facts in groups if facts)


def limits_of(run: Run, predictions: Predictions, evaluation: Evaluation) -> tuple[str, ...]:
    """One sentence a limit: of all such figures, of this protocol, and those noted on the way."""
    protocol = predictions.provenance.protocol
    found = list(_LIMITS)
    if protocol.warning:
        found.insert(1, protocol.warning)
    found += [*evaluation.notes, *predictions.provenance.notes, *run.record.notes]
    return tuple(dict.fromkeys(found))


def _weights(record: RunRecord) -> dict[str, object]:
    weighted = isinstance(record, EnsembleRun) and record.weights
    return {"weights": weighted} if weighted else {}


def _graph(graph: Graph) -> str:
    """The graph's form, and how near it came to PyTorch when it was made."""
    found = graph.parity
    return (
        f"{graph.format}, {graph.precision}; probabilities within {found.probabilities:.1e} of "
        f"PyTorch on {counted(found.images, 'image')} ({found.source})"
    )


def _threshold(predictions: Predictions) -> str:
    task, threshold = predictions.task, predictions.provenance.threshold
    if not task.binary:
        return "none: the most probable class"
    if threshold is None:
        return "each fold has its own"
    return f"{threshold:.4g} of P({task.positive})"


def _plain(fields: Mapping[str, object]) -> Facts:
    return tuple((name, _text(value), True) for name, value in fields.items())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name  # a page that is passed on need not tell whose disk it was
    return "none" if value is None else str(value)


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
