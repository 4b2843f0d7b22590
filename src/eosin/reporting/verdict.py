"""The verdict: what the figures say in plain words, and what they cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.errors import first_ten
from eosin.reporting.wording import capital, counted, figure, interval, number, per_cent, whole

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run


@dataclass(frozen=True)
class Banner:
    """A warning across the page; ``alarm`` is red and cannot be missed."""

    title: str
    text: str
    alarm: bool = True


@dataclass(frozen=True)
class Shown:
    """An estimate as the page shows it.

    Attributes:
        label: the measure's name.
        number: its value in words.
        between: its interval in words.
        value_at, low_at, high_at: where to draw them, in per cent of the track from 0 to 1.
        chance_at: where guessing would be, or None where that is no fixed value.
        drawn: whether it has a value and an interval on that track.
        mark: of the note that belongs to it, or empty.
    """

    label: str
    number: str
    between: str
    value_at: float
    low_at: float
    high_at: float
    chance_at: float | None
    drawn: bool
    mark: str


@dataclass(frozen=True)
class Panel:
    """Headline figures at one level, and the notes that their marks refer to."""

    title: str
    caption: str
    rows: tuple[Shown, ...]
    notes: tuple[tuple[str, str], ...] = ()


def banners(run: Run, predictions: Predictions) -> tuple[Banner, ...]:
    """Every reason why these figures may not be what they seem."""
    found = []
    protocol = predictions.provenance.protocol
    if protocol.warning:
        title = f"Protocol: {protocol.name}"
        found.append(Banner(title, protocol.warning, alarm=protocol.leaky))
    if not protocol.leaky and protocol.patients_known:
        seen = seen_patients(run, predictions)
        if seen or predictions.provenance.seen_allowed:
            found.append(Banner("Scored on patients that the model has seen", _seen_text(seen)))
    return tuple(found)


def seen_patients(run: Run, predictions: Predictions) -> tuple[str, ...]:
    """Patients scored here that trained or validated the Run, sorted.

    None for out-of-fold predictions: there each image was scored by a fold that never met it.
    """
    if predictions.provenance.split == "out-of-fold":
        return ()
    return tuple(sorted(run.record.seen_patients & set(predictions.frame["patient"])))


def verdict_sentence(run: Run, predictions: Predictions, accuracy: Estimate) -> str:
    """The headline in one plain sentence, e.g. "On 23 patients it has not seen, it gets ..."."""
    protocol = predictions.provenance.protocol
    images = counted(len(predictions), "image")
    patients = counted(accuracy.patients, "pseudo-patient" if protocol.pseudo else "patient")
    if not protocol.patients_known:
        whom = f"On {images} whose patients are not known"
    elif protocol.leaky:
        whom = f"On {images} of {patients} whose other images it was trained on"
    elif predictions.provenance.seen_allowed or seen_patients(run, predictions):
        whom = f"On {images} of {patients}, of whom it has already seen some"
    else:
        whom = f"On {patients} it has not seen"
    if accuracy.value is None:
        return f"{whom}, no share of images classified right can be given: {accuracy.note}."
    share = f"it gets {per_cent(accuracy.value)} of images right"
    if accuracy.low is None or accuracy.high is None:
        return f"{whom}, {share} (too few for an interval)."
    between = f"{whole(accuracy.low)} to {whole(accuracy.high)}"
    return f"{whom}, {share} (95\u00a0% interval {between})."


def remarks(predictions: Predictions, evaluation: Evaluation) -> tuple[str, ...]:
    """What accuracy alone hides: the commonest class, and whether this beats guessing."""
    task = predictions.task
    counts = predictions.frame["label"].value_counts()
    common = str(counts.index[0])
    share = per_cent(counts.iloc[0] / len(predictions))
    lines = [f"Always answering “{common}” would get {share} right."]
    balanced = evaluation.value("balanced_accuracy")
    chance = 1 / len(task.classes)
    if balanced.value is None:
        return tuple(lines)
    if balanced.low is None or balanced.high is None:
        against = f"Balanced accuracy is {number(balanced.value)}, guessing gives {number(chance)}"
        return (*lines, f"{against}; there is no interval for it, so that proves nothing.")
    shown = f"Balanced accuracy is {figure(balanced)}"
    if balanced.low > chance:
        leaky = predictions.provenance.protocol.leaky
        tail = ", but remembering patients is enough to reach that." if leaky else "."
        lines.append(f"{shown}: better than guessing ({number(chance)}){tail}")
    elif balanced.high < chance:
        lines.append(f"{shown}: worse than guessing ({number(chance)}).")
    else:
        lines.append(
            f"{shown}: the interval holds {number(chance)}, so these images give no evidence that "
            "it does better than guessing."
        )
    return tuple(lines)


def headline_panel(evaluation: Evaluation, *, title: str, caption: str) -> Panel:
    """The few figures that matter most for this task, each with its interval and with chance."""
    counts = [sum(row) for row in evaluation.counts().predicted]
    chances = {"accuracy": max(counts) / sum(counts), "balanced_accuracy": 1 / len(counts)}
    found = [evaluation.value(name) for name in _headline_metrics(evaluation)]
    notes = dict.fromkeys(each.note for each in found if each.note)
    marks = {note: str(place) for place, note in enumerate(notes, 1)}
    rows = [
        _shown(
            each, chances.get(each.metric, GLOSSARY[each.metric].chance), marks.get(each.note, "")
        )
        for each in found
    ]
    footnotes = tuple((mark, f"{capital(note)}.") for note, mark in marks.items())
    return Panel(title, caption, tuple(rows), footnotes)


def _headline_metrics(evaluation: Evaluation) -> list[str]:
    names = ["accuracy", "balanced_accuracy"]
    if evaluation.task.binary:
        names += ["roc_auc", "sensitivity", "specificity"]
    elif evaluation.task.ordinal:
        names += ["quadratic_kappa", "adjacent_error", "macro_roc_auc"]
    else:
        names += ["macro_f1", "macro_roc_auc"]
    if evaluation.has("patient_recognition_rate"):
        names.append("patient_recognition_rate")
    return names


def _shown(estimate: Estimate, chance: float | None, mark: str) -> Shown:
    value, low, high = estimate.value, estimate.low, estimate.high
    inside = value is not None and 0 <= value <= 1
    low, high = (value, value) if low is None or high is None else (low, high)
    return Shown(
        label=GLOSSARY[estimate.metric].title,
        number=number(value),
        between=interval(estimate),
        value_at=_place(value),
        low_at=_place(low),
        high_at=_place(high),
        chance_at=None if chance is None else _place(chance),
        drawn=inside,
        mark=mark,
    )


def _place(value: float | None) -> float:
    return 0.0 if value is None else round(100 * min(max(value, 0.0), 1.0), 2)


def _seen_text(seen: tuple[str, ...]) -> str:
    reason = "These figures reward remembering patients and do not estimate accuracy on new ones."
    if not seen:
        return f"It was run with --allow-seen. {reason}"
    patients = counted(len(seen), "patient")
    return f"{patients} trained or validated this Run: {first_ten(seen)}. {reason}"
