"""What each metric is called, what it means and which way is better, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Meaning:
    """A metric for a reader.

    Attributes:
        title: what to print.
        sentence: what it measures.
        better: which way is better.
        chance: what a classifier that knows nothing gets, where that is one number.
    """

    title: str
    sentence: str
    better: Literal["higher", "lower"] = "higher"
    chance: float | None = None


GLOSSARY: dict[str, Meaning] = {
    "accuracy": Meaning("Accuracy", "Share classified right by the most probable class."),
    "balanced_accuracy": Meaning(
        "Balanced accuracy", "Mean over classes of the share of each that was found."
    ),
    "roc_auc": Meaning(
        "ROC AUC",
        "Probability that an image of the class scores above one of another class.",
        chance=0.5,
    ),
    "average_precision": Meaning(
        "Average precision", "Mean over the class' images of the precision at their own score."
    ),
    "sensitivity": Meaning(
        "Sensitivity", "Share of positives called positive at the locked threshold."
    ),
    "specificity": Meaning("Specificity", "Share of the others not taken for the class."),
    "precision": Meaning("Precision", "Share of choices of the class that were right."),
    "recall": Meaning("Recall", "Share of the class that was found."),
    "f1": Meaning("F1", "Harmonic mean of precision and recall."),
    "macro_precision": Meaning("Macro precision", "Unweighted mean of the classes' precision."),
    "macro_recall": Meaning("Macro recall", "Unweighted mean of the classes' recall."),
    "macro_f1": Meaning("Macro F1", "Unweighted mean of the classes' F1."),
    "macro_roc_auc": Meaning(
        "Macro ROC AUC",
        "Unweighted mean of the classes' ROC AUC, each against the rest.",
        chance=0.5,
    ),
    "micro_roc_auc": Meaning(
        "Micro ROC AUC", "ROC AUC over all pairs of image and class, pooled.", chance=0.5
    ),
    "macro_average_precision": Meaning(
        "Macro average precision", "Unweighted mean of the classes' average precision."
    ),
    "mcc": Meaning(
        "Matthews correlation", "Correlation of labels and choices (Gorodkin 2004).", chance=0.0
    ),
    "quadratic_kappa": Meaning(
        "Quadratic-weighted kappa",
        "Agreement on the grade beyond chance, a miss counting as its distance squared.",
        chance=0.0,
    ),
    "adjacent_error": Meaning("Adjacent-grade error", "Share put exactly one grade off.", "lower"),
    "distant_error": Meaning("Distant error", "Share put two or more grades off.", "lower"),
    "log_loss": Meaning(
        "Log loss", "Mean negative natural log of the true class' probability.", "lower"
    ),
    "brier": Meaning(
        "Brier score",
        "Mean squared error of the probabilities, summed over classes (Brier 1950; 0 to 2).",
        "lower",
    ),
    "ece": Meaning(
        "Calibration error",
        "Mean gap between confidence and accuracy over 15 bins (ECE, Guo et al. 2017).",
        "lower",
    ),
    "patient_recognition_rate": Meaning(
        "Patient recognition rate",
        "Mean over patients of the share of their images classified right (Spanhol et al. 2016).",
    ),
}
