"""eosin: honest, fast, explainable classification of breast-histopathology images.

Public names are imported when they are first used, so ``import eosin`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from eosin.version import __version__

if TYPE_CHECKING:
    from eosin.artefacts.comparison import Comparison
    from eosin.artefacts.estimate import Estimate, Scope
    from eosin.artefacts.evaluation import Evaluation, read_evaluation
    from eosin.artefacts.manifest import Manifest, read_manifest
    from eosin.artefacts.predictions import Predictions, read_predictions
    from eosin.data.audit import audit_manifest
    from eosin.data.bci import read_bci
    from eosin.data.breakhis import read_breakhis
    from eosin.data.folder import read_folder
    from eosin.data.splits import split_by_fractions, split_into_folds
    from eosin.data.synthetic import write_synthetic
    from eosin.errors import ConfigError, DataError, EosinError, LeakageError, ModelError
    from eosin.evaluation.compare import compare_predictions
    from eosin.evaluation.evaluate import evaluate_predictions
    from eosin.explanation.explain import explain
    from eosin.explanation.heatmap import Explanation, Heatmap
    from eosin.export.export import ExportOptions, export_run
    from eosin.inference.predict import predict
    from eosin.networks.run import Run, read_run
    from eosin.protocol import Protocol
    from eosin.reporting.comparison_page import write_comparison
    from eosin.reporting.report import write_report
    from eosin.tasks import Task
    from eosin.training.config import TrainingConfig, read_config
    from eosin.training.ensemble import make_ensemble, make_ensembles
    from eosin.training.readings import predict_together
    from eosin.training.train import train

__all__ = [
    "Comparison",
    "ConfigError",
    "DataError",
    "EosinError",
    "Estimate",
    "Evaluation",
    "Explanation",
    "ExportOptions",
    "Heatmap",
    "LeakageError",
    "Manifest",
    "ModelError",
    "Predictions",
    "Protocol",
    "Run",
    "Scope",
    "Task",
    "TrainingConfig",
    "__version__",
    "audit_manifest",
    "compare_predictions",
    "evaluate_predictions",
    "explain",
    "export_run",
    "make_ensemble",
    "make_ensembles",
    "predict",
    "predict_together",
    "read_bci",
    "read_breakhis",
    "read_config",
    "read_evaluation",
    "read_folder",
    "read_manifest",
    "read_predictions",
    "read_run",
    "split_by_fractions",
    "split_into_folds",
    "train",
    "write_comparison",
    "write_report",
    "write_synthetic",
]

_ROOMS = {
    "eosin.data.audit": ("audit_manifest",),
    "eosin.data.bci": ("read_bci",),
    "eosin.data.breakhis": ("read_breakhis",),
    "eosin.data.folder": ("read_folder",),
    "eosin.data.splits": ("split_by_fractions", "split_into_folds"),
    "eosin.data.synthetic": ("write_synthetic",),
    "eosin.errors": ("ConfigError", "DataError", "EosinError", "LeakageError", "ModelError"),
    "eosin.evaluation.compare": ("compare_predictions",),
    "eosin.artefacts.comparison": ("Comparison",),
    "eosin.evaluation.evaluate": ("evaluate_predictions",),
    "eosin.artefacts.evaluation": ("Evaluation", "read_evaluation"),
    "eosin.explanation.explain": ("explain",),
    "eosin.explanation.heatmap": ("Explanation", "Heatmap"),
    "eosin.export.export": ("ExportOptions", "export_run"),
    "eosin.inference.predict": ("predict",),
    "eosin.artefacts.estimate": ("Estimate", "Scope"),
    "eosin.artefacts.manifest": ("Manifest", "read_manifest"),
    "eosin.networks.run": ("Run", "read_run"),
    "eosin.artefacts.predictions": ("Predictions", "read_predictions"),
    "eosin.protocol": ("Protocol",),
    "eosin.reporting.comparison_page": ("write_comparison",),
    "eosin.reporting.report": ("write_report",),
    "eosin.tasks": ("Task",),
    "eosin.training.config": ("TrainingConfig", "read_config"),
    "eosin.training.ensemble": ("make_ensemble", "make_ensembles"),
    "eosin.training.readings": ("predict_together",),
    "eosin.training.train": ("train",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'eosin' has no attribute {name!r}")
    return getattr(import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
