"""What each metric is called, what it means, where it lies and which way is better, in order."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True, slots=True)
class Meaning:
    """A metric for a reader.

    Attributes:
        name: what to call it inside a sentence.
        sentence: what it measures.
        better: which way is better.
        chance: what a classifier that knows nothing gets, where that is one number.
        least, most: the range of its values.
        rule: how the class was chosen that it judges: empty where it judges probabilities.
    """

    name: str
    sentence: str
    better: Literal["higher", "lower"] = "higher"
    chance: float | None = None
    least: float = 0.0
    most: float = 1.0
    rule: Literal["", "most probable class", "locked threshold"] = ""

    @property
    def title(self) -> str:
        """The name as a heading."""
        return self.name[:1].upper() + self.name[1:]


_PROBABLE: Literal["most probable class"] = "most probable class"
_LOCKED: Literal["locked threshold"] = "locked threshold"
GLOSSARY: dict[str, Meaning] = {
    "accuracy": Meaning(
        "accuracy", "Share classified right by the most probable class.", rule=_PROBABLE
    ),
    "balanced_accuracy": Meaning(
        "balanced accuracy",
        "Mean over classes of the share of each that was found.",
        rule=_PROBABLE,
    ),
    "roc_auc": Meaning(
        "ROC AUC",
        "Probability that an image of the class scores above one of another class.",
        chance=0.5,
    ),
    "within_roc_auc": Meaning(
        "ROC AUC within patients",
        "Mean over the patients with images of both classes of the ROC AUC inside each: 0.5 where "
        "scores merely tell patients apart.",
        chance=0.5,
    ),
    "average_precision": Meaning(
        "average precision", "Mean over the class' images of the precision at their own score."
    ),
    "sensitivity": Meaning(
        "sensitivity", "Share of positives called positive at the locked threshold.", rule=_LOCKED
    ),
    "specificity": Meaning(
        "specificity", "Share of the others not taken for the class.", rule=_LOCKED
    ),
    "decided_balanced_accuracy": Meaning(
        "balanced accuracy of the decision",
        "Mean of sensitivity and specificity, at the locked threshold.",
        rule=_LOCKED,
    ),
    "decided_accuracy": Meaning(
        "accuracy of the decision", "Share decided right at the locked threshold.", rule=_LOCKED
    ),
    "precision": Meaning(
        "precision", "Share of choices of the class that were right.", rule=_PROBABLE
    ),
    "recall": Meaning("recall", "Share of the class that was found.", rule=_PROBABLE),
    "f1": Meaning("F1", "Harmonic mean of precision and recall.", rule=_PROBABLE),
    "macro_precision": Meaning(
        "macro precision", "Unweighted mean of the classes' precision.", rule=_PROBABLE
    ),
    "macro_recall": Meaning(
        "macro recall", "Unweighted mean of the classes' recall.", rule=_PROBABLE
    ),
    "macro_f1": Meaning("macro F1", "Unweighted mean of the classes' F1.", rule=_PROBABLE),
    "macro_roc_auc": Meaning(
        "macro ROC AUC",
        "Unweighted mean of the classes' ROC AUC, each against the rest.",
        chance=0.5,
    ),
    "micro_roc_auc": Meaning(
        "micro ROC AUC", "ROC AUC over all pairs of image and class, pooled.", chance=0.5
    ),
    "macro_average_precision": Meaning(
        "macro average precision", "Unweighted mean of the classes' average precision."
    ),
    "mcc": Meaning(
        "Matthews correlation",
        "Correlation of labels and choices (Gorodkin 2004).",
        chance=0.0,
        least=-1.0,
    ),
    "quadratic_kappa": Meaning(
        "quadratic-weighted kappa",
        "Agreement on the grade beyond chance, a miss counting as its distance squared.",
        chance=0.0,
        least=-1.0,
    ),
    "cohen_kappa": Meaning(
        "Cohen's kappa",
        "Agreement of two readers beyond what their shares of labels give by chance (Cohen 1960).",
        chance=0.0,
        least=-1.0,
    ),
    "reader_agreement": Meaning(
        "agreement of readers", "Share of cases to which two readers gave the same label."
    ),
    "adjacent_error": Meaning("adjacent-grade error", "Share put exactly one grade off.", "lower"),
    "distant_error": Meaning("distant error", "Share put two or more grades off.", "lower"),
    "log_loss": Meaning(
        "log loss", "Mean negative natural log of the true class' probability.", "lower", most=inf
    ),
    "brier": Meaning(
        "Brier score",
        "Mean squared error of the probabilities, summed over classes (Brier 1950; 0 to 2).",
        "lower",
        most=2.0,
    ),
    "ece": Meaning(
        "calibration error",
        "Mean gap between confidence and accuracy over 15 bins (ECE, Guo et al. 2017).",
        "lower",
    ),
    "coverage": Meaning("coverage of sets", "Share whose set of classes holds the true one."),
    "flagged": Meaning("share flagged", "Share of images with a flag.", "lower"),
    "risk": Meaning("risk", "Share wrong among the images that are answered.", "lower"),
    "risk_coverage_area": Meaning(
        "area under the risk-coverage curve",
        "Mean share wrong among the surest images, over every share of them (El-Yaniv & Wiener "
        "2010).",
        "lower",
    ),
    "abstention": Meaning("abstention", "Share that is not answered.", "lower"),
    "robustness_index": Meaning(
        "robustness index",
        "Share of telling neighbours that have the class and not the site in common (PathoROB).",
    ),
    "patient_recognition_rate": Meaning(
        "patient recognition rate",
        "Mean over patients of the share of their images classified right (Spanhol et al. 2016).",
        rule=_PROBABLE,
    ),
    "attention_area": Meaning(
        "area between attention and chance",
        "How much lower the class probability of a slide lies without its most attended tiles than "
        "without as many at random, mean over the shares removed.",
        chance=0.0,
        least=-1.0,
    ),
    "attention_beats_random": Meaning(
        "slides where attention beats chance",
        "Share of slides whose probability falls further without the most attended tiles than "
        "under every random order.",
    ),
}
