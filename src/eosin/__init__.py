"""eosin: honest, fast, explainable classification of breast-histopathology images.

Public names are imported when they are first used, so ``import eosin`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from eosin.errors import missing_extra
from eosin.version import __version__

if TYPE_CHECKING:
    from eosin.artefacts.comparison import Comparison, Difference, PairTest
    from eosin.artefacts.estimate import Estimate, Scope
    from eosin.artefacts.evaluation import Confusion, Evaluation, PatientRow, read_evaluation
    from eosin.artefacts.manifest import Manifest, read_manifest
    from eosin.artefacts.mistakes import Mistakes
    from eosin.artefacts.predictions import Predictions, Provenance, read_predictions
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.artefacts.shared_ranks import Ranked
    from eosin.data.audit import Audit, audit_manifest
    from eosin.data.bci import read_bci
    from eosin.data.breakhis import read_breakhis
    from eosin.data.folder import read_folder
    from eosin.data.scan import ReadDataset
    from eosin.data.slides import SlideSources, read_slides
    from eosin.data.splits import split_by_fractions, split_into_folds
    from eosin.data.synthetic import SyntheticOptions, write_synthetic
    from eosin.data.tiles import TileOptions, tile_manifest
    from eosin.errors import (
        ConfigError,
        DataError,
        DiskError,
        EosinError,
        EosinWarning,
        LeakageError,
        ModelError,
        NoMapError,
    )
    from eosin.evaluation.compare import compare_predictions
    from eosin.evaluation.evaluate import evaluate_predictions
    from eosin.explanation.explain import ExplainOptions, explain
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Explanation, Heatmap
    from eosin.explanation.heatmap_checks import ScoreOptions
    from eosin.explanation.perturbation import PerturbationOptions
    from eosin.export.export import ExportOptions, export_run
    from eosin.inference.predict import Scored, predict
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.slides import SlideOptions
    from eosin.networks.backbones import register_backbone
    from eosin.networks.run import Network, Run, read_run
    from eosin.pixels.reading import SkippedFile
    from eosin.pixels.stain import Macenko, Reinhard, Vahadane
    from eosin.progress import Progress
    from eosin.protocol import Protocol
    from eosin.reporting.comparison_page import write_comparison
    from eosin.reporting.galleries import Gallery
    from eosin.reporting.report import write_report
    from eosin.reporting.slide_folder import SlideWriteOptions, WrittenSlides, predict_slides
    from eosin.slides.opening import open_slide
    from eosin.slides.slide import Slide
    from eosin.spread import Spread
    from eosin.study.cells import Result, StudyResult
    from eosin.study.config import StudyConfig, StudyFile, read_study
    from eosin.study.study import run_study
    from eosin.study.table import write_study
    from eosin.tasks import Task
    from eosin.training.config import TrainingConfig, read_config
    from eosin.training.ensemble import EnsembleOptions, make_ensemble, make_ensembles
    from eosin.training.estimator import ImageClassifier
    from eosin.training.fusion import FusionOptions
    from eosin.training.left_out import Trained
    from eosin.training.readings import predict_together
    from eosin.training.train import train

__all__ = [
    "Audit",
    "Comparison",
    "ConfigError",
    "Confusion",
    "DataError",
    "Difference",
    "DiskError",
    "EnsembleOptions",
    "EosinError",
    "EosinWarning",
    "Estimate",
    "Evaluation",
    "ExplainOptions",
    "Explanation",
    "ExportOptions",
    "FaithfulnessRow",
    "FusionOptions",
    "Gallery",
    "Heatmap",
    "ImageClassifier",
    "LeakageError",
    "Macenko",
    "Manifest",
    "Mistakes",
    "ModelError",
    "Network",
    "NoMapError",
    "PairTest",
    "PatientRow",
    "PerturbationOptions",
    "PredictOptions",
    "Predictions",
    "Preprocessing",
    "Progress",
    "Protocol",
    "Provenance",
    "Ranked",
    "ReadDataset",
    "Reinhard",
    "Result",
    "Run",
    "Scope",
    "ScoreOptions",
    "Scored",
    "SkippedFile",
    "Slide",
    "SlideOptions",
    "SlideSources",
    "SlideWriteOptions",
    "Spread",
    "StudyConfig",
    "StudyFile",
    "StudyResult",
    "SyntheticOptions",
    "Task",
    "TileOptions",
    "Trained",
    "TrainingConfig",
    "Vahadane",
    "WrittenSlides",
    "__version__",
    "audit_manifest",
    "compare_predictions",
    "evaluate_predictions",
    "explain",
    "export_run",
    "make_ensemble",
    "make_ensembles",
    "open_slide",
    "predict",
    "predict_slides",
    "predict_together",
    "read_bci",
    "read_breakhis",
    "read_config",
    "read_evaluation",
    "read_folder",
    "read_manifest",
    "read_predictions",
    "read_run",
    "read_slides",
    "read_study",
    "register_backbone",
    "run_study",
    "split_by_fractions",
    "split_into_folds",
    "tile_manifest",
    "train",
    "write_comparison",
    "write_report",
    "write_study",
    "write_synthetic",
]

_ROOMS = {
    "eosin.artefacts.comparison": ("Comparison", "Difference", "PairTest"),
    "eosin.artefacts.mistakes": ("Mistakes",),
    "eosin.artefacts.estimate": ("Estimate", "Scope"),
    "eosin.artefacts.evaluation": ("Confusion", "Evaluation", "PatientRow", "read_evaluation"),
    "eosin.artefacts.manifest": ("Manifest", "read_manifest"),
    "eosin.artefacts.predictions": ("Predictions", "Provenance", "read_predictions"),
    "eosin.artefacts.preprocessing": ("Preprocessing",),
    "eosin.artefacts.shared_ranks": ("Ranked",),
    "eosin.data.audit": ("Audit", "audit_manifest"),
    "eosin.data.bci": ("read_bci",),
    "eosin.data.breakhis": ("read_breakhis",),
    "eosin.data.folder": ("read_folder",),
    "eosin.data.scan": ("ReadDataset",),
    "eosin.data.slides": ("SlideSources", "read_slides"),
    "eosin.data.splits": ("split_by_fractions", "split_into_folds"),
    "eosin.data.synthetic": ("SyntheticOptions", "write_synthetic"),
    "eosin.data.tiles": ("TileOptions", "tile_manifest"),
    "eosin.errors": (
        "ConfigError",
        "DataError",
        "DiskError",
        "EosinError",
        "EosinWarning",
        "LeakageError",
        "ModelError",
        "NoMapError",
    ),
    "eosin.evaluation.compare": ("compare_predictions",),
    "eosin.evaluation.evaluate": ("evaluate_predictions",),
    "eosin.explanation.explain": ("ExplainOptions", "explain"),
    "eosin.explanation.faithfulness_table": ("FaithfulnessRow",),
    "eosin.explanation.heatmap": ("Explanation", "Heatmap"),
    "eosin.explanation.perturbation": ("PerturbationOptions",),
    "eosin.explanation.heatmap_checks": ("ScoreOptions",),
    "eosin.export.export": ("ExportOptions", "export_run"),
    "eosin.inference.predict": ("Scored", "predict"),
    "eosin.inference.scoring": ("PredictOptions",),
    "eosin.inference.slides": ("SlideOptions",),
    "eosin.networks.backbones": ("register_backbone",),
    "eosin.networks.run": ("Network", "Run", "read_run"),
    "eosin.pixels.reading": ("SkippedFile",),
    "eosin.pixels.stain": ("Macenko", "Reinhard", "Vahadane"),
    "eosin.progress": ("Progress",),
    "eosin.protocol": ("Protocol",),
    "eosin.reporting.comparison_page": ("write_comparison",),
    "eosin.reporting.galleries": ("Gallery",),
    "eosin.reporting.report": ("write_report",),
    "eosin.reporting.slide_folder": ("SlideWriteOptions", "WrittenSlides", "predict_slides"),
    "eosin.slides.opening": ("open_slide",),
    "eosin.slides.slide": ("Slide",),
    "eosin.spread": ("Spread",),
    "eosin.study.cells": ("Result", "StudyResult"),
    "eosin.study.config": ("StudyConfig", "StudyFile", "read_study"),
    "eosin.study.study": ("run_study",),
    "eosin.study.table": ("write_study",),
    "eosin.tasks": ("Task",),
    "eosin.training.config": ("TrainingConfig", "read_config"),
    "eosin.training.ensemble": ("EnsembleOptions", "make_ensemble", "make_ensembles"),
    "eosin.training.estimator": ("ImageClassifier",),
    "eosin.training.fusion": ("FusionOptions",),
    "eosin.training.left_out": ("Trained",),
    "eosin.training.readings": ("predict_together",),
    "eosin.training.train": ("train",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'eosin' has no attribute {name!r}")
    try:
        return getattr(import_module(_ROOM_OF[name]), name)
    except ModuleNotFoundError as error:
        said = missing_extra(error)
        if said is None:
            raise
        raise ModuleNotFoundError(f"eosin.{name}: {said}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted(__all__)
