"""Time to evaluate predictions with intervals: eosin beside a plain scikit-learn loop.

Run: ``python benchmarks/metrics.py [--images 8000] [--patients 82] [--classes 2 8]``. Both get the
same table and the same resampled patients and are timed in turn. The loop scores resampled rows
with scikit-learn; it runs on a few resamples and its time is scaled to all of them, as said in the
table. Metrics that scikit-learn lacks (ECE, recognition rate) are in eosin's time and not in the
loop's. ``--patients 0`` makes every image its own patient.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from bars import at_most
from sklearn import metrics as sk

from eosin.artefacts.estimate import ALL, Scope
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.evaluation.intervals import patient_columns, resample_weights
from eosin.protocol import Protocol
from eosin.tasks import Task

BAR = 5.0  # seconds
MAGNIFICATIONS = ("40", "100", "200", "400")
Figures = dict[tuple[str, Scope], float]


def drawn_predictions(
    images: int,
    patients: int,
    classes: int,
    seed: int,
    magnifications: tuple[str, ...] = MAGNIFICATIONS,
) -> Predictions:
    """A table like a BreakHis run's: a patient's images share label and difficulty."""
    draw = np.random.default_rng(seed)
    names = tuple(f"class-{index}" for index in range(classes))
    task = Task("drawn", names, positive=names[1] if classes == 2 else None)
    patient = draw.integers(0, patients, images) if patients else np.arange(images)
    count = patients or images
    label = (np.arange(count) % classes)[patient]
    logits = draw.normal(size=(images, classes)) + draw.normal(size=(count, classes))[patient]
    logits[np.arange(images), label] += 1.5
    frame = pd.DataFrame(
        {
            "path": [f"/drawn/{number}.png" for number in range(images)],
            "patient": [f"14-{number}" for number in patient] if patients else "",
            "magnification": draw.choice(magnifications, images),
            "label": np.array(names, dtype=object)[label],
            "fold": "",
        }
    )
    threshold = 0.45 if classes == 2 else None
    origin = Provenance(
        protocol=Protocol(unit="patient" if patients else "image", patients_known=patients > 0),
        threshold=threshold,
    )
    probabilities = apply_temperature(logits, 1.0)
    return make_predictions(frame, probabilities, task=task, threshold=threshold, provenance=origin)


def scikit_learn_figures(predictions: Predictions) -> Figures:
    """Every metric of the table and of each magnification that scikit-learn has."""
    scopes = {ALL: np.ones(len(predictions), dtype=bool)}
    own = predictions.frame["magnification"].to_numpy()
    scopes |= {Scope(magnification=m): own == m for m in MAGNIFICATIONS}
    columns = (
        predictions.label_index,
        predictions.predicted_index,
        predictions.decision_index,
        predictions.probabilities,
    )
    figures: Figures = {}
    for scope, mask in scopes.items():
        figures |= dict(_of_scope(scope, predictions.task, *(column[mask] for column in columns)))
    return figures


def scikit_learn_loop(
    predictions: Predictions, *, resamples: int, at_most: int, seed: int
) -> list[Figures]:
    """The figures of the first ``at_most`` of eosin's own resamples."""
    frame = predictions.frame
    names, patient = patient_columns(list(frame["patient"]), list(frame["path"]))
    weights = resample_weights(names, resamples=resamples, seed=seed)[:at_most]
    rows_of = [np.flatnonzero(patient == index) for index in range(len(names))]
    figures = []
    for row in weights.astype(int):
        rows = np.concatenate([np.tile(rows_of[index], row[index]) for index in row.nonzero()[0]])
        resampled = Predictions(frame.iloc[rows], predictions.task, predictions.provenance)
        figures.append(scikit_learn_figures(resampled))
    return figures


