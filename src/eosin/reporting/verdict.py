"""The verdict: what the figures say in plain words, and what they cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.estimate import Scope
from eosin.artefacts.glossary import GLOSSARY
from eosin.data.identity import Identity
from eosin.errors import first_ten
from eosin.reporting.wording import capital, counted, figure, interval, number, per_cent, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run


_REWARDS = "These figures reward remembering images and do not estimate accuracy on new patients."


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
        drawn: whether its value lies on that track.
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


@dataclass(frozen=True)
class Seen:
    """What of the scored images the Run was trained or validated on.

    Attributes:
        patients: sorted; where patients are unknown, the images that stand for them.
        images: how many of the scored images are theirs.
        themselves: ``"trained"`` or ``"validated"`` where these very images were used so; else "".
    """

    patients: tuple[str, ...] = ()
    images: int = 0
    themselves: str = ""


def what_was_seen(run: Run, predictions: Predictions) -> Seen:
    """Nothing for out-of-fold predictions: there each image was scored by a fold without it."""
    source, record = predictions.provenance, run.record
    if source.split == "out-of-fold":
        return Seen()
    scored = predictions.frame["patient"]
    names = set(scored) - {""}
    met = (Identity.of(record).met(names) | record.seen_patients) & names
    if not met:
        return Seen()
    uses = (("trained", "train", record.train_patients), ("validated", "val", record.val_patients))
    # Without patients each stands for one image. Under a split's own name these are its images.
    themselves = next(
        (
            how
            for how, split, own in uses
            if names <= set(own)
            and (not record.protocol.patients_known or (source.split == split and "" not in own))
        ),
        "",
    )
    return Seen(tuple(sorted(met)), int(scored.isin(met).sum()), themselves)


def banners(run: Run, predictions: Predictions) -> tuple[Banner, ...]:
    """Every reason why these figures may not be what they seem; images seen before come first."""
    found = []
    protocol, seen = predictions.provenance.protocol, what_was_seen(run, predictions)
    if seen.themselves:
        title = f"Scored on the images that {seen.themselves} the model"
        found.append(Banner(title, f"All {len(predictions):,} of them. {_REWARDS}"))
    elif seen.patients:
        unit = "patient" if run.record.protocol.patients_known else "image"
        found.append(
            Banner(
                f"Scored on {unit}s that the model has seen",
                f"{counted(len(seen.patients), unit)} trained or validated this Run: "
                f"{first_ten(seen.patients)}. {_REWARDS}",
            )
        )
    elif predictions.provenance.seen_allowed:
        text = f"It was run with --allow-seen. {_REWARDS}"
        found.append(Banner("Scored without the guard against patients seen before", text))
    if protocol.warning:
        title = f"Protocol: {protocol.name}"
        found.append(Banner(title, protocol.warning, alarm=protocol.leaky))
    return tuple(found)


def verdict_sentence(run: Run, predictions: Predictions, accuracy: Estimate) -> str:
    """The headline in one plain sentence, e.g. "On 23 patients it has not seen, it gets ..."."""
    whom = _whom(run, predictions, accuracy)
    if accuracy.value is None:
        return f"{whom}, no share of images classified right can be given: {accuracy.note}."
    share = f"it gets {per_cent(accuracy.value)} of images right"
    if accuracy.low is None or accuracy.high is None:
        why = "there is one patient" if accuracy.patients == 1 else "too few patients"
        return f"{whom}, {share} (no interval: {why})."
    between = f"{whole(accuracy.low)} to {whole(accuracy.high)}"
    return f"{whom}, {share} (95\u00a0% interval {between})."


def _whom(run: Run, predictions: Predictions, accuracy: Estimate) -> str:
    """What was scored, and what the model knew of it."""
    protocol, seen = predictions.provenance.protocol, what_was_seen(run, predictions)
    images = counted(len(predictions), "image")
    patients = counted(accuracy.patients, "pseudo-patient" if protocol.pseudo else "patient")
    if seen.themselves == "trained":
        return f"On {images} that it was trained on"
    if seen.themselves:
        return f"On {images} that chose how it was trained (its validation images)"
    if not protocol.patients_known:
        known = f", {seen.images:,} of which it has already seen" if seen.images else ""
        return f"On {images} whose patients are not known{known}"
    if protocol.leaky:
        return f"On {images} of {patients} whose other images it was trained on"
    if seen.patients:
        return f"On {images} of {patients}, {len(seen.patients):,} of whom it has already seen"
    if predictions.provenance.seen_allowed:
        return f"On {images} of {patients}, of whom it may have seen some"
    return f"On {patients} it has not seen"


def remarks(run: Run, predictions: Predictions, evaluation: Evaluation) -> tuple[str, ...]:
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
        but = _but(run, predictions)
        lines.append(f"{shown}: better than guessing ({number(chance)}){but}.")
    elif balanced.high < chance:
        lines.append(f"{shown}: worse than guessing ({number(chance)}).")
    else:
        lines.append(
            f"{shown}: the interval contains {number(chance)}, so these images give no evidence "
            "that it does better than guessing."
        )
    return tuple(lines)


def _but(run: Run, predictions: Predictions) -> str:
    """Why a figure above chance may say nothing of new patients; empty where it may not."""
    source, seen = predictions.provenance, what_was_seen(run, predictions)
    if seen.themselves:
        return f", but these very images {seen.themselves} the model: it says nothing of new ones"
    if source.protocol.leaky:
        return ", but remembering patients is enough to reach that"
    if seen.patients or source.seen_allowed:
        return ", but it has already seen some of these patients: it may only remember them"
    if not source.protocol.patients_known:
        return ", but patients are not known: it may only remember them"
    return ""


def headline_panels(evaluation: Evaluation, *, title: str, caption: str) -> list[Panel]:
    """The few figures that matter most for this task, one table for each rule of deciding."""
    names = _headline_metrics(evaluation)
    if not evaluation.task.binary or evaluation.one_rule:
        rule = f"Each {evaluation.level} gets its most probable class"
        also = (
            ", which is the decision at the locked threshold too" if evaluation.task.binary else ""
        )
        found = [evaluation.value(name) for name in names]
        return [_panel(evaluation, found, title=title, caption=f"{caption} {rule}{also}.")]
    probable = [evaluation.value(n) for n in names if GLOSSARY[n].rule != "locked threshold"]
    positive = Scope(evaluation.task.positive)
    probable[2:2] = [evaluation.value(name, positive) for name in ("recall", "specificity")]
    decided = [name for name, meaning in GLOSSARY.items() if meaning.rule == "locked threshold"]
    locked = [evaluation.value(name) for name in decided]
    return [
        _panel(evaluation, found, title=f"{title}, {rule}", caption=caption)
        for found, rule in ((probable, "most probable class"), (locked, "locked threshold"))
    ]


def _panel(evaluation: Evaluation, found: Sequence[Estimate], *, title: str, caption: str) -> Panel:
    """Figures with their intervals, and with chance."""
    counts = [sum(row) for row in evaluation.counts().predicted]
    most, even = max(counts) / sum(counts), 1 / len(counts)
    chances = {"accuracy": most, "balanced_accuracy": even}
    chances |= {f"decided_{name}": chance for name, chance in chances.items()}
    notes = dict.fromkeys(each.note for each in found if each.note)
    marks = {note: str(index) for index, note in enumerate(notes, 1)}
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
        names += ["sensitivity", "specificity", "roc_auc"]
        names += ["within_roc_auc"] if evaluation.has("within_roc_auc") else []
    elif evaluation.task.ordinal:
        names += ["quadratic_kappa", "adjacent_error", "macro_roc_auc"]
    else:
        names += ["macro_f1", "macro_roc_auc"]
    if evaluation.has("patient_recognition_rate"):
        names.append("patient_recognition_rate")
    return names


def _shown(estimate: Estimate, chance: float | None, mark: str) -> Shown:
    value, low, high = estimate.value, estimate.low, estimate.high
    low, high = (value, value) if low is None or high is None else (low, high)
    return Shown(
        label=GLOSSARY[estimate.metric].title,
        number=number(value),
        between=interval(estimate),
        value_at=_percent(value),
        low_at=_percent(low),
        high_at=_percent(high),
        chance_at=None if chance is None else _percent(chance),
        drawn=value is not None and 0 <= value <= 1,
        mark=mark,
    )


def _percent(value: float | None) -> float:
    return 0.0 if value is None else round(100 * min(max(value, 0.0), 1.0), 2)
