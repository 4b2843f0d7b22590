"""ROC and precision-recall curves and their bands."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from eosin.errors import DataError
from eosin.evaluation.curves import macro_curve, micro_curve, precision_recall_band, roc_band


def test_the_roc_curve_is_scikit_learns(drawn_table):
    predictions = drawn_table(rounded=1)
    band = roc_band(predictions, 1, resamples=100)
    labels, scores = predictions.label_index, predictions.probabilities[:, 1]
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(band.y, np.interp(band.x, fpr, tpr), atol=1e-12)
    area = sk.auc(band.x, band.y)
    assert area == pytest.approx(sk.roc_auc_score(labels, scores), abs=0.01)


def test_precision_is_read_at_the_highest_threshold_that_reaches_a_recall(drawn_table):
    predictions = drawn_table()
    band = precision_recall_band(predictions, 1, resamples=100, points=11)
    labels, scores = predictions.label_index, predictions.probabilities[:, 1]
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    for x, y in zip(band.x[1:], band.y[1:], strict=True):
        reached = np.flatnonzero(recall >= x - 1e-12)[-1]  # thresholds rise along the arrays
        assert y == pytest.approx(precision[reached])


@pytest.mark.parametrize("curve", [roc_band, precision_recall_band])
def test_the_band_holds_the_curve_and_is_wider_with_fewer_patients(curve, drawn_table):
    widths = []
    for patients in (10, 100):
        band = curve(drawn_table(images=600, patients=patients), 0, resamples=200)
        middle = slice(20, 180)
        assert (band.low <= band.high).all()
        assert ((band.low <= band.y) & (band.y <= band.high))[middle].mean() > 0.95
        widths.append(float((band.high - band.low)[middle].mean()))
    assert widths[0] > 1.5 * widths[1]


def test_a_class_of_one_patient_has_a_curve_and_no_band(small_table):
    rows = [("14-1", "malignant", 0.8), ("14-2", "benign", 0.3), ("14-3", "benign", 0.9)]
    band = roc_band(small_table(rows), 1)
    assert band.low is None
    assert band.note == "one patient of class 'malignant': no band"
    assert band.y[0] == 0.0
    assert band.y[-1] == 1.0


def test_a_curve_of_one_class_only_is_refused(small_table):
    with pytest.raises(DataError, match="'benign' needs images"):
        roc_band(small_table([("14-1", "malignant", 0.8)]), 0)


def test_the_micro_curve_pools_pairs_and_the_macro_curve_is_the_mean_of_the_classes(
    drawn_table, subtype
):
    predictions = drawn_table(subtype)
    truth = np.eye(8)[predictions.label_index].ravel()
    alarms, found, _ = sk.roc_curve(truth, predictions.probabilities.ravel())
    micro = micro_curve(predictions)
    np.testing.assert_allclose(micro.y, np.interp(micro.x, alarms, found), atol=1e-9)
    bands = [roc_band(predictions, index, resamples=40) for index in range(8)]
    np.testing.assert_allclose(macro_curve(bands).y, sum(band.y for band in bands) / 8)
