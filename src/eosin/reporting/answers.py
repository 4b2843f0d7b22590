"""What a Run and its predictions show of what checklists and model cards ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.artefacts.run import EnsembleRun
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.reporting.record import limits_of
from eosin.reporting.wording import counted, figure, number

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run

RESEARCH_ONLY = (
    "Research on breast histopathology only: not a diagnosis, and not for any decision about a "
    "person."
)


# The training settings that a frozen network's linear head depends on.
_OF_FROZEN = (
    *("backbone", "weights", "freeze", "image_size", "fit", "stain", "stain_target", "stain_per"),
    *("class_weights", "probe", "probe_c", "probe_k", "probe_rule", "patients_alike"),
    *("inner_folds", "seed"),
)


@dataclass(frozen=True)
class Answers:
    """What a Run and its predictions show, a sentence or two each."""

    run: Run
    predictions: Predictions

    @cached_property
    def evaluation(self) -> Evaluation:
        """The image-level figures."""
        return evaluate_predictions(self.predictions)

    @property
    def headlines(self) -> tuple[Estimate, ...]:
        """Accuracy, balanced accuracy and the area under the ROC, where they have a value."""
        area = "roc_auc" if self.predictions.task.binary else "macro_roc_auc"
        found = [self.evaluation.value(name) for name in ("accuracy", "balanced_accuracy", area)]
        return tuple(each for each in found if each.value is not None)

    @property
    def subject(self) -> str:
        """The model and what it was scored on."""
        origin = self.predictions.provenance
        return f"{self.run.record.backbone} on {origin.dataset}, {self.predictions.task.name}"

    def to(self, name: str) -> str | None:
        """The answer by its name in standards.toml; None where these artefacts have none."""
        found = getattr(self, f"_{name}")()
        return None if found is None else str(found)

    def _title(self) -> str:
        backbone = self.run.record.backbone
        return f"An image classifier ({backbone}) of breast tissue into {self._classes()}."

    def _classes(self) -> str:
        task = self.predictions.task
        return f"{', '.join(task.classes)} ({task.name})"

    def _use(self) -> str:
        return RESEARCH_ONLY

    def _objective(self) -> str:
        scored = self.predictions.provenance
        how = "evaluation" if scored.protocol.unit == "external" else "development and evaluation"
        return f"The artefacts are of {how}: {scored.split} images, {scored.protocol.name}."

    def _data(self) -> str:
        record, scored = self.run.record, self.predictions.provenance
        return f"Trained on {record.dataset}, scored on {scored.dataset} ({scored.split})."

    def _preparation(self) -> str:
        return f"{self._preprocessing()} {self._poor_input()}"

    def _outcome(self) -> str:
        return f"The label of each image, one of {self._classes()}."

    def _predictors(self) -> str:
        return f"The pixels of one image, and nothing else. {self._preprocessing()}"

    def _preprocessing(self) -> str:
        made = self.run.record.preprocessing
        stain = made.stain.method if made.stain else "no stain normalisation"
        return (
            f"RGB image, {made.fit} to {made.size} x {made.size} px; mean {made.mean} and standard "
            f"deviation {made.std} of each channel; {stain}."
        )

    def _no_judgement(self) -> str:
        return "Not applicable: predictors are pixels, read by a program."

    def _no_segmentation(self) -> str:
        return "Not applicable: the network takes whole images; nothing is segmented."

    def _no_handcrafted(self) -> str:
        return "Not applicable: features are the network's own; none is made by hand."

    def _size(self) -> str:
        return (
            f"Scored: {self._patients()}. Whether that suffices for an effect of interest: "
            "`eosin power`."
        )

    def _patients(self) -> str:
        found = self.evaluation
        images = counted(found.images, "image")
        if not found.patient_table:
            return f"{images}; patients are not known"
        return f"{images} of {counted(found.patients, 'patient')}"

    def _missing(self) -> str:
        notes = [note for note in self.predictions.provenance.notes if "could not be read" in note]
        left = " ".join(notes) or "No image of the table lacks a prediction."
        return f"{left} Nothing is imputed."

    def _division(self) -> str:
        record, scored = self.run.record, self.predictions.provenance
        seed = "" if record.protocol.seed is None else f", seed {record.protocol.seed}"
        said = f"Training: {record.protocol.name}{seed}. Scored: {scored.protocol.name}."
        return f"{said} {scored.protocol.warning or ''}".strip()

    def _disjoint(self) -> str:
        protocol = self.predictions.provenance.protocol
        return f"{protocol.name}. {protocol.warning or ''}".strip()

    def _internal(self) -> str | None:
        protocol = self.predictions.provenance.protocol
        return None if protocol.unit == "external" else f"{protocol.name}: {self._performance()}"

    def _external(self) -> str | None:
        protocol = self.predictions.provenance.protocol
        return f"{protocol.name}: {self._performance()}" if protocol.unit == "external" else None

    def _building(self) -> str:
        record = self.run.record
        used = record.training
        if used.get("freeze"):
            used = {name: value for name, value in used.items() if name in _OF_FROZEN}
        settings = ", ".join(f"{name} = {value}" for name, value in used.items())
        return f"{self._selection()} Settings: {settings}."

    def _selection(self) -> str:
        record = self.run.record
        chosen = [
            ", ".join(
                f"{name} = {_short(value)}"
                for name, value in leaf.record.choices.items()
                if isinstance(value, str | float | int)
            )
            for leaf in self.run.leaves()
        ]
        said = "; ".join(dict.fromkeys(filter(None, chosen))) or "nothing beyond the settings"
        if record.val_patients:
            return f"Chosen on {counted(len(record.val_patients), 'validation patient')}: {said}."
        return f"Chosen inside the training patients: {said}."

    def _ensemble(self) -> str:
        record = self.run.record
        if isinstance(record, EnsembleRun):
            members = ", ".join(member.path for member in record.members)
            return f"{counted(len(record.members), 'member')} ({members}), {record.vote} vote."
        if record.inside:
            return (
                f"No: {len(record.inside)} folds, each scored by the network that did not see it."
            )
        return "No: one network."

    def _measures(self) -> str:
        names = dict.fromkeys(GLOSSARY[each.metric].name for each in self.evaluation.estimates)
        return ", ".join(names) + "; confusion matrices, ROC, precision-recall and reliability."

    def _uncertainty(self) -> str:
        found = self.evaluation
        return (
            f"{100 * found.confidence:g} % percentile intervals from {found.resamples:,} resamples "
            "of whole patients."
        )

    def _predicting(self) -> str:
        record = self.run.record
        return (
            f"{self._preprocessing()} Probabilities are softmax of logits divided by the "
            f"temperature {record.temperature:.4g}."
        )

    def _imbalance(self) -> str:
        labels = self.predictions.frame["label"].value_counts()
        scored = ", ".join(
            f"{name} {labels.get(name, 0):,}" for name in self.predictions.task.classes
        )
        weights = self.run.record.training.get("class_weights", "not recorded")
        return f"Scored images: {scored}. Class weights in training: {weights}."

    def _output(self) -> str:
        record, threshold = self.run.record, self.predictions.provenance.threshold
        if not record.task.binary:
            return "A probability of each class; the most probable one is chosen."
        at = "a threshold of each fold" if threshold is None else f"a threshold of {threshold:.4g}"
        return f"A probability of each class; the decision is made at {at}, set on training data."

    def _code(self) -> str:
        versions = ", ".join(f"{name} {at}" for name, at in self.run.record.versions.items())
        return f"eosin is open source (MIT). Versions: {versions}."

    def _flow(self) -> str:
        record = self.run.record
        return (
            f"Trained on {counted(len(record.train_patients), 'patient')}, validated on "
            f"{len(record.val_patients):,}. Scored: {self._patients()}. {self._imbalance()}"
        )

    def _model(self) -> str:
        files = [f"{name} (SHA-256 {digest[:12]}...)" for name, digest in self.run.files.items()]
        files += [
            f"{member.path} (SHA-256 {member.sha256[:12]}...)" for member in self.run.record.inside
        ]
        return f"{self.run.record.backbone}; {self._output()} The Run holds {', '.join(files)}."

    def _initial(self) -> str:
        return self.run.record.initial_weights or "not recorded"

    def _performance(self) -> str:
        shown = [
            f"{GLOSSARY[each.metric].name} {figure(each, space=' ')}"
            for each in (*self.headlines, self.evaluation.value("ece"))
        ]
        return f"{'; '.join(shown)} (95 % intervals; {self._patients()})."

    def _calibration(self) -> str:
        found = self.evaluation.value("ece")
        return f"Calibration error {figure(found, space=' ')}, after temperature scaling."

    def _clusters(self) -> str | None:
        rows = self.evaluation.patient_table
        if not rows:
            return None
        rates = sorted(row.recognition_rate for row in rows)
        return (
            f"Share of images classified right, by patient: from {number(rates[0])} to "
            f"{number(rates[-1])}, median {number(median(rates))} ({len(rates)} patients)."
        )

    def _failures(self) -> str:
        frame = self.predictions.frame
        wrong = int((frame["predicted"] != frame["label"]).sum())
        return (
            f"{wrong:,} of {counted(len(frame), 'image')} are classified wrongly; the report shows "
            "them, and the predictions table names each."
        )

    def _limits(self) -> str:
        return " ".join(limits_of(self.run, self.predictions, self.evaluation))

    def _poor_input(self) -> str:
        return "A file that is damaged or incomplete is named and not scored."

    def _acquisition(self) -> str | None:
        steps = sorted(set(self.predictions.frame["magnification"]) - {""})
        return f"Magnification: {', '.join(f'{step}X' for step in steps)}." if steps else None


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
