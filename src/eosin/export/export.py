"""Export: a Run of any kind again as a folder of graphs, checked against PyTorch on images."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.codec import with_changes
from eosin.artefacts.graph import GRAPH_NAMES, Graph, GraphFormat
from eosin.artefacts.outputs import require_output_folder
from eosin.artefacts.run import ExportedRun
from eosin.errors import ConfigError
from eosin.export.check_images import choose_images
from eosin.export.folders import MEMBERS_NAME, drafting, require_free
from eosin.export.int8_gate import try_int8
from eosin.export.int8_images import choose_int8_images
from eosin.export.quantise import require_quantiser
from eosin.files import sha256_of
from eosin.inference.images import as_source
from eosin.locks import one_writer
from eosin.networks.engine import require_torch
from eosin.networks.graphs import GraphEngine, choose_runtime, open_session
from eosin.networks.run import HISTORY_NAME, WEIGHTS_NAME, read_run, write_run
from eosin.networks.taking_in import take_in
from eosin.progress import SILENT, Progress, shown
from eosin.settings import checked_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.graph import Parity
    from eosin.artefacts.int8 import Int8Trial
    from eosin.artefacts.manifest import Manifest
    from eosin.export.check_images import CheckImages
    from eosin.export.graph_module import GraphModule
    from eosin.files import StrPath
    from eosin.networks.run import Run


@checked_options
@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes:
        format: ``"onnx"`` or ``"openvino"``.
        check: images to compare with PyTorch on; None takes what ``choose_images`` finds.
        overwrite: replace an earlier export of the same Run.
        int8: a manifest of the Run's own training and validation patients; each graph is then
            tried in 8-bit integers, and written so where it loses little and is faster here. What
            was found stands in the record. None leaves everything in FP32.
    """

    format: GraphFormat = "onnx"
    check: Manifest | StrPath | Sequence[StrPath] | None = None
    overwrite: bool = False
    int8: Manifest | None = None


def export_run(
    run: Run,
    folder: StrPath,
    options: ExportOptions | None = None,
    *,
    progress: Progress | bool = SILENT,
) -> Run:
    """Write a Run whose networks are graphs, for engines that need no PyTorch.

    Folds and ensembles take their members with them, into ``members/``. Every graph is compared
    with its network on real images; the folder appears only when all of it is written and alike.

    Args:
        run: finished, with PyTorch weights.
        folder: new or empty.
        options: how.
        progress: told of each single Run before it is exported.

    Returns:
        The exported Run.

    Raises:
        ConfigError: the folder is taken, the Run is exported already, a library is missing, or
            8-bit integers cannot be judged: images without labels, an ensemble by fusion.
        DataError: no image to check on, or one that cannot be read; another process is writing
            the folder, or it cannot be written.
        LeakageError: 8-bit integers were to be tried on patients that are not the Run's own.
        ModelError: weights are missing or changed, the backbone has no graph, the graph is not
            what PyTorch computes.
    """
    options, folder = options or ExportOptions(), Path(folder)
    if options.format not in GRAPH_NAMES:
        raise ConfigError(f"format {options.format!r} is unknown; want one of {list(GRAPH_NAMES)}")
    require_output_folder(folder, {}, inputs=[run.folder], whole=True, run=True)
    _require_weights(run)
    with one_writer(folder):
        require_free(run, folder, overwrite=options.overwrite)
        if options.int8 is not None:
            require_quantiser(options.format)
            _require_judgeable(run, options.int8)
        check = None if options.check is None else as_source(options.check)
        images = choose_images(run, check)
        with drafting(folder) as draft:
            _Exporter(options.format, images, shown(progress), options.int8).export(run, draft)
        return read_run(folder)


