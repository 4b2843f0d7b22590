"""Every figure at once: equal to scikit-learn's, and to scoring the resampled rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from eosin.artefacts.glossary import GLOSSARY
from eosin.evaluation.all_metrics import MetricKey, less, score_headlines, score_sample
from eosin.evaluation.intervals import resample_weights
from eosin.evaluation.sample import image_sample
from eosin.evaluation.weights import Weights


def test_every_figure_of_a_binary_table_equals_scikit_learn(drawn_table):
    predictions = drawn_table()
    sample = image_sample(predictions)
    values = score_sample(sample, predictions.task, Weights.plain(len(sample)), recognition=False)
    y, chosen, decided = sample.labels, sample.predicted, sample.decided
    probabilities, p = sample.probabilities, sample.probabilities[:, 1]
    onehot = np.eye(2)[y]
    expected = {
        "accuracy": sk.accuracy_score(y, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen),
        "macro_precision": sk.precision_score(y, chosen, average="macro"),
        "macro_recall": sk.recall_score(y, chosen, average="macro"),
        "macro_f1": sk.f1_score(y, chosen, average="macro"),
        "roc_auc": sk.roc_auc_score(y, p),
        "macro_roc_auc": sk.roc_auc_score(onehot, probabilities, average="macro"),
        "micro_roc_auc": sk.roc_auc_score(onehot, probabilities, average="micro"),
        "average_precision": sk.average_precision_score(y, p),
        "macro_average_precision": sk.average_precision_score(onehot, probabilities),
        "mcc": sk.matthews_corrcoef(y, chosen),
        "log_loss": sk.log_loss(y, probabilities),
        "brier": 2 * sk.brier_score_loss(y, p),
        "sensitivity": sk.recall_score(y, decided),
        "specificity": sk.recall_score(y, decided, pos_label=0),
        "decided_accuracy": sk.accuracy_score(y, decided),
        "decided_balanced_accuracy": sk.balanced_accuracy_score(y, decided),
    }
    assert (chosen != decided).any()
    for name, value in expected.items():
        assert values[MetricKey(name)][0] == pytest.approx(value, abs=1e-12), name
    assert {key.metric for key in values if key.class_index is None} - set(expected) == {
        "ece",
        "within_roc_auc",
    }


def test_every_figure_of_eight_classes_equals_scikit_learn(drawn_table, subtype):
    predictions = drawn_table(subtype)
    sample = image_sample(predictions)
    values = score_sample(sample, subtype, Weights.plain(len(sample)))
    y, chosen, probabilities = sample.labels, sample.predicted, sample.probabilities
    assert values[MetricKey("macro_roc_auc")][0] == pytest.approx(
        sk.roc_auc_score(y, probabilities, multi_class="ovr"), abs=1e-12
    )
    per_class = sk.precision_recall_fscore_support(y, chosen)
    for index in range(8):
        own, scores = y == index, probabilities[:, index]
        expected = {
            "precision": per_class[0][index],
            "recall": per_class[1][index],
            "f1": per_class[2][index],
            "specificity": sk.recall_score(~own, chosen != index),
            "roc_auc": sk.roc_auc_score(own, scores),
            "average_precision": sk.average_precision_score(own, scores),
        }
        for name, value in expected.items():
            assert values[MetricKey(name, index)][0] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("task", ["binary", "her2", "subtype"])
def test_weighing_patients_equals_scoring_their_repeated_rows(task, drawn_table, request):
    task = request.getfixturevalue(task)
    sample = image_sample(drawn_table(task, images=300, rounded=1))
    drawn = resample_weights(sample.patients, resamples=12, seed=3)
    weighted = score_sample(sample, task, Weights(sample.patient, drawn), recognition=False)
    for row, draws in enumerate(drawn):
        rows = np.repeat(np.arange(300), draws[sample.patient].astype(int))
        plain = _rows(sample, rows)
        again = score_sample(plain, task, Weights.plain(len(rows)), recognition=False)
        for key, values in weighted.items():
            if (plain.present == sample.present).all():
                np.testing.assert_allclose(values[row], again[key][0], rtol=0, atol=1e-10)
            elif np.isfinite(values[row]):  # a class is missing: macro figures have no value
                assert not key.metric.startswith(("macro", "balanced", "decided_balanced")), key


@pytest.mark.parametrize("task", ["binary", "her2", "subtype"])
def test_the_headlines_are_those_of_every_figure(task, drawn_table, request):
    task = request.getfixturevalue(task)
    sample = image_sample(drawn_table(task, images=120, rounded=1))
    weights = Weights(sample.patient, resample_weights(sample.patients, resamples=30, seed=1))
    every = score_sample(sample, task, weights)
    beyond_two = ["balanced_accuracy", "macro_roc_auc"]
    names = ["accuracy", *(["roc_auc"] if task.binary else beyond_two)]
    found = score_headlines(sample, task, weights)
    assert list(found) == [MetricKey(name) for name in names]
    for key, values in found.items():
        np.testing.assert_array_equal(values, every[key])


def test_each_kind_of_task_gets_its_own_metrics(drawn_table, her2, subtype):
    names = {}
    for task in (her2, subtype):
        sample = image_sample(drawn_table(task))
        scored = score_sample(sample, task, Weights(sample.patient, np.ones((1, 24))))
        names[task.name] = {key.metric for key in scored}
        assert names[task.name] <= set(GLOSSARY)
    grades = {"quadratic_kappa", "adjacent_error", "distant_error"}
    assert names["her2"] - names["subtype"] == grades
    assert not names["her2"] & {"sensitivity"}


def _rows(sample, rows):
    """The sample with rows repeated, each draw of a patient still that patient."""
    repeated = {
        name: getattr(sample, name)[rows]
        for name in ("labels", "predicted", "decided", "probabilities", "images", "patient")
    }
    magnification = tuple(sample.magnification[row] for row in rows)
    return type(sample)(patients=sample.patients, magnification=magnification, **repeated)


def test_equal_figures_differ_by_nothing_however_their_sums_were_rounded() -> None:
    found = less(np.array([0.1 + 0.2, 0.5, np.nan]), np.array([0.3, 0.4, 0.1]))
    assert found[0] == 0.0
    assert found[1] == 0.5 - 0.4
    assert np.isnan(found[2])