def _of_scope(
    scope: Scope,
    task: Task,
    labels: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    decided: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> Iterator[tuple[tuple[str, Scope], float]]:
    """(metric, scope) and value, under eosin's names."""
    classes = range(len(task.classes))
    onehot = np.eye(len(task.classes))[labels]
    per_class = sk.precision_recall_fscore_support(
        labels, chosen, labels=classes, zero_division=0.0
    )
    aucs, precisions = [], []
    for index in classes:
        own, scores = labels == index, probabilities[:, index]
        name = task.classes[index]
        title = Scope(name, scope.magnification)
        aucs.append(float(sk.roc_auc_score(own, scores)) if 0 < own.sum() < len(own) else np.nan)
        precisions.append(float(sk.average_precision_score(own, scores)) if own.any() else np.nan)
        for metric, values in zip(("precision", "recall", "f1"), per_class, strict=False):
            yield (metric, title), values[index]
        yield ("specificity", title), sk.recall_score(~own, chosen != index, zero_division=0.0)
        yield ("roc_auc", title), aucs[-1]
        yield ("average_precision", title), precisions[-1]
    for metric, values in zip(("precision", "recall", "f1"), per_class, strict=False):
        yield (f"macro_{metric}", scope), values.mean()
    yield ("macro_roc_auc", scope), float(np.mean(aucs))
    yield ("macro_average_precision", scope), float(np.mean(precisions))
    yield ("micro_roc_auc", scope), sk.roc_auc_score(onehot, probabilities, average="micro")
    yield ("accuracy", scope), sk.accuracy_score(labels, chosen)
    yield ("balanced_accuracy", scope), per_class[1].mean()
    yield ("mcc", scope), sk.matthews_corrcoef(labels, chosen)
    yield ("log_loss", scope), sk.log_loss(labels, probabilities, labels=classes)
    brier = sk.brier_score_loss(onehot, probabilities, scale_by_half=False)
    yield ("brier", scope), brier
    if task.binary:
        yield ("sensitivity", scope), sk.recall_score(labels, decided, pos_label=1)
        yield ("specificity", scope), sk.recall_score(labels, decided, pos_label=0)


def compare(predictions: Predictions, arguments: argparse.Namespace) -> None:
    """Time both in turn, check that they agree, and print a line a round."""
    ours: list[float] = []
    theirs: list[float] = []
    options = {"resamples": arguments.resamples, "seed": arguments.seed}
    scale = arguments.resamples / arguments.loop_resamples
    for turn in range(arguments.rounds):
        start, busy = time.perf_counter(), time.process_time()
        evaluation = evaluate_predictions(predictions, **options)
        ours.append(time.perf_counter() - start)
        processor = time.process_time() - busy
        start = time.perf_counter()
        scikit_learn_loop(predictions, at_most=arguments.loop_resamples, **options)
        theirs.append((time.perf_counter() - start) * scale)
        print(_line(str(turn + 1), ours[-1], theirs[-1]) + f"  ({processor:.2f} s of processor)")
    print(_line("best", min(ours), min(theirs)))
    figures = scikit_learn_figures(predictions)
    gaps = [abs(value - (evaluation.value(*key).value or 0.0)) for key, value in figures.items()]
    print(
        f"{len(evaluation.estimates)} figures with intervals; the {len(figures)} that scikit-learn "
        f"has differ by at most {max(gaps):.1e}\n"
    )
    at_most(
        f"metrics, {len(predictions)} predictions, {len(predictions.task.classes)} classes, "
        f"{arguments.resamples} resamples, seconds",
        min(ours),
        BAR,
    )


def _line(title: str, ours: float, theirs: float) -> str:
    return f"{title:>5}  {ours:>9.2f}  {theirs:>16.1f}  {theirs / ours:>8.0f}"


def main() -> None:
    """Read the flags, draw the tables, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--patients", type=int, default=82, help="0: each image its own")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop-resamples", type=int, default=20, help="those the loop really runs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for classes in arguments.classes:
        predictions = drawn_predictions(
            arguments.images, arguments.patients, classes, arguments.seed
        )
        print(
            f"{arguments.images} images, {arguments.patients or 'unknown'} patients, {classes} "
            f"classes, {len(MAGNIFICATIONS)} magnifications, {arguments.resamples} resamples; the "
            f"loop ran {arguments.loop_resamples} of them and is scaled\n"
            f"{'round':>5}  {'eosin (s)':>9}  {'scikit-learn (s)':>16}  {'ratio':>8}"
        )
        compare(predictions, arguments)


if __name__ == "__main__":
    main()