@dataclass(frozen=True, slots=True)
class _Exporter:
    """Writes Runs, one inside the other."""

    format: GraphFormat
    images: CheckImages
    progress: Progress
    int8: Manifest | None = None
    done: dict[str, Path] = field(default_factory=dict)

    def export(self, run: Run, folder: Path) -> Run:
        twin = self.done.setdefault(run.sha256, folder)
        if twin != folder:  # the same Run is a member twice
            return read_run(shutil.copytree(twin, folder))
        folder.mkdir(parents=True, exist_ok=True)
        if (run.folder / HISTORY_NAME).is_file():
            shutil.copyfile(run.folder / HISTORY_NAME, folder / HISTORY_NAME)
        members = run.open_members()
        if not members:
            self.progress.note(f"exporting {normpath(run.folder)}")
            return self._single(run, folder)
        run.require_files()
        _copy_beside(run, folder)
        inside = [
            self.export(member, folder / MEMBERS_NAME / _member_name(number, member))
            for number, member in enumerate(members, start=1)
        ]
        if run.record.owns_weights:
            shutil.copyfile(run.weights_path, folder / WEIGHTS_NAME)
        return write_run(folder, with_changes(run.record, members=take_in(folder, inside)))

    def _single(self, run: Run, folder: Path) -> Run:
        from eosin.export.formats import library_versions
        from eosin.export.graph_module import GraphModule, examine
        from eosin.export.parity import require_parity
        from eosin.networks.weights import load_classifier

        size = run.record.preprocessing.size
        classifier = load_classifier(run)
        anatomy = examine(classifier, size=size)
        module = GraphModule(classifier, anatomy=anatomy).eval()
        files = self._write(module, folder, size=size)
        _copy_beside(run, folder)
        parity = self._parity(run, files[0], module)
        require_parity(parity, name=str(run.folder))
        trial = self._try_int8(run, files, module)
        kept = trial is not None and trial.kept
        graph = Graph(
            format=self.format,
            precision="int8" if kept else "fp32",
            files={path.name: sha256_of(path) for path in sorted(folder.glob("model.*"))},
            outputs=module.outputs,
            map_size=anatomy.map_size,
            no_maps=anatomy.no_maps,
            family=classifier.spec.family,
            parity=self._parity(run, files[0], module) if kept else parity,
            versions=library_versions(),
            int8=trial,
        )
        known = run.record.reference
        if kept and known is not None:  # 8-bit features are others: nothing would be familiar
            known = with_changes(known, familiarity=None)
        fields = {**dict(run.record), "kind": "run/exported", "graph": graph, "reference": known}
        return write_run(folder, ExportedRun.model_validate(fields))

    def _parity(self, run: Run, path: Path, module: GraphModule) -> Parity:
        from eosin.export.parity import measure_parity

        session = open_session(path, choose_runtime(path, self.format))
        record = run.record
        return measure_parity(
            GraphEngine(session, outputs=module.outputs, size=record.preprocessing.size),
            module,
            self.images.prepared(record.preprocessing),
            temperature=record.temperature,
            source=self.images.source,
        )

    def _try_int8(self, run: Run, files: list[Path], module: GraphModule) -> Int8Trial | None:
        if self.int8 is None:
            return None
        return try_int8(
            run.record,
            files,
            self.format,
            outputs=module.outputs,
            images=choose_int8_images(run, self.int8),
        )

    def _write(self, module: GraphModule, folder: Path, *, size: int) -> list[Path]:
        """The graph's files, the one to open first."""
        from eosin.export.formats import write_onnx, write_openvino

        onnx = folder / GRAPH_NAMES["onnx"]
        write_onnx(module, onnx, size=size)
        if self.format == "onnx":
            return [onnx]
        path = folder / GRAPH_NAMES["openvino"]
        write_openvino(onnx, path)
        onnx.unlink()
        return [path, path.with_suffix(".bin")]


def _copy_beside(run: Run, folder: Path) -> None:
    for name in run.record.files_beside:
        shutil.copyfile(run.folder / name, folder / name)


def _require_weights(run: Run) -> None:
    """ConfigError where a network in ``run`` is a graph, or PyTorch is not installed."""
    for each in run.leaves():
        if each.graph:
            raise ConfigError(
                f"{each.folder}: exported already, as {each.graph.format}; give the Run that it "
                "was exported from"
            )
    require_torch(run.folder)


def _require_judgeable(run: Run, manifest: Manifest) -> None:
    """ConfigError or DataError where int8 of a network in ``run`` cannot be judged by images."""
    for each in run.walk():
        if each.record.bag:
            raise ConfigError(
                f"{each.folder}: answers for slides, and int8 is judged one image at a time; "
                "export it without int8"
            )
        if not each.record.inside:
            choose_int8_images(each, manifest)
        elif each.record.owns_weights:
            raise ConfigError(
                f"{each.folder}: its fusion head was fitted to features that int8 changes, and "
                "int8 is judged one network at a time; export it without int8"
            )


def _member_name(number: int, member: Run) -> str:
    name = re.sub(r"[^\w.+-]+", "-", member.folder.resolve().name).strip("-.") or "run"
    return f"{number}-{name}"
